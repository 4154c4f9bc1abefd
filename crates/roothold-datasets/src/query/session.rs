//! The session of one query: its tables, and as little else as can be.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use roothold_core::files::Drift;
use roothold_core::{Fault, FaultKind};
use serde_json::Value;

use super::checked::CheckedArithmetic;
use super::width::Widths;
use super::{functions, gate, growth};
use crate::engine::Engine;
use crate::meter::Meter;
use crate::options::Format;
use crate::parquet::ParquetTable;
use crate::prepared::{Prepared, prepare};
use crate::refusal;
use crate::scan::{Seams, TextTable};
use crate::source::{Source, changed};
use crate::store::{FileStore, OneStore};

/// The most tables of a query.
const TABLES_MAX: usize = 32;

/// A session with its tables.
pub(crate) struct Session {
    context: SessionContext,
    /// What SQL calls them.
    names: Vec<String>,
    tables: Vec<Arc<Prepared>>,
    /// Those of them that are Parquet, by their names.
    parquet: Vec<(String, Arc<ParquetTable>)>,
    meter: Arc<Meter>,
    growth_max: u64,
    widths: Arc<Widths>,
    sql_bytes_max: usize,
}

impl Session {
    /// Looks at the sources and makes tables of them.
    ///
    /// # Errors
    /// As [`prepare`]; `Invalid` for two tables of one name.
    pub(crate) fn open(
        engine: &Engine,
        tables: &[(String, Source)],
        meter: &Arc<Meter>,
        seams: &Arc<Seams>,
        is_cut: bool,
    ) -> Result<Self, Fault> {
        if tables.len() > TABLES_MAX {
            let what = format!("a query has at most {TABLES_MAX} tables");
            return Err(Fault::new(FaultKind::Limit, what));
        }
        let prepared = tables.iter().map(|(_, source)| prepare(source, engine.limits(), meter));
        let known = prepared.map(|one| one.map(Arc::new)).collect::<Result<Vec<_>, Fault>>()?;
        let files = known.iter().flat_map(|prepared| prepared.files.iter().cloned()).collect();
        let store = Arc::new(FileStore::new(files, *engine.limits(), Arc::clone(meter)));
        let environment = RuntimeEnv {
            object_store_registry: Arc::new(OneStore(store)),
            ..RuntimeEnv::clone(engine.environment())
        };
        let context = context(engine, environment, is_cut);
        let (mut first, mut parquet) = (0, Vec::new());
        for ((name, _), prepared) in tables.iter().zip(&known) {
            let (files, prepared) = (prepared.files.len(), Arc::clone(prepared));
            let reference = TableReference::bare(name.as_str());
            let added = if prepared.format == Format::Parquet {
                let table = Arc::new(ParquetTable::new(prepared, first, meter));
                parquet.push((name.clone(), Arc::clone(&table)));
                context.register_table(reference, table)
            } else {
                let table = TextTable::new(prepared, Arc::clone(meter), Arc::clone(seams), is_cut);
                context.register_table(reference, Arc::new(table))
            };
            added.map_err(|_| {
                let name = crate::shown::name(name);
                Fault::invalid(format!("two tables are called `{name}`; give each its own name"))
            })?;
            first += files;
        }
        let limits = engine.limits();
        Ok(Self {
            context,
            names: tables.iter().map(|(name, _)| crate::shown::name(name)).collect(),
            tables: known,
            parquet,
            meter: Arc::clone(meter),
            growth_max: limits.growth_max,
            widths: Arc::default(),
            sql_bytes_max: limits.sql_bytes_max,
        })
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The same with batches of so many rows.
    pub(crate) fn in_batches_of(self, rows: usize) -> Self {
        let state = self.context.state_ref();
        let mut state = state.write();
        let config = state.config_mut();
        *config = std::mem::take(config).with_batch_size(rows);
        drop(state);
        self
    }

    /// What it has found out of its rows.
    pub(crate) fn widths(&self) -> &Arc<Widths> {
        &self.widths
    }

    /// Whether a file grew; one that changed in another way makes the result worthless, and so
    /// does any change of a Parquet file, of which the end says what stands before it.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn has_grown(&self) -> Result<bool, Fault> {
        let mut has_grown = false;
        for prepared in &self.tables {
            for file in prepared.source.files() {
                match file.drift()? {
                    Drift::Same => {}
                    Drift::Grown if prepared.format != Format::Parquet => has_grown = true,
                    Drift::Grown | Drift::Changed => return Err(changed(&file.path())),
                }
            }
        }
        Ok(has_grown)
    }

    /// What of the files is in no table.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.tables.iter().flat_map(|prepared| prepared.notes.iter().cloned()).collect()
    }

    /// The table of Parquet files by this name.
    pub(super) fn parquet(&self, name: &str) -> Option<&ParquetTable> {
        let mut tables = self.parquet.iter();
        tables.find(|(other, _)| other == name).map(|(_, table)| table.as_ref())
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The fault for a query that cannot be planned; a table that is not there is told with those that are.
    fn unplanned(&self, error: &DataFusionError) -> Fault {
        let DataFusionError::Plan(message) = error.find_root() else {
            return refusal::fault_of(error);
        };
        let Some(name) = refusal::unknown_table(message) else { return refusal::fault_of(error) };
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let (is, names) = (if names.len() == 1 { "is" } else { "are" }, names.join(", "));
        let name = crate::shown::name(name);
        Fault::invalid(format!("there is no table `{name}`; what can be asked {is} {names}"))
    }

    /// Plans one SELECT with its parameters, whose rows are an answer. Where it keeps no rows of
    /// Parquet files, their texts are views.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub(crate) fn plan_answer(
        &self,
        sql: &str,
        parameters: &[Value],
    ) -> Result<LogicalPlan, Fault> {
        let plan = self.plan(sql, parameters)?;
        if self.parquet.is_empty() || !gate::is_folded(&plan) {
            return Ok(plan);
        }
        let are_all_read = !gate::has_extremes_alone(&plan);
        for (name, table) in &self.parquet {
            let table = Arc::new(table.with_views(are_all_read));
            let reference = TableReference::bare(name.as_str());
            self.context
                .deregister_table(reference.clone())
                .and_then(|_| self.context.register_table(reference, table))
                .map_err(|error| refusal::fault_of(&error))?;
        }
        self.plan(sql, parameters)
    }

    /// Plans one SELECT with its parameters.
    ///
    /// # Errors
    /// `Invalid` for what is no SELECT or asks for what is not allowed.
    pub(crate) fn plan(&self, sql: &str, parameters: &[Value]) -> Result<LogicalPlan, Fault> {
        if sql.len() > self.sql_bytes_max {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("the query is longer than {} bytes", self.sql_bytes_max),
            ));
        }
        let statement = gate::one_select(sql)?;
        let state = self.context.state();
        let plan = futures::executor::block_on(state.statement_to_plan(statement))
            .map_err(|error| self.unplanned(&error))?;
        gate::check(&plan)?;
        refuse_unset(&plan, parameters.len())?;
        let values = parameters.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
        let plan = if values.is_empty() {
            plan
        } else {
            let values = values.into_iter().map(Into::into).collect();
            plan.with_param_values(ParamValues::List(values))
                .map_err(|error| refusal::fault_of(&error))?
        };
        growth::check(&plan, self.growth_max)?;
        Ok(plan)
    }
}

/// Refuses what stands for a parameter that is not there.
fn refuse_unset(plan: &LogicalPlan, given: usize) -> Result<(), Fault> {
    let asked = plan.get_parameter_names().map_err(|error| refusal::fault_of(&error))?;
    let is_set = |name: &String| {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| (1..=given).contains(&number))
    };
    let Some(unset) = asked.iter().filter(|name| !is_set(name)).min() else { return Ok(()) };
    Err(Fault::invalid(format!(
        "{} has no value; give `parameters`, a list with a value for each of $1, $2, …",
        crate::shown::name(unset)
    )))
}

fn context(engine: &Engine, environment: RuntimeEnv, is_cut: bool) -> SessionContext {
    let partitions = if is_cut { engine.threads() } else { 1 };
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions.max(1))
        .with_information_schema(false);
    let options = config.options_mut();
    // Each partition of a sort keeps so much back to merge what it spilled.
    options.execution.sort_spill_reservation_bytes = engine.sort_reservation();
    // Views of strings make the top of a sort by one column hold whole pages of all the others.
    options.execution.parquet.schema_force_view_types = false;
    // Without it a corrupt page index fails a file that reads well.
    options.execution.parquet.skip_metadata = true;
    // Nothing is read besides what was asked for: of an object, what holds pages is looked at.
    options.execution.parquet.metadata_size_hint = None;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(environment))
        .with_default_features()
        .with_table_factories(HashMap::new())
        .with_table_functions(HashMap::new())
        .with_higher_order_functions(Vec::new())
        .with_file_formats(Vec::new())
        .with_analyzer_rule(Arc::new(CheckedArithmetic::default()))
        .with_scalar_functions(functions::scalar())
        .with_aggregate_functions(functions::aggregate())
        .with_window_functions(functions::window())
        .build();
    SessionContext::new_with_state(state)
}

fn scalar(value: &Value) -> Result<ScalarValue, Fault> {
    Ok(match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => ScalarValue::Int64(Some(whole)),
            (None, value) => ScalarValue::Float64(value),
        },
        Value::String(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::Array(_) | Value::Object(_) => {
            return Err(Fault::invalid(
                "a parameter is null, true, false, a number or a text; not a list or an object",
            ));
        }
    })
}

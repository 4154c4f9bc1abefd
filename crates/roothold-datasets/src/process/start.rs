//! From what was asked for to a process that does it.

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use roothold_core::{Fault, FaultKind};
use tokio::runtime::Handle;

use super::aggregate::Aggregation;
use super::bad::BadRows;
use super::convert::{Conversion, Output};
use super::fold::Fold;
use super::input::Input;
use super::operation::{Operation, SqlOptions};
use super::profile::Profile;
use super::runner::{Runner, Running, Trace, unpack};
use super::sample::Sample;
use super::saved::{Saved, damaged};
use super::search::{AsLines, Search, is_by_lines};
use super::spans::Position;
use super::sql::Sql;
use super::step::{ProcessLimits, Progress};
use super::validate::Validation;
use crate::engine::Engine;
use crate::source::Source;

/// An operation over an input, that begins or goes on.
pub(super) struct Start {
    input: Arc<dyn Input>,
    operation: Operation,
    trace: Trace,
    saved: Option<Saved>,
    output: Option<Box<dyn Output>>,
}

impl Start {
    /// At the beginning.
    pub(super) fn new(
        input: Arc<dyn Input>,
        operation: &Operation,
        limits: ProcessLimits,
    ) -> Result<Self, Fault> {
        operation.check()?;
        let bytes_total = input.files().iter().map(|file| file.bytes).sum();
        let trace = Trace {
            operation: serde_json::to_value(operation).map_err(Fault::internal)?,
            revision: input.revision(),
            limits,
            next: 0,
            at: Position::default(),
            progress: Progress { bytes_total, ..Progress::default() },
            bad: BadRows::default(),
        };
        Ok(Self { input, operation: operation.clone(), trace, saved: None, output: None })
    }

    /// Behind the chunks that `state` holds, of which there are `next`.
    pub(super) fn after(
        input: Arc<dyn Input>,
        operation: &Operation,
        state: &[u8],
        next: u64,
    ) -> Result<Self, Fault> {
        let (trace, saved) = unpack(state)?;
        let asked = serde_json::to_value(operation).map_err(Fault::internal)?;
        if trace.operation != asked || trace.next != next {
            return Err(damaged());
        }
        if trace.revision != input.revision() {
            return Err(Fault::new(
                FaultKind::Conflict,
                "the dataset changed while it was being processed; start again, since two versions cannot be mixed",
            ));
        }
        Ok(Self { input, operation: operation.clone(), trace, saved: Some(saved), output: None })
    }

    /// With what a conversion writes into.
    pub(super) fn into_output(mut self, output: Option<Box<dyn Output>>) -> Self {
        self.output = output;
        self
    }

    /// What chunks take that are read, wait and are worked on, in bytes: their text, and about as much while
    /// it is decoded.
    pub(super) fn chunk_bytes(&self) -> usize {
        let limits = &self.trace.limits;
        let chunks = limits.chunks_concurrent.saturating_add(2);
        chunks.saturating_mul(limits.chunk_bytes).saturating_mul(2)
    }

    /// A query needs the source itself.
    pub(super) fn run_sql(
        self,
        engine: &Engine,
        source: &Source,
        options: &SqlOptions,
    ) -> Result<Box<dyn Running>, Fault> {
        Ok(Box::new(Sql::new(engine, source, options, self.trace)?))
    }

    /// Begins the work, on blocking threads of `runtime`; what may grow large is reserved from `pool`.
    pub(super) fn run(
        mut self,
        runtime: Handle,
        pool: Arc<dyn MemoryPool>,
    ) -> Result<Box<dyn Running>, Fault> {
        let (from, operation) = (self.input.clone(), self.operation.clone());
        let (from, limits) = (from.as_ref(), self.trace.limits.clone());
        match (&operation, self.output.take()) {
            (Operation::Convert(options), Some(output)) => {
                let columns = columns(from, &options.columns)?;
                self.with(Conversion::new(from, columns, options, &limits, output)?, runtime)
            }
            (Operation::Convert(_), None) => {
                Err(Fault::invalid("a conversion needs an output; say where to write"))
            }
            (Operation::Sql(_), _) => Err(Fault::internal("a query is run by the engine")),
            (other, Some(_)) => Err(Fault::invalid(format!(
                "{} writes nothing; leave the output out",
                other.kind().name()
            ))),
            (Operation::Profile(options), None) => {
                let columns = columns(from, &options.columns)?;
                self.with(Profile::new(from, columns, &limits)?, runtime)
            }
            (Operation::Aggregate(options), None) => {
                self.with(Aggregation::new(from, options, &limits, pool)?, runtime)
            }
            (Operation::Search(options), None) => {
                let lines = is_by_lines(from, options)?;
                let columns = if lines { None } else { Some(columns(from, &options.columns)?) };
                if lines {
                    self.input = AsLines::new(self.input);
                }
                self.with(Search::new(from, columns, options)?, runtime)
            }
            (Operation::Validate(options), None) => {
                self.with(Validation::new(from, options)?, runtime)
            }
            (Operation::Sample(options), None) => {
                let columns = columns(from, &options.columns)?;
                self.with(Sample::new(from, columns, options, &limits)?, runtime)
            }
        }
    }

    fn with<F: Fold>(self, fold: F, runtime: Handle) -> Result<Box<dyn Running>, Fault> {
        Ok(Box::new(Runner::new(fold, self.trace, self.saved, self.input, runtime)?))
    }
}

/// The columns that are meant by `names`, in the order of the schema; all that are visible if there are none.
fn columns(input: &dyn Input, names: &[String]) -> Result<Vec<usize>, Fault> {
    let shape = input.shape();
    if names.is_empty() {
        return Ok(shape.visible.clone());
    }
    let mut found = names.iter().map(|name| column(input, name)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The visible column of that name.
pub(super) fn column(input: &dyn Input, name: &str) -> Result<usize, Fault> {
    let shape = input.shape();
    let named = |index: &&usize| shape.schema.field(**index).name() == name;
    shape.visible.iter().find(named).copied().ok_or_else(|| {
        let known =
            shape.visible.iter().take(20).map(|index| shape.schema.field(*index).name().as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        Fault::invalid(format!("there is no column {name:?}; the columns are {known}"))
    })
}

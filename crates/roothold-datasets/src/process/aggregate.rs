//! Functions over groups of rows.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{SortColumn, SortOptions, cast, lexsort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::functions_aggregate as functions;
use datafusion::logical_expr::AggregateUDF;
use roothold_core::{Fault, FaultKind};
use serde_json::{Value, json};

use super::accumulate::{Function, hashed, to_hashed};
use super::decode::{Counts, Decode};
use super::fold::{Fold, Work, broken};
use super::groups::{Grouping, Groups, Taken, can_group};
use super::input::{Input, Stop};
use super::operation::{Aggregate, AggregateFunction, AggregateOptions};
use super::saved::{SAVED_BYTES_MAX, Saved, damaged};
use super::spans::Span;
use super::start::column;
use super::step::ProcessLimits;
use super::values;
use crate::sum::sum_udaf;
use crate::table::kind_of;

/// How many groups are told unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// The most groups that are told.
pub(super) const LIMIT_MAX: usize = 10_000;
/// What putting groups in order takes for each.
const ORDERED_ROW_BYTES: usize = 16;
/// How many times as large as their columns rows are in JSON, together with the columns.
const JSON_TIMES: usize = 4;

/// Aggregates one chunk.
pub(super) struct AggregateWork {
    decode: Decode,
    grouping: Arc<Grouping>,
    /// Where each key is among the decoded columns.
    keys: Vec<usize>,
    arguments: Vec<Argument>,
}

/// What a function is given.
struct Argument {
    /// Where its column is among the decoded ones; none counts rows.
    column: Option<usize>,
    kind: DataType,
    by_bits: bool,
}

/// The groups of the chunks so far.
pub(super) struct Aggregation {
    work: Arc<AggregateWork>,
    groups: Groups,
    /// The groups in place of `groups`, which is empty then, since a checkpoint or a report wanted them as
    /// a table; until the next chunk does otherwise.
    taken: Option<Taken>,
    names: Vec<String>,
    order: Option<usize>,
    descending: bool,
    limit: usize,
    groups_max: usize,
}

impl Aggregation {
    pub(super) fn new(
        input: &dyn Input,
        options: &AggregateOptions,
        limits: &ProcessLimits,
        pool: Arc<dyn MemoryPool>,
    ) -> Result<Self, Fault> {
        let mut calls = options.aggregates.clone();
        if calls.is_empty() {
            calls.push(Aggregate {
                function: AggregateFunction::Count,
                column: None,
                percentile: None,
                name: None,
            });
        }
        let names = names(options, &calls)?;
        let keys = options
            .group_by
            .iter()
            .map(|name| column(input, name))
            .collect::<Result<Vec<_>, _>>()?;
        let of_calls = calls
            .iter()
            .map(|call| call.column.as_ref().map(|name| column(input, name)).transpose());
        let of_calls = of_calls.collect::<Result<Vec<_>, _>>()?;
        let mut columns: Vec<usize> =
            keys.iter().copied().chain(of_calls.iter().copied().flatten()).collect();
        columns.sort_unstable();
        columns.dedup();
        if columns.len() > limits.columns_max || names.len() > limits.columns_max {
            return Err(Fault::new(
                FaultKind::Limit,
                "there are too many columns or aggregates; ask for fewer at a time",
            ));
        }
        let place = |column: usize| columns.binary_search(&column).unwrap_or_default();
        let keys: Vec<usize> = keys.into_iter().map(place).collect();
        let decode = Decode::new(input.shape(), columns.clone())?;
        let mut arguments = Vec::new();
        let mut made = Vec::new();
        for (call, at) in calls.iter().zip(of_calls) {
            let column = at.map(place);
            let kind = column.map(|column| decode.schema().field(column).data_type());
            let (argument, function) = argument(call, column, kind)?;
            arguments.push(argument);
            made.push(function);
        }
        let fields = key_fields(&decode, &keys)?;
        let grouping = Grouping::new(fields, made, Some(pool)).map_err(broken)?;
        let groups = Groups::new(&grouping).map_err(broken)?;
        let order = order(options, &names)?;
        let work = Arc::new(AggregateWork { decode, grouping, keys, arguments });
        let limit = options.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
        let (descending, groups_max) = (options.descending, limits.groups_max);
        Ok(Self { work, groups, taken: None, names, order, descending, limit, groups_max })
    }

    fn none(&self) -> Result<Groups, Fault> {
        Groups::new(&self.work.grouping).map_err(broken)
    }

    /// The groups, to be added to.
    fn live(&mut self) -> Result<&mut Groups, Fault> {
        if let Some(taken) = self.taken.take() {
            self.groups.merge(taken.table()).map_err(broken)?;
        }
        Ok(&mut self.groups)
    }

    /// The groups as a table.
    fn table(&mut self) -> Result<&Taken, Fault> {
        let taken = if let Some(taken) = self.taken.take() {
            taken
        } else {
            let none = self.none()?;
            std::mem::replace(&mut self.groups, none).take().map_err(broken)?
        };
        Ok(self.taken.insert(taken))
    }
}

fn names(options: &AggregateOptions, calls: &[Aggregate]) -> Result<Vec<String>, Fault> {
    let mut names = options.group_by.clone();
    names.extend(calls.iter().map(|call| match (&call.name, &call.column) {
        (Some(name), _) => name.clone(),
        (None, Some(column)) => format!("{}_{column}", call.function.name()),
        (None, None) => call.function.name().to_owned(),
    }));
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Fault::invalid(format!(
                "the result would have two columns {name:?}; give one a `name`"
            )));
        }
    }
    Ok(names)
}

fn order(options: &AggregateOptions, names: &[String]) -> Result<Option<usize>, Fault> {
    let Some(order_by) = &options.order_by else { return Ok(None) };
    let found = names.iter().position(|name| name == order_by);
    let known = || {
        format!(
            "`order_by` names {order_by:?}, which the result does not have; it has {}",
            names.join(", ")
        )
    };
    found.map(Some).ok_or_else(|| Fault::invalid(known()))
}

fn key_fields(decode: &Decode, keys: &[usize]) -> Result<Vec<FieldRef>, Fault> {
    let fields = keys.iter().map(|key| {
        let field = decode.schema().field(*key);
        if can_group(field.data_type()) {
            return Ok(Arc::new(Field::new(field.name(), field.data_type().clone(), true)));
        }
        let kind = kind_of(field.data_type());
        Err(Fault::invalid(format!(
            "rows cannot be grouped by column `{}`, which is of type {kind}",
            field.name()
        )))
    });
    fields.collect()
}

/// What a call gives its function, and the function.
fn argument(
    call: &Aggregate,
    column: Option<usize>,
    kind: Option<&DataType>,
) -> Result<(Argument, Function), Fault> {
    let Some(kind) = kind else {
        if call.function != AggregateFunction::Count {
            return Err(Fault::invalid(format!("`{}` needs a `column`", call.function.name())));
        }
        let function = Function::new(functions::count::count_udaf(), &DataType::Boolean, &[])
            .map_err(broken)?;
        return Ok((Argument { column: None, kind: DataType::Boolean, by_bits: false }, function));
    };
    let taken = taken(call.function, kind).ok_or_else(|| {
        let (function, kind) = (call.function.name(), kind_of(kind));
        let column = call.column.as_deref().unwrap_or_default();
        Fault::invalid(format!(
            "`{function}` does not take column `{column}`, which is of type {kind}"
        ))
    })?;
    let (function, constants) = match call.function {
        AggregateFunction::ApproxPercentile => {
            let share = call.percentile.filter(|share| (0.0..=1.0).contains(share));
            let share = share.ok_or_else(|| {
                Fault::invalid("`approx_percentile` needs a `percentile` between 0 and 1")
            })?;
            (
                functions::approx_percentile_cont::approx_percentile_cont_udaf(),
                vec![ScalarValue::Float64(Some(share))],
            )
        }
        other if call.percentile.is_some() => {
            return Err(Fault::invalid(format!("`{}` takes no `percentile`", other.name())));
        }
        other => (engine_function(other), Vec::new()),
    };
    let function = Function::new(function, &taken, &constants).map_err(broken)?;
    let by_bits = call.function == AggregateFunction::ApproxDistinct;
    Ok((Argument { column, kind: taken, by_bits }, function))
}

/// The type in which a function takes values of `kind`; none if it does not take them.
fn taken(function: AggregateFunction, kind: &DataType) -> Option<DataType> {
    use AggregateFunction as F;
    let number = kind.is_numeric() || *kind == DataType::Null;
    match function {
        F::Count => Some(kind.clone()),
        F::ApproxDistinct => Some(hashed(kind)),
        F::Min | F::Max => can_group(kind).then(|| kind.clone()),
        F::Sum if !number => None,
        F::Sum if kind.is_signed_integer() => Some(DataType::Int64),
        F::Sum if kind.is_unsigned_integer() => Some(DataType::UInt64),
        F::Sum if matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            Some(kind.clone())
        }
        F::Sum | F::Avg | F::Stddev | F::Var | F::ApproxMedian | F::ApproxPercentile => {
            number.then_some(DataType::Float64)
        }
        F::BoolAnd | F::BoolOr => (*kind == DataType::Boolean).then_some(DataType::Boolean),
    }
}

fn engine_function(function: AggregateFunction) -> Arc<AggregateUDF> {
    use AggregateFunction as F;
    match function {
        F::Count => functions::count::count_udaf(),
        F::Sum => sum_udaf(),
        F::Avg => functions::average::avg_udaf(),
        F::Min => functions::min_max::min_udaf(),
        F::Max => functions::min_max::max_udaf(),
        F::Stddev => functions::stddev::stddev_udaf(),
        F::Var => functions::variance::var_samp_udaf(),
        F::ApproxDistinct => functions::approx_distinct::approx_distinct_udaf(),
        F::ApproxMedian => functions::approx_median::approx_median_udaf(),
        F::ApproxPercentile => functions::approx_percentile_cont::approx_percentile_cont_udaf(),
        F::BoolAnd => functions::bool_and_or::bool_and_udaf(),
        F::BoolOr => functions::bool_and_or::bool_or_udaf(),
    }
}

impl Argument {
    fn of(&self, batch: &RecordBatch) -> Result<ArrayRef, Fault> {
        let Some(column) = self.column else {
            return Ok(Arc::new(BooleanArray::from(vec![true; batch.num_rows()])));
        };
        let values = batch.column(column);
        if self.by_bits {
            return to_hashed(values).map_err(broken);
        }
        if *values.data_type() == self.kind {
            return Ok(values.clone());
        }
        cast(values, &self.kind).map_err(Fault::internal)
    }
}

impl Work for AggregateWork {
    type Part = Taken;

    fn work(&self, input: &dyn Input, span: &Span, stop: &Stop) -> Result<(Counts, Taken), Fault> {
        let mut groups = Groups::new(&self.grouping).map_err(broken)?;
        let counts = self.decode.run(input, span, stop, &mut |batch, _| {
            let keys: Vec<_> = self.keys.iter().map(|key| batch.column(*key).clone()).collect();
            let arguments = self
                .arguments
                .iter()
                .map(|argument| argument.of(batch))
                .collect::<Result<Vec<_>, _>>()?;
            groups.update(batch.num_rows(), &keys, &arguments).map_err(broken)
        })?;
        Ok((counts, groups.take().map_err(broken)?))
    }
}

impl Fold for Aggregation {
    type Work = AggregateWork;

    fn work(&self) -> &Arc<AggregateWork> {
        &self.work
    }

    fn fold(&mut self, part: Taken) -> Result<Option<Value>, Fault> {
        let groups_max = self.groups_max;
        let groups = self.live()?;
        groups.merge(part.table()).map_err(broken)?;
        if groups.len() > groups_max || groups.size() > SAVED_BYTES_MAX {
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "there are more groups than an aggregation chunk by chunk can hold ({groups_max} and {SAVED_BYTES_MAX} bytes); \
                     group by fewer columns, or ask with SQL, which spills to disk"
                ),
            ));
        }
        Ok(None)
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        let taken = self.table()?;
        // A checkpoint's bytes are about as many as the table's.
        let held = taken.reserve(taken.size()).map_err(broken)?;
        Ok(Saved { header: Value::Null, tables: vec![taken.table().clone()], _held: held })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        let table = saved.tables.into_iter().next().ok_or_else(damaged)?;
        self.groups = self.none()?;
        self.taken = Some(Taken::new(&self.work.grouping, table).map_err(broken)?);
        Ok(())
    }

    fn report(&mut self) -> Result<Value, Fault> {
        let mut copy = self.none()?;
        copy.merge(self.table()?.table()).map_err(broken)?;
        self.told(copy)
    }

    fn conclude(&mut self) -> Result<Value, Fault> {
        self.live()?;
        let none = self.none()?;
        let groups = std::mem::replace(&mut self.groups, none);
        self.told(groups)
    }
}

impl Aggregation {
    fn told(&self, mut groups: Groups) -> Result<Value, Fault> {
        // Without keys there is one group, also of no rows.
        if groups.len() == 0 && self.work.keys.is_empty() {
            let none = RecordBatch::new_empty(self.work.decode.schema().clone());
            let arguments = self.work.arguments.iter().map(|argument| argument.of(&none));
            groups.one_without_rows(&arguments.collect::<Result<Vec<_>, _>>()?).map_err(broken)?;
        }
        let result = groups.finish().map_err(broken)?;
        let all = result.table().num_rows();
        let _order = result.reserve(all * ORDERED_ROW_BYTES).map_err(broken)?;
        let shown = self.sorted(result.table())?;
        let bytes = shown.iter().map(Array::get_array_memory_size).sum::<usize>();
        let _shown = result.reserve(bytes * JSON_TIMES).map_err(broken)?;
        let rows = (0..shown.first().map_or(0, Array::len)).map(|row| {
            shown.iter().map(|column| values::json(column, row)).collect::<Result<Vec<_>, _>>()
        });
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(json!({
            "columns": self.names,
            "groups": all,
            "truncated": rows.len() < all,
            "result": rows,
        }))
    }

    /// The groups that are told, in order: by what was asked for, then by the groups' own values.
    fn sorted(&self, result: &RecordBatch) -> Result<Vec<ArrayRef>, Fault> {
        let own = (0..self.work.keys.len()).map(|key| (key, false));
        let order = self.order.map(|column| (column, self.descending));
        let sort = order.into_iter().chain(own).map(|(column, descending)| SortColumn {
            values: result.column(column).clone(),
            options: Some(SortOptions { descending, nulls_first: false }),
        });
        let sort: Vec<_> = sort.collect();
        if sort.is_empty() {
            return Ok(result.columns().to_vec());
        }
        let rows = lexsort_to_indices(&sort, Some(self.limit)).map_err(Fault::internal)?;
        let columns = result.columns().iter().map(|column| take(column, &rows, None));
        columns.collect::<Result<_, _>>().map_err(Fault::internal)
    }
}

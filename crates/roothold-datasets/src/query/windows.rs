//! Aggregates over windows: they give a value for each row, which may take long each time, and may be as
//! long as all rows before it.
//!
//! So each asks whether the query may go on, reserves what it holds, and gives nothing that
//! would be too long once for each row.

use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, ReversedUDAF, SetMonotonicity,
    Signature, WindowFrame, WindowFunctionDefinition,
};
use roothold_core::{Fault, FaultKind};

use super::width::{BATCH_ROWS_MAX, longest};
use crate::limits::BATCH_BYTES_MAX;
use crate::meter::Meter;

/// For so many rows a value is short enough, however few there are.
const ROWS_MIN: usize = 1024;
/// After so many values it is asked whether there may be more.
const ASK_EVERY: usize = 16;

/// What aggregates over windows have to ask.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) meter: Arc<Meter>,
    pub(super) pool: Arc<dyn MemoryPool>,
}

/// Lets aggregates over windows ask.
///
/// # Errors
/// Those of changing a plan.
pub(super) fn asking(plan: LogicalPlan, asked: &Asked) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Window(_)) {
            return Ok(Transformed::no(node));
        }
        node.map_expressions(|expression| expression.transform_up(|it| Ok(wrapped(it, asked))))
    })?;
    Ok(changed.data)
}

fn wrapped(expression: Expr, asked: &Asked) -> Transformed<Expr> {
    let Expr::WindowFunction(mut function) = expression else { return Transformed::no(expression) };
    let WindowFunctionDefinition::AggregateUDF(inner) = &function.fun else {
        return Transformed::no(Expr::WindowFunction(function));
    };
    let rows_max =
        if is_whole(&function.params.window_frame) { usize::MAX } else { BATCH_ROWS_MAX };
    let asking = Asking { inner: Arc::clone(inner), asked: asked.clone(), rows_max };
    function.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(asking.into()));
    Transformed::yes(Expr::WindowFunction(function))
}

/// Whether a value may be that of all rows of a partition at once.
fn is_whole(frame: &WindowFrame) -> bool {
    frame.end_bound.is_unbounded()
}

/// An aggregate, and what it asks.
#[derive(Debug)]
struct Asking {
    inner: Arc<AggregateUDF>,
    asked: Asked,
    /// The most rows for which a value is in memory at the same time.
    rows_max: usize,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.rows_max == other.rows_max
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Asking {
    fn around(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        let held = MemoryConsumer::new("window").register(&self.asked.pool);
        let (meter, rows_max) = (Arc::clone(&self.asked.meter), self.rows_max);
        Box::new(Watched { inner, meter, held, rows_max, rows: 0, looks_at: 0, values: 0 })
    }
}

impl AggregateUDFImpl for Asking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.around(self.inner.accumulator(arguments)?))
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        Ok(self.around(self.inner.create_sliding_accumulator(arguments)?))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.inner().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => {
                let (asked, rows_max) = (self.asked.clone(), self.rows_max);
                ReversedUDAF::Reversed(Arc::new(Self { inner, asked, rows_max }.into()))
            }
            other => other,
        }
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(
        &self,
        arguments: &datafusion::logical_expr::StatisticsArgs<'_>,
    ) -> Option<ScalarValue> {
        self.inner.value_from_stats(arguments)
    }

    fn default_value(&self, kind: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(kind)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(kind)
    }
}

/// An accumulator that asks.
struct Watched {
    inner: Box<dyn Accumulator>,
    meter: Arc<Meter>,
    held: MemoryReservation,
    rows_max: usize,
    /// Rows that it has taken.
    rows: usize,
    /// At so many it looks at what it holds the next time.
    looks_at: usize,
    /// Values that it has given.
    values: usize,
}

impl Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    fn ask(&self) -> Result<()> {
        self.meter.check().map_err(|fault| DataFusionError::External(fault.into()))
    }

    /// Reserves what is held, whenever that may have become a part more.
    fn take(&mut self, rows: usize) -> Result<()> {
        self.rows = self.rows.saturating_add(rows);
        if self.rows < self.looks_at {
            return Ok(());
        }
        self.looks_at = self.rows.saturating_add(self.rows / 8).saturating_add(ROWS_MIN);
        self.ask()?;
        self.held.try_resize(self.inner.size())
    }
}

impl Accumulator for Watched {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)?;
        self.take(values.first().map_or(0, ArrayRef::len))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_multiple_of(ASK_EVERY) {
            self.ask()?;
        }
        self.values = self.values.wrapping_add(1);
        let value = self.inner.evaluate()?;
        let rows = self.rows.max(ROWS_MIN).min(self.rows_max) as u64;
        if bytes_of(&value).saturating_mul(rows) > BATCH_BYTES_MAX {
            return Err(too_long());
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// The length of a text or a list; of other values it does not matter.
fn bytes_of(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len() as u64,
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => bytes.len() as u64,
        ScalarValue::List(list) => longest(list.as_ref()),
        ScalarValue::LargeList(list) => longest(list.as_ref()),
        ScalarValue::FixedSizeList(list) => longest(list.as_ref()),
        ScalarValue::Struct(row) => longest(row.as_ref()),
        ScalarValue::Map(map) => longest(map.as_ref()),
        other if other.data_type().is_nested() => other.size() as u64,
        _ => 0,
    }
}

fn too_long() -> DataFusionError {
    let what = "what a window function collects gets too long, since each row gets it; use GROUP BY, or array_agg over a frame of few rows (rows between 10 preceding and current row)";
    DataFusionError::External(Fault::new(FaultKind::Limit, what).into())
}

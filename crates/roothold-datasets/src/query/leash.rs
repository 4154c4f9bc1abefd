//! What makes a query stop that reads nothing any more: joins work on what they hold for as long
//! as there are pairs, and a budget that ended must reach them there.
//!
//! Each filter of a join first asks whether the query may go on, and what comes out of a join is
//! asked batch by batch, which also lets the runtime drop the query between two of them. What goes into
//! a join is held to be short enough to be repeated: see [`super::width`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    replace_children_if_necessary,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::width::{Widths, longest_row, slices_to_spread, too_long};
use crate::limits::BATCH_BYTES_MAX;
use crate::meter::Meter;

/// What can give many rows for few.
const MULTIPLIERS: [&str; 8] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "PiecewiseMergeJoinExec",
    "SymmetricHashJoinExec",
    "UnnestExec",
    "RecursiveQueryExec",
];

/// Lets the filters of joins ask.
pub(super) fn on_filters(plan: LogicalPlan, meter: &Arc<Meter>) -> Result<LogicalPlan> {
    let asks = Arc::new(ScalarUDF::from(MayGoOn::new(meter)));
    let asking = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(mut join) = node else { return Ok(Transformed::no(node)) };
        let Some(filter) = join.filter.take() else {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        };
        // In front: what stands behind is not looked at where what is in front is false.
        let asks = ScalarFunction::new_udf(Arc::clone(&asks), Vec::new());
        join.filter = Some(Expr::ScalarFunction(asks).and(filter));
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    })?;
    Ok(asking.data)
}

/// Lets what comes out of joins be asked about, and what goes into them and into windows be looked at.
/// Values that the query builds are up to `growth` times as long as those that they are made of.
pub(super) fn on_joins(
    plan: Arc<dyn ExecutionPlan>,
    meter: &Arc<Meter>,
    widths: &Arc<Widths>,
    growth: u64,
) -> Result<Arc<dyn ExecutionPlan>> {
    let leash = |input: Arc<dyn ExecutionPlan>, duty: Duty| -> Arc<dyn ExecutionPlan> {
        Arc::new(Leash { input, meter: Arc::clone(meter), duty })
    };
    let wrapped = plan.transform_up(|node| {
        let duty = match node.name() {
            "RecursiveQueryExec" => return Ok(Transformed::yes(leash(node, Duty::Ask))),
            "UnnestExec" => Duty::Spread { growth },
            "WindowAggExec" => Duty::Keep { repeats: adds_texts(&node) },
            "BoundedWindowAggExec" if !adds_texts(&node) => return Ok(Transformed::no(node)),
            "BoundedWindowAggExec" => Duty::Repeat { widths: Arc::clone(widths), growth },
            name if MULTIPLIERS.contains(&name) => {
                Duty::Repeat { widths: Arc::clone(widths), growth }
            }
            _ if node.children().is_empty() => {
                return Ok(Transformed::yes(leash(
                    node,
                    Duty::Read { widths: Arc::clone(widths) },
                )));
            }
            _ => return Ok(Transformed::no(node)),
        };
        let children = node.children().into_iter();
        let children = children.map(|child| leash(Arc::clone(child), duty.clone())).collect();
        let node = replace_children_if_necessary(node, children)?;
        Ok(Transformed::yes(leash(node, Duty::Ask)))
    })?;
    Ok(wrapped.data)
}

/// Whether a window adds columns whose values have no fixed length.
fn adds_texts(window: &Arc<dyn ExecutionPlan>) -> bool {
    let own = window.children().first().map_or(0, |input| input.schema().fields().len());
    let schema = window.schema();
    schema.fields().iter().skip(own).any(|field| field.data_type().primitive_width().is_none())
}

/// A function that is true for as long as the query may go on, and fails then.
#[derive(Debug)]
struct MayGoOn {
    meter: Arc<Meter>,
    signature: Signature,
}

impl MayGoOn {
    fn new(meter: &Arc<Meter>) -> Self {
        let signature = Signature::nullary(Volatility::Volatile);
        Self { meter: Arc::clone(meter), signature }
    }
}

impl PartialEq for MayGoOn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.meter, &other.meter)
    }
}

impl Eq for MayGoOn {}

impl Hash for MayGoOn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.meter).hash(state);
    }
}

impl ScalarUDFImpl for MayGoOn {
    fn name(&self) -> &'static str {
        "may_go_on"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.meter.check().map_err(|fault| DataFusionError::External(fault.into()))?;
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// What is done with batches, besides asking.
#[derive(Debug, Clone)]
enum Duty {
    /// Nothing.
    Ask,
    /// They were read of a table: they are looked at.
    Read { widths: Arc<Widths> },
    /// Their rows are repeated: they are looked at, and cut into as many as a batch may have.
    Repeat { widths: Arc<Widths>, growth: u64 },
    /// Their lists are taken apart: they are cut into few enough.
    Spread { growth: u64 },
    /// They are kept, all of them, and copied once more: that is reserved. Where values are repeated,
    /// they must not be much longer than rows are on the whole.
    Keep { repeats: bool },
}

/// Passes batches on for as long as the query may go on.
#[derive(Debug)]
struct Leash {
    input: Arc<dyn ExecutionPlan>,
    meter: Arc<Meter>,
    duty: Duty,
}

/// What is kept of batches.
struct Kept {
    memory: MemoryReservation,
    rows: u64,
    bytes: u64,
    longest: u64,
}

impl Kept {
    /// # Errors
    /// The pool has no room; `Limit`, where repeating the longest row for each would be too long.
    fn add(&mut self, batch: &RecordBatch, repeats: bool) -> Result<()> {
        /// Rows are alike up to this: the longest, and all of them, are this many times as long.
        const UNLIKE_MAX: u64 = 4;
        let bytes = batch.get_array_memory_size();
        self.memory.try_grow(bytes.saturating_mul(2))?;
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if !repeats {
            return Ok(());
        }
        self.longest = self.longest.max(longest_row(batch));
        let most = BATCH_BYTES_MAX.max(self.bytes).saturating_mul(UNLIKE_MAX);
        if self.rows.saturating_mul(self.longest) > most { Err(too_long()) } else { Ok(()) }
    }
}

impl Duty {
    fn run(
        &self,
        batch: RecordBatch,
        rows_max: usize,
        kept: &mut Kept,
    ) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Ask => Ok(vec![batch]),
            Self::Read { widths } => widths.note_read(&batch, rows_max).map(|()| vec![batch]),
            Self::Repeat { widths, growth } => {
                widths.check(&batch, rows_max, *growth)?;
                let rows = batch.num_rows();
                let cut = |from| batch.slice(from, rows_max.min(rows - from));
                Ok((0..rows).step_by(rows_max).map(cut).collect())
            }
            Self::Spread { growth } => slices_to_spread(&batch, *growth),
            Self::Keep { repeats } => kept.add(&batch, *repeats).map(|()| vec![batch]),
        }
    }
}

impl DisplayAs for Leash {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leash")
    }
}

impl ExecutionPlan for Leash {
    fn name(&self) -> &'static str {
        "Leash"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => {
                let (meter, duty) = (Arc::clone(&self.meter), self.duty.clone());
                Ok(Arc::new(Self { input, meter, duty }))
            }
            Err(_) => Err(DataFusionError::Internal("a leash has one child".to_owned())),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (meter, duty) = (Arc::clone(&self.meter), self.duty.clone());
        let rows_max = context.session_config().batch_size().max(1);
        let memory = MemoryConsumer::new("rows").register(context.memory_pool());
        let mut kept = Kept { memory, rows: 0, bytes: 0, longest: 0 };
        let checked = self.input.execute(partition, context)?.map(move |batch| {
            meter.check().map_err(|fault| DataFusionError::External(fault.into()))?;
            let slices = duty.run(batch?, rows_max, &mut kept)?;
            Ok::<_, DataFusionError>(stream::iter(slices.into_iter().map(Ok)))
        });
        let stream = RecordBatchStreamAdapter::new(self.input.schema(), checked.try_flatten());
        Ok(make_cooperative(Box::pin(stream)))
    }
}

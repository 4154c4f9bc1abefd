//! What makes a query stop that reads nothing any more: joins work on what they hold for as long
//! as there are pairs, and a budget that ended must reach them there.
//!
//! Each filter of a join first asks whether the query may go on, and what comes out of a join is
//! asked batch by batch, which also lets the runtime drop the query between two of them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
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
};
use futures::StreamExt as _;

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

/// Lets what comes out of joins be asked about.
pub(super) fn on_joins(
    plan: Arc<dyn ExecutionPlan>,
    meter: &Arc<Meter>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        if !MULTIPLIERS.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let leash: Arc<dyn ExecutionPlan> =
            Arc::new(Leash { input: node, meter: Arc::clone(meter) });
        Ok(Transformed::yes(leash))
    })?;
    Ok(wrapped.data)
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

/// Passes batches on for as long as the query may go on.
#[derive(Debug)]
struct Leash {
    input: Arc<dyn ExecutionPlan>,
    meter: Arc<Meter>,
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
            Ok([input]) => Ok(Arc::new(Self { input, meter: Arc::clone(&self.meter) })),
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
        let meter = Arc::clone(&self.meter);
        let checked = self.input.execute(partition, context)?.map(move |batch| {
            meter.check().map_err(|fault| DataFusionError::External(fault.into()))?;
            batch
        });
        let stream = RecordBatchStreamAdapter::new(self.input.schema(), checked);
        Ok(make_cooperative(Box::pin(stream)))
    }
}

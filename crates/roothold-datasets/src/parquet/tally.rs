//! Groups by texts of Parquet that stand in dictionaries: the numbers of the texts say which group a row
//! belongs to, and no text is looked at but once in a dictionary.
//!
//! It takes the place of the first half of an aggregation, which gives what each partition found
//! of each group. The second half, behind it, adds what partitions found, and takes the same group
//! any number of times: so what is held can be given away whenever it grows too large.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt as _, stream};

use super::row_groups::RowGroupScan;

mod places;

use places::{KEYS_MAX, Places};

/// The most groups that are held.
const GROUPS_MAX: usize = 256 * 1024;

/// Puts a tally where a plan groups rows of Parquet files by texts in dictionaries.
///
/// # Errors
/// Those of making a scan.
pub(crate) fn tallied(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|node| {
        let tally = node.downcast_ref::<AggregateExec>().map(Tally::instead_of).transpose()?;
        match tally.flatten() {
            Some(tally) => Ok(Transformed::yes(Arc::new(tally) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(replaced.data)
}

/// The first half of an aggregation, together with its scan.
#[derive(Debug)]
struct Tally {
    scan: Arc<RowGroupScan>,
    spec: Arc<Spec>,
    properties: Arc<PlanProperties>,
}

/// What is grouped by what.
#[derive(Debug)]
struct Spec {
    /// The columns of the scan that are dictionaries.
    keys: Vec<usize>,
    figures: Vec<Figure>,
    /// Columns of keys, and then what accumulators hold.
    schema: SchemaRef,
}

/// One aggregate.
#[derive(Debug)]
struct Figure {
    aggregate: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Tally {
    fn instead_of(node: &AggregateExec) -> Result<Option<Self>> {
        let by = node.group_expr();
        let is_simple = by.is_single() && (1..=KEYS_MAX).contains(&by.expr().len());
        if *node.mode() != AggregateMode::Partial || !is_simple || node.limit_options().is_some() {
            return Ok(None);
        }
        let mut input = node.input();
        while let ("CooperativeExec", [inner]) = (input.name(), input.children().as_slice()) {
            input = *inner;
        }
        let Some(scan) = input.downcast_ref::<RowGroupScan>() else { return Ok(None) };
        let keys = by.expr().iter().map(|(key, _)| key.downcast_ref::<Column>().map(Column::index));
        let Some(keys) = keys.collect::<Option<Vec<usize>>>() else { return Ok(None) };
        let figures: Vec<Figure> =
            node.aggr_expr().iter().zip(node.filter_expr()).map(Figure::new).collect();
        if !figures.iter().all(|figure| figure.is_apart_from(&keys)) {
            return Ok(None);
        }
        let Some(scan) = scan.with_dictionaries(&keys)? else { return Ok(None) };
        let spec = Spec { keys, figures, schema: node.schema() };
        Ok(Some(Self {
            scan: Arc::new(scan),
            spec: Arc::new(spec),
            properties: Arc::clone(node.properties()),
        }))
    }
}

impl Figure {
    fn new(
        (aggregate, filter): (&Arc<AggregateFunctionExpr>, &Option<Arc<dyn PhysicalExpr>>),
    ) -> Self {
        let arguments = aggregate.expressions();
        Self { aggregate: Arc::clone(aggregate), arguments, filter: filter.clone() }
    }

    /// Whether it can be had of groups, and looks at no column that becomes a dictionary.
    fn is_apart_from(&self, keys: &[usize]) -> bool {
        let looks_at = self.arguments.iter().chain(&self.filter).flat_map(collect_columns);
        self.aggregate.groups_accumulator_supported()
            && self.aggregate.order_bys().is_empty()
            && looks_at.into_iter().all(|column| !keys.contains(&column.index()))
    }
}

impl DisplayAs for Tally {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tally")
    }
}

impl ExecutionPlan for Tally {
    fn name(&self) -> &'static str {
        "Tally"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// Its scan is its own: of another it would not know the dictionaries.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let consumer = MemoryConsumer::new("tally").register(context.memory_pool());
        let held = Held::new(Arc::clone(&self.spec), consumer)?;
        // Reading never waits, so the runtime must have other occasions to drop it.
        let input = make_cooperative(self.scan.execute(partition, context)?);
        let batches = stream::try_unfold((input, held), |(mut input, mut held)| async move {
            while let Some(batch) = input.next().await {
                held.take(&batch?)?;
                if held.is_too_large()? {
                    return Ok(Some((held.give()?, (input, held))));
                }
            }
            let rest = if held.places.is_empty() { None } else { Some(held.give()?) };
            Ok(rest.map(|rest| (rest, (input, held))))
        });
        let schema = Arc::clone(&self.spec.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// The groups that a partition has found.
struct Held {
    spec: Arc<Spec>,
    places: Places,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    memory: MemoryReservation,
}

impl Held {
    fn new(spec: Arc<Spec>, memory: MemoryReservation) -> Result<Self> {
        let accumulators = accumulators(&spec)?;
        Ok(Self { places: Places::new(spec.keys.len()), spec, accumulators, memory })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let keys: Vec<&ArrayRef> = self.spec.keys.iter().map(|key| batch.column(*key)).collect();
        let places = self.places.of(&keys, rows)?;
        for (figure, accumulator) in self.spec.figures.iter().zip(&mut self.accumulators) {
            let values = figure.arguments.iter();
            let values = values.map(|argument| argument.evaluate(batch)?.into_array(rows));
            let values = values.collect::<Result<Vec<ArrayRef>>>()?;
            let filter = figure.filter.as_ref();
            let filter =
                filter.map(|filter| filter.evaluate(batch)?.into_array(rows)).transpose()?;
            let filter = filter.as_ref().map(AsArray::as_boolean);
            accumulator.update_batch(&values, places.rows, filter, places.groups)?;
        }
        Ok(())
    }

    /// Whether the groups must be given away before others come.
    ///
    /// # Errors
    /// The pool has no room for a batch's.
    fn is_too_large(&mut self) -> Result<bool> {
        let accumulators: usize = self.accumulators.iter().map(|one| one.size()).sum();
        let has_room = self.memory.try_resize(self.places.bytes() + accumulators);
        if self.places.len() > 1 {
            Ok(has_room.is_err() || self.places.len() > GROUPS_MAX)
        } else {
            has_room.map(|()| false)
        }
    }

    /// What was found, after which there is nothing.
    fn give(&mut self) -> Result<RecordBatch> {
        let mut columns = self.places.texts(&self.spec.schema)?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        self.accumulators = accumulators(&self.spec)?;
        self.places = Places::new(self.spec.keys.len());
        self.memory.free();
        RecordBatch::try_new(Arc::clone(&self.spec.schema), columns).map_err(DataFusionError::from)
    }
}

fn accumulators(spec: &Spec) -> Result<Vec<Box<dyn GroupsAccumulator>>> {
    spec.figures.iter().map(|figure| figure.aggregate.create_groups_accumulator()).collect()
}

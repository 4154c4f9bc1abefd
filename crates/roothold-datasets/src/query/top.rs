//! The top of a sort of Parquet files: found by the columns that it is sorted and filtered by, before
//! any other is read; of the others, what has none of its rows is not even decompressed.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SubqueryAlias, TableScan,
};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt as _;

use super::session::Session;
use crate::parquet::{ParquetTable, places_in};

/// The most rows that are found by their places: the more there are, the fewer pages have none.
const ROWS_MAX: usize = 1024;

impl Session {
    /// The same plan over the rows of its top alone, if it is one that is worth it.
    ///
    /// # Errors
    /// Those of finding the rows.
    pub(super) async fn narrowed(
        &self,
        plan: LogicalPlan,
        state: &SessionState,
    ) -> Result<LogicalPlan> {
        let Some(search) = self.search(&plan, state)? else { return Ok(plan) };
        let physical = state.query_planner().create_physical_plan(&search.plan, state).await?;
        let found = execute_stream(physical, self.context().task_ctx())?;
        let found: Vec<_> = found.try_collect().await?;
        let table = Arc::new(search.table.only(places_in(&found)));
        let narrowed = plan.transform_down(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            scan.source = provider_as_source(Arc::clone(&table) as _);
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })?;
        Ok(narrowed.data)
    }

    fn search(&self, plan: &LogicalPlan, state: &SessionState) -> Result<Option<Search<'_>>> {
        let top = sort_of(plan).and_then(|sort| Some((sort, sort.fetch?, scan_of(&sort.input)?)));
        let Some((sort, rows, scan)) = top else { return Ok(None) };
        let table = self.parquet(scan.table_name.table()).filter(|table| table.has_places());
        let Some(table) = table.filter(|_| rows <= ROWS_MAX && has_one_table(plan)) else {
            return Ok(None);
        };
        let (placed, names) = table.with_places();
        let source = provider_as_source(Arc::new(placed));
        let input = with_places(
            &sort.input,
            &|scan| {
                let (name, filters) = (scan.table_name.clone(), scan.filters.clone());
                LogicalPlanBuilder::scan_with_filters(name, Arc::clone(&source), None, filters)?
                    .build()
            },
            &names,
        )?;
        let wanted = columns(&input, &names)?;
        let found = LogicalPlanBuilder::from(input)
            .sort_with_limit(sort.expr.clone(), sort.fetch)?
            .project(wanted)?
            .build()?;
        let found = state.optimize(&found)?;
        // Besides the columns of its places.
        let looked_at =
            scan_in(&found).map_or(usize::MAX, |scan| scan.projected_schema.fields().len());
        let is_less = looked_at.saturating_sub(names.len()) < scan.projected_schema.fields().len();
        Ok(is_less.then_some(Search { plan: found, table }))
    }
}

/// How the places of a plan's rows are found.
struct Search<'a> {
    plan: LogicalPlan,
    table: &'a ParquetTable,
}

/// The sort whose first rows are all that a plan gives.
fn sort_of(plan: &LogicalPlan) -> Option<&Sort> {
    match plan {
        LogicalPlan::Sort(sort) => Some(sort),
        LogicalPlan::Projection(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            sort_of(plan.inputs().first()?)
        }
        _ => None,
    }
}

/// The table of which a plan gives rows.
fn scan_of(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            scan_of(plan.inputs().first()?)
        }
        _ => None,
    }
}

/// The first table below a plan.
fn scan_in(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        _ => scan_in(plan.inputs().first()?),
    }
}

/// Whether nothing in a plan, wherever, reads anything but one table.
fn has_one_table(plan: &LogicalPlan) -> bool {
    let mut tables = 0;
    let walked = plan.apply_with_subqueries(|node| {
        tables += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && tables == 1
}

/// The same rows with the columns of their places, and with all columns of the table below.
fn with_places(
    plan: &LogicalPlan,
    placed: &dyn Fn(&TableScan) -> Result<LogicalPlan>,
    names: &[String; 2],
) -> Result<LogicalPlan> {
    let below = |input: &Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
        Ok(Arc::new(with_places(input, placed, names)?))
    };
    match plan {
        LogicalPlan::TableScan(scan) => placed(scan),
        LogicalPlan::Filter(filter) => Ok(LogicalPlan::Filter(Filter::try_new(
            filter.predicate.clone(),
            below(&filter.input)?,
        )?)),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = below(&alias.input)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?))
        }
        LogicalPlan::Projection(projection) => {
            let input = below(&projection.input)?;
            let mut expressions = projection.expr.clone();
            expressions.extend(columns(&input, names)?);
            Ok(LogicalPlan::Projection(Projection::try_new(expressions, input)?))
        }
        other => datafusion::common::plan_err!("places are not known in {}", other.display()),
    }
}

/// Columns by their names, however the table is called.
fn columns(plan: &LogicalPlan, names: &[String; 2]) -> Result<Vec<Expr>> {
    let column = |name: &String| {
        let field = plan.schema().qualified_field_with_unqualified_name(name)?;
        Ok(Expr::Column(Column::from(field)))
    };
    names.iter().map(column).collect()
}

//! In which order the rows of a query come, and whether they come in it again when it is asked again,
//! as it is for each page.

use std::collections::HashSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema as _};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Distinct, Expr, FetchType, LogicalPlan, WindowFrameUnits, WindowFunctionDefinition,
};

use super::gate::is_extreme;

/// Functions whose result depends on which row comes before which, also among those that are alike in
/// what they are ordered by.
const BY_POSITION: [&str; 10] = [
    "any_value",
    "array_agg",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "row_number",
    "string_agg",
];

/// Whether a query says in which order its rows come, or has one row at most, and gives the same rows
/// each time once ties are broken.
pub(super) fn is_stable(plan: &LogicalPlan) -> bool {
    let mut is_repeatable = true;
    let walked = plan.apply_with_subqueries(|node| {
        let is_chosen_alike = match node {
            LogicalPlan::Limit(limit) => is_ordered(&limit.input),
            LogicalPlan::Distinct(Distinct::On(_)) => false,
            _ => true,
        };
        is_repeatable &= is_chosen_alike && !node.expressions().iter().any(is_by_position);
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && is_repeatable && is_ordered(plan)
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().is_some_and(|input| is_ordered(input))
        }
        _ => false,
    }
}

fn is_by_position(expression: &Expr) -> bool {
    let found = expression.exists(|inner| {
        Ok(match inner {
            Expr::AggregateFunction(function) => BY_POSITION.contains(&function.func.name()),
            Expr::WindowFunction(function) => {
                let frame = &function.params.window_frame;
                let is_whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
                let is_running = matches!(function.fun, WindowFunctionDefinition::AggregateUDF(_))
                    && frame.units == WindowFrameUnits::Rows
                    && !is_whole;
                is_running || BY_POSITION.contains(&function.fun.name())
            }
            _ => false,
        })
    });
    found.unwrap_or(true) || expression.is_volatile()
}

/// The most rows that a query gives, where it says so.
pub(super) fn rows_most(plan: &LogicalPlan) -> Option<usize> {
    match plan {
        LogicalPlan::Limit(limit) => match limit.get_fetch_type() {
            Ok(FetchType::Literal(most)) => most,
            _ => None,
        },
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty().then_some(1),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            rows_most(plan.inputs().first()?)
        }
        _ => None,
    }
}

/// The same query, where rows that are alike in what they are sorted by are sorted by all else that
/// there is of them: so only rows that are alike in everything may change places.
pub(super) fn with_ties_broken(plan: LogicalPlan) -> Result<LogicalPlan> {
    let broken = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Sort(mut sort) = node else { return Ok(Transformed::no(node)) };
        let sorted: HashSet<&Expr> = sort.expr.iter().map(|key| &key.expr).collect();
        let columns =
            sort.input.schema().iter().filter(|(_, field)| is_sortable(field.data_type()));
        let others = columns.map(|column| Expr::Column(Column::from(column)));
        let others: Vec<_> = others.filter(|column| !sorted.contains(column)).collect();
        sort.expr.extend(others.into_iter().map(|column| column.sort(true, false)));
        Ok(Transformed::yes(LogicalPlan::Sort(sort)))
    })?;
    Ok(broken.data)
}

fn is_sortable(of: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(of.clone())])
}

/// Whether a plan, as it is executed, compares floating-point numbers of files: to filter, sort or join, or
/// for the least or greatest. NaN is greater than all others here, and no statistics of Parquet tell
/// whether there is one.
pub(super) fn compares_floats(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        let is_float = |it: &Expr| node.inputs().iter().any(|input| holds_floats(it, input));
        found |= match node {
            LogicalPlan::TableScan(scan) => {
                let schema = scan.source.schema();
                let is_float = |name: &str| {
                    schema.field_with_name(name).is_ok_and(|field| has_floats(field.data_type()))
                };
                let mut columns = scan.filters.iter().flat_map(Expr::column_refs);
                columns.any(|column| is_float(&column.name))
            }
            LogicalPlan::Sort(_) | LogicalPlan::Join(_) => node.expressions().iter().any(is_float),
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.aggr_expr.iter().any(|it| is_extreme(it) && is_float(it))
            }
            _ => false,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_err() || found
}

fn holds_floats(expression: &Expr, input: &LogicalPlan) -> bool {
    let fields = expression.column_refs();
    fields.iter().any(|column| {
        input.schema().field_from_column(column).is_ok_and(|field| has_floats(field.data_type()))
    })
}

fn has_floats(of: &DataType) -> bool {
    match of {
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => of.is_floating(),
    }
}

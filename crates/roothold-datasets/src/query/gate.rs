//! What may be planned: one SELECT, made of parts that read tables and nothing else.

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, VisitMut as _};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use roothold_core::{Fault, FaultKind};

use crate::refusal::invalid;

/// How deep expressions and queries nest, by parentheses.
const DEPTH_MAX: usize = 64;
/// The most words and signs of a query: `1+1+1+…` nests as deep as it is long, and the stack of
/// the engine's threads is made for so many.
const TOKENS_MAX: usize = 8192;

/// The one SELECT of a text.
///
/// # Errors
/// `Invalid` for anything else: several statements, INSERT, CREATE, SET, COPY, EXPLAIN, PREPARE, …
pub(super) fn one_select(sql: &str) -> Result<Statement, Fault> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| invalid(&error.to_string()))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if tokens.len() > TOKENS_MAX {
        let what = format!("the query has more than {TOKENS_MAX} words and signs; shorten it");
        return Err(Fault::new(FaultKind::Limit, what));
    }
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| crate::refusal::fault_of(&error))?;
    let (first, others) = (statements.pop_front(), !statements.is_empty());
    match first {
        Some(Statement::Statement(mut statement)) if !others => match *statement {
            ast::Statement::Query(ref mut query) if is_plain(query) => {
                let _ = query.visit(&mut AllColumns);
                if has_no_columns(&query.body) {
                    return Err(Fault::invalid(
                        "the SELECT names no column; write SELECT * for all of them",
                    ));
                }
                Ok(Statement::Statement(statement))
            }
            _ => Err(not_one_select()),
        },
        _ => Err(not_one_select()),
    }
}

/// Lets `FROM data` without SELECT mean all columns, wherever it stands; the planner takes it for none.
struct AllColumns;

impl ast::VisitorMut for AllColumns {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        name_all(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn name_all(body: &mut ast::SetExpr) {
    match body {
        ast::SetExpr::Select(select) if select.flavor == ast::SelectFlavor::FromFirstNoSelect => {
            let all = ast::WildcardAdditionalOptions::default();
            select.projection.push(ast::SelectItem::Wildcard(all));
            select.flavor = ast::SelectFlavor::FromFirst;
        }
        ast::SetExpr::SetOperation { left, right, .. } => {
            name_all(left);
            name_all(right);
        }
        // A query within is visited by itself.
        _ => {}
    }
}

/// Whether the rows of a query would be empty, which only EXISTS has a use for.
fn has_no_columns(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.projection.is_empty(),
        ast::SetExpr::Query(inner) => has_no_columns(&inner.body),
        ast::SetExpr::SetOperation { left, .. } => has_no_columns(left),
        _ => false,
    }
}

/// A query that only reads: no INSERT as its body, no INTO, no locks.
fn is_plain(query: &ast::Query) -> bool {
    let reads = match &*query.body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(inner) => is_plain(inner),
        ast::SetExpr::SetOperation { .. } | ast::SetExpr::Values(_) => true,
        _ => false,
    };
    reads && query.locks.is_empty()
}

fn not_one_select() -> Fault {
    Fault::invalid(
        "a query is one SELECT (or WITH … SELECT) and nothing else; datasets cannot be changed with it",
    )
}

/// Refuses what a plan must not hold, wherever in it.
///
/// # Errors
/// `Invalid`.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), Fault> {
    let mut is_allowed = true;
    let walked = plan.apply_with_subqueries(|node| {
        is_allowed &= is_reading(node);
        Ok(if is_allowed { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|error| crate::refusal::fault_of(&error))?;
    if is_allowed { Ok(()) } else { Err(not_one_select()) }
}

fn is_reading(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => true,
        // What writes, describes or sets something, and what a later version may add.
        _ => false,
    }
}

/// What comes of aggregates that hold no row they have seen.
const FIGURES: [&str; 12] = [
    "approx_distinct",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// Whether whatever a plan reads of tables goes into groups and figures at once, so that no row of
/// a table is kept.
pub(super) fn is_folded(plan: &LogicalPlan) -> bool {
    let mut has_queries = false;
    let walked = plan.apply_with_subqueries(|node| {
        // A query within an expression becomes a join.
        has_queries |= matches!(node, LogicalPlan::Subquery(_));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && !has_queries && folds(plan)
}

fn folds(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.aggr_expr.iter().all(is_figure) && only_reads(&aggregate.input)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => only_reads(input),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().all(folds),
        _ => false,
    }
}

/// Whether a plan gives rows of tables as they come.
fn only_reads(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().all(only_reads)
        }
        _ => false,
    }
}

fn is_figure(expression: &Expr) -> bool {
    is_one_of(expression, &FIGURES)
}

fn is_one_of(expression: &Expr, names: &[&str]) -> bool {
    match expression {
        Expr::Alias(alias) => is_one_of(&alias.expr, names),
        Expr::AggregateFunction(function) => names.contains(&function.func.name()),
        _ => false,
    }
}

/// Whether an expression is the least or greatest of values.
pub(super) fn is_extreme(expression: &Expr) -> bool {
    is_one_of(expression, &["max", "min"])
}

/// Whether a plan that is folded asks for nothing but the least and greatest values of all rows: as
/// soon as some are known, statistics tell which rows need not be read.
pub(super) fn has_extremes_alone(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty() && aggregate.aggr_expr.iter().all(is_extreme)
        }
        _ => plan.inputs().first().is_some_and(|input| has_extremes_alone(input)),
    }
}

//! How long the texts and lists may get that a query builds, judged before it runs.
//!
//! A value that a function builds is in no pool, and doubling a text thirty times is one short
//! query; the process would be killed for it. So each expression has a weight: how many bytes it
//! has at most if every cell of a table had 64. Functions add the weights of their arguments, or
//! multiply them by literals; what multiplies by something that is not written in the query is
//! refused.

use std::cell::Cell;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator};
use roothold_core::{Fault, FaultKind};

/// What a cell of a table weighs.
const CELL: u64 = 64;

/// Refuses a plan in which something may get longer than `growth_max` cells.
///
/// # Errors
/// `Limit`.
pub(super) fn check(plan: &LogicalPlan, growth_max: u64) -> Result<(), Fault> {
    let most = growth_max.saturating_mul(CELL);
    Scale { most, collected: most / 4, heaviest: Cell::new(CELL) }.plan(plan).map(drop)
}

/// How many times as long as the values that it is made of the longest value of a plan may get. What is
/// collected of many rows counts as one value.
///
/// # Errors
/// As [`check`].
pub(super) fn factor(plan: &LogicalPlan) -> Result<u64, Fault> {
    let scale = Scale { most: u64::MAX, collected: CELL, heaviest: Cell::new(CELL) };
    scale.plan(plan)?;
    Ok(scale.heaviest.get().div_ceil(CELL))
}

struct Scale {
    most: u64,
    /// What is collected of many rows weighs that.
    collected: u64,
    /// What the heaviest expression weighs.
    heaviest: Cell<u64>,
}

/// What the columns of the input of an expression weigh.
struct Input<'a> {
    schemas: Vec<&'a DFSchema>,
    weights: Vec<Vec<u64>>,
}

impl Input<'_> {
    fn column(&self, column: &datafusion::common::Column) -> u64 {
        let found = self.schemas.iter().zip(&self.weights).find_map(|(schema, weights)| {
            schema.maybe_index_of_column(column).and_then(|at| weights.get(at))
        });
        // A column of an outer query.
        found.copied().unwrap_or_else(|| self.heaviest())
    }

    fn heaviest(&self) -> u64 {
        self.weights.iter().flatten().copied().max().unwrap_or(CELL)
    }
}

impl Scale {
    /// What the columns of a plan weigh.
    fn plan(&self, plan: &LogicalPlan) -> Result<Vec<u64>, Fault> {
        let inputs = plan.inputs();
        let weights = inputs.iter().map(|input| self.plan(input)).collect::<Result<Vec<_>, _>>()?;
        let schemas = inputs.iter().map(|input| input.schema().as_ref()).collect();
        let input = Input { schemas, weights };
        let exprs = |exprs: &[Expr]| {
            exprs.iter().map(|expr| self.expr(expr, &input)).collect::<Result<Vec<_>, _>>()
        };
        let width = plan.schema().fields().len();
        Ok(match plan {
            LogicalPlan::Projection(projection) => exprs(&projection.expr)?,
            LogicalPlan::Aggregate(aggregate) => {
                let mut weights = exprs(&aggregate.group_expr)?;
                weights.extend(exprs(&aggregate.aggr_expr)?);
                // Grouping sets have columns of their own.
                weights.resize(width.max(weights.len()), CELL);
                weights
            }
            LogicalPlan::Filter(filter) => {
                self.expr(&filter.predicate, &input)?;
                input.weights.into_iter().next().unwrap_or_default()
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => {
                input.weights.into_iter().next().unwrap_or_default()
            }
            LogicalPlan::RecursiveQuery(_) => {
                if input.heaviest() > CELL {
                    return Err(too_long("a recursive query that builds texts or lists"));
                }
                vec![CELL; width]
            }
            other => {
                let own = self.others(other, &input)?;
                vec![own.max(input.heaviest()); width]
            }
        })
    }

    /// The heaviest expression of a node that is not treated by itself.
    fn others(&self, plan: &LogicalPlan, input: &Input<'_>) -> Result<u64, Fault> {
        let mut heaviest = CELL;
        for expr in plan.expressions() {
            heaviest = heaviest.max(self.expr(&expr, input)?);
        }
        Ok(heaviest)
    }

    fn expr(&self, expr: &Expr, input: &Input<'_>) -> Result<u64, Fault> {
        let weight = match expr {
            Expr::Column(column) => input.column(column),
            Expr::OuterReferenceColumn(..) => input.heaviest(),
            Expr::Literal(value, _) => literal_bytes(value),
            Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
                self.expr(&binary.left, input)?.saturating_add(self.expr(&binary.right, input)?)
            }
            Expr::ScalarFunction(function) => self.function(function, input)?,
            Expr::AggregateFunction(function) => {
                self.collected(function.func.name(), self.heaviest_child(expr, input)?)
            }
            Expr::WindowFunction(function) => {
                self.collected(function.fun.name(), self.heaviest_child(expr, input)?)
            }
            Expr::ScalarSubquery(subquery) => {
                self.plan(&subquery.subquery)?.into_iter().max().unwrap_or(CELL)
            }
            Expr::Exists(exists) => {
                self.plan(&exists.subquery.subquery)?;
                CELL
            }
            Expr::InSubquery(inside) => {
                self.expr(&inside.expr, input)?;
                self.plan(&inside.subquery.subquery)?;
                CELL
            }
            other => self.heaviest_child(other, input)?,
        };
        if weight > self.most {
            let what = expr.to_string();
            let short: String = what.chars().take(60).collect();
            return Err(too_long(&short));
        }
        self.heaviest.set(self.heaviest.get().max(weight));
        Ok(weight)
    }

    fn heaviest_child(&self, expr: &Expr, input: &Input<'_>) -> Result<u64, Fault> {
        use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
        let (mut heaviest, mut failed) = (CELL, None);
        let walked: DataFusionResult<_> = expr.apply_children(|child| {
            match self.expr(child, input) {
                Ok(weight) => heaviest = heaviest.max(weight),
                Err(fault) => failed = Some(fault),
            }
            Ok(if failed.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        walked.map_err(|error| crate::refusal::fault_of(&error))?;
        failed.map_or(Ok(heaviest), Err)
    }

    fn function(&self, function: &ScalarFunction, input: &Input<'_>) -> Result<u64, Fault> {
        let arguments = &function.args;
        let mut weights = Vec::with_capacity(arguments.len());
        for argument in arguments {
            weights.push(self.expr(argument, input)?);
        }
        let first = weights.first().copied().unwrap_or(CELL);
        let number = |at: usize| arguments.get(at).and_then(literal_number);
        let length = |at: usize| arguments.get(at).and_then(literal_length);
        let name = function.func.name();
        let needs = |found: Option<u64>| found.ok_or_else(|| not_literal(name));
        Ok(match name {
            "repeat" => first.saturating_mul(needs(number(1))?),
            "lpad" | "rpad" => first.max(needs(number(1))?.saturating_mul(4)),
            "replace" | "regexp_replace" => {
                first.saturating_mul(needs(length(2))?.saturating_add(1))
            }
            "array_to_string" => first.saturating_mul(needs(length(1))?.saturating_add(1)),
            // What is no text and no list cannot get long.
            "length" | "character_length" | "octet_length" | "bit_length" | "strpos" | "ascii"
            | "levenshtein" | "md5" | "sha224" | "sha256" | "sha384" | "sha512" | "digest"
            | "date_part" | "date_trunc" | "date_bin" | "to_char" | "starts_with" | "ends_with"
            | "contains" | "regexp_like" | "regexp_count" | "regexp_instr" | "array_length"
            | "cardinality" => CELL,
            _ => weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight)).max(CELL),
        })
    }

    /// What collects rows in one value is in the pool as long as it grows, and is long then.
    fn collected(&self, name: &str, weight: u64) -> u64 {
        match name {
            "string_agg" | "array_agg" => weight.max(self.collected),
            _ => weight,
        }
    }
}

fn literal_bytes(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len() as u64,
        _ => 1,
    }
}

fn literal_length(expr: &Expr) -> Option<u64> {
    match unaliased(expr) {
        Expr::Literal(value, _) => Some(literal_bytes(value)),
        _ => None,
    }
}

fn literal_number(expr: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = unaliased(expr) else { return None };
    match value.cast_to(&datafusion::arrow::datatypes::DataType::Int64).ok()? {
        ScalarValue::Int64(Some(number)) => Some(u64::try_from(number).unwrap_or(0)),
        _ => None,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        Expr::Cast(cast) => unaliased(&cast.expr),
        other => other,
    }
}

fn not_literal(name: &str) -> Fault {
    Fault::new(
        FaultKind::Limit,
        format!(
            "how often or with what {name} fills must be written in the query, so that its result has a limit"
        ),
    )
}

fn too_long(what: &str) -> Fault {
    Fault::new(
        FaultKind::Limit,
        format!(
            "{} may get too long; build shorter texts, or fewer in one query",
            crate::shown::cell(what)
        ),
    )
}

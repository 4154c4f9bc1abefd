//! Arithmetic of whole numbers that is right or refused: the engine's own wraps around.
//!
//! Once a plan knows the types of its expressions, `+`, `-` and `*` of whole numbers become functions
//! that fail where a result does not fit. Other numbers need none: decimals are checked by
//! the engine, and what is too large for a double is infinite.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// Puts checked arithmetic in place of the engine's. It comes after the coercion of types.
#[derive(Debug)]
pub(super) struct CheckedArithmetic {
    add: Arc<ScalarUDF>,
    subtract: Arc<ScalarUDF>,
    multiply: Arc<ScalarUDF>,
}

impl Default for CheckedArithmetic {
    fn default() -> Self {
        let function = |operation| {
            let signature = Signature::any(2, Volatility::Immutable);
            Arc::new(ScalarUDF::from(Checked { operation, signature }))
        };
        Self {
            add: function(Operation::Add),
            subtract: function(Operation::Subtract),
            multiply: function(Operation::Multiply),
        }
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| self.on_node(node)).map(|done| done.data)
    }
}

impl CheckedArithmetic {
    fn on_node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = merge_schema(&node.inputs());
        // What a column is called comes from how it is computed.
        let names = NamePreserver::new(&node);
        let checked = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let checked = expression.transform_up(|inner| self.instead_of(inner, &schema))?;
            let is_other = checked.transformed;
            Ok(checked.update_data(|inner| if is_other { name.restore(inner) } else { inner }))
        })?;
        if checked.transformed {
            checked.map_data(LogicalPlan::recompute_schema)
        } else {
            Ok(checked)
        }
    }

    fn instead_of(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let (function, left, right) = match expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if self.function(op).is_some() && are_whole(&left, &right, schema)? =>
            {
                (self.function(op), *left, *right)
            }
            Expr::Negative(inner) if inner.get_type(schema)?.is_signed_integer() => {
                let zero = ScalarValue::new_zero(&inner.get_type(schema)?)?;
                (Some(&self.subtract), Expr::Literal(zero, None), *inner)
            }
            other => return Ok(Transformed::no(other)),
        };
        let function = function.unwrap_or(&self.add);
        let call = ScalarFunction::new_udf(Arc::clone(function), vec![left, right]);
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }

    fn function(&self, operator: Operator) -> Option<&Arc<ScalarUDF>> {
        match operator {
            Operator::Plus => Some(&self.add),
            Operator::Minus => Some(&self.subtract),
            Operator::Multiply => Some(&self.multiply),
            _ => None,
        }
    }
}

/// Whether both are whole numbers of one type.
fn are_whole(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<bool> {
    let left = left.get_type(schema)?;
    Ok(left.is_integer() && right.get_type(schema)? == left)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// A sum, difference or product, or an error where it does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        Ok(kinds.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kinds: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&kinds)?, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> =
            match self.operation {
                Operation::Add => add,
                Operation::Subtract => sub,
                Operation::Multiply => mul,
            };
        apply(&args.args[0], &args.args[1], kernel)
    }
}

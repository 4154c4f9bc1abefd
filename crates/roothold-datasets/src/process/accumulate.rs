//! The engine's own accumulators, over all rows of a column.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array};
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::PhysicalExpr;

/// A function over values of one type: what accumulators are made from.
#[derive(Debug, Clone)]
pub(super) struct Function(Arc<AggregateFunctionExpr>);

impl Function {
    /// `function` over values of `kind`, with constants behind them.
    pub(super) fn new(
        function: Arc<AggregateUDF>,
        kind: &DataType,
        constants: &[ScalarValue],
    ) -> Result<Self> {
        let mut arguments: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("value", 0))];
        arguments.extend(constants.iter().map(|value| Arc::new(Literal::new(value.clone())) as _));
        let schema = Schema::new(vec![Field::new("value", kind.clone(), true)]);
        let built = AggregateExprBuilder::new(function, arguments)
            .schema(Arc::new(schema))
            .alias("value")
            .build()?;
        Ok(Self(Arc::new(built)))
    }

    /// The expression itself, for grouped accumulators.
    pub(super) fn expression(&self) -> &Arc<AggregateFunctionExpr> {
        &self.0
    }

    /// Whether one accumulator can be that of many groups.
    pub(super) fn is_grouped(&self) -> bool {
        self.0.groups_accumulator_supported()
    }

    /// An accumulator that has seen nothing.
    pub(super) fn start(&self) -> Result<Folded> {
        self.0.create_accumulator().map(Folded)
    }
}

/// An accumulator.
#[derive(Debug)]
pub(super) struct Folded(Box<dyn Accumulator>);

impl Folded {
    /// Adds values.
    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        self.0.update_batch(std::slice::from_ref(values))
    }

    /// Its state, in arrays of one row each.
    pub(super) fn state(&mut self) -> Result<Vec<ArrayRef>> {
        self.0.state()?.iter().map(ScalarValue::to_array).collect()
    }

    /// Adds what another of the same function has seen.
    pub(super) fn merge(&mut self, state: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(state)
    }

    /// The result over what it has seen so far.
    pub(super) fn value(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }
}

/// The type whose values are counted as distinct in place of those of `kind`.
pub(super) fn hashed(kind: &DataType) -> DataType {
    match kind {
        DataType::Float64 => DataType::UInt64,
        DataType::Float32 => DataType::UInt32,
        DataType::Float16 => DataType::Utf8,
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    }
}

/// The values as they are counted: numbers that are not whole by their bits.
pub(super) fn to_hashed(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            let bits = ScalarBuffer::<u64>::from(values.values().inner().clone());
            Arc::new(UInt64Array::new(bits, values.nulls().cloned()))
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            let bits = ScalarBuffer::<u32>::from(values.values().inner().clone());
            Arc::new(UInt32Array::new(bits, values.nulls().cloned()))
        }
        kind => {
            let hashed = hashed(kind);
            if hashed == *kind { values.clone() } else { cast(values, &hashed)? }
        }
    })
}

//! The engine's own accumulators, one for each group of rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::accumulate::Function;

/// What groups are told apart by, and what is kept of each.
#[derive(Debug)]
pub(super) struct Grouping {
    keys: SchemaRef,
    functions: Vec<Function>,
    /// How many columns the state of each function has.
    states: Vec<Vec<FieldRef>>,
}

impl Grouping {
    /// Groups by columns of the types of `keys`.
    pub(super) fn new(keys: Vec<FieldRef>, functions: Vec<Function>) -> Result<Arc<Self>> {
        let states = functions.iter().map(|function| function.expression().state_fields());
        let states = states.collect::<Result<_>>()?;
        Ok(Arc::new(Self { keys: Arc::new(Schema::new(keys)), functions, states }))
    }

    /// The number of key columns.
    pub(super) fn keys(&self) -> usize {
        self.keys.fields().len()
    }
}

/// Groups, and an accumulator of each function over all of them.
pub(super) struct Groups {
    grouping: Arc<Grouping>,
    values: Option<Box<dyn GroupValues>>,
    len: usize,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
}

impl Groups {
    /// No groups yet.
    pub(super) fn new(grouping: &Arc<Grouping>) -> Result<Self> {
        let values = match grouping.keys() {
            0 => None,
            _ => Some(new_group_values(grouping.keys.clone(), &GroupOrdering::None)?),
        };
        let accumulators = grouping.functions.iter().map(accumulator).collect::<Result<_>>()?;
        Ok(Self { grouping: grouping.clone(), values, len: 0, accumulators, indices: Vec::new() })
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Roughly the bytes that they take.
    pub(super) fn size(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.size())
            + self.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    /// Adds rows: their keys, and for each function its argument.
    pub(super) fn update(
        &mut self,
        rows: usize,
        keys: &[ArrayRef],
        arguments: &[ArrayRef],
    ) -> Result<()> {
        self.intern(rows, keys)?;
        for (accumulator, argument) in self.accumulators.iter_mut().zip(arguments) {
            accumulator.update_batch(
                std::slice::from_ref(argument),
                &self.indices,
                None,
                self.len,
            )?;
        }
        Ok(())
    }

    /// Adds groups that `take` gave.
    pub(super) fn merge(&mut self, taken: &RecordBatch) -> Result<()> {
        let keys = self.grouping.keys();
        self.intern(taken.num_rows(), &taken.columns()[..keys])?;
        let mut at = keys;
        for (accumulator, fields) in self.accumulators.iter_mut().zip(&self.grouping.states) {
            let state = &taken.columns()[at..at + fields.len()];
            accumulator.merge_batch(state, &self.indices, self.len)?;
            at += fields.len();
        }
        Ok(())
    }

    /// Takes all groups out: their keys and the states of their accumulators.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let mut columns = self.emit_keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        batch(columns, std::mem::take(&mut self.len))
    }

    /// Takes all groups out: their keys and the results of their functions.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns = self.emit_keys()?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(EmitTo::All)?);
        }
        batch(columns, std::mem::take(&mut self.len))
    }

    /// Takes all groups out and puts them back: a copy.
    pub(super) fn copy(&mut self) -> Result<RecordBatch> {
        let taken = self.take()?;
        *self = Self::new(&self.grouping)?;
        if taken.num_rows() > 0 {
            self.merge(&taken)?;
        }
        Ok(taken)
    }

    /// The one group that there is without keys, of no rows.
    pub(super) fn one_without_rows(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.update(0, &[], arguments)
    }

    fn emit_keys(&mut self) -> Result<Vec<ArrayRef>> {
        let Some(values) = &mut self.values else { return Ok(Vec::new()) };
        // What was grouped as one type comes out as that type.
        let keys = values.emit(EmitTo::All)?.into_iter().zip(self.grouping.keys.fields());
        keys.map(|(key, field)| Ok(cast(&key, field.data_type())?)).collect()
    }

    fn intern(&mut self, rows: usize, keys: &[ArrayRef]) -> Result<()> {
        if let Some(values) = &mut self.values {
            values.intern(keys, &mut self.indices)?;
            self.len = values.len();
        } else {
            self.indices.clear();
            self.indices.resize(rows, 0);
            self.len = 1;
        }
        Ok(())
    }
}

fn accumulator(function: &Function) -> Result<Box<dyn GroupsAccumulator>> {
    let expression = function.expression().clone();
    if expression.groups_accumulator_supported() {
        return expression.create_groups_accumulator();
    }
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || expression.create_accumulator())))
}

fn batch(columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = columns.iter().enumerate();
    let fields = fields
        .map(|(index, column)| Field::new(index.to_string(), column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

/// Whether rows can be grouped by values of this type.
pub(super) fn can_group(kind: &DataType) -> bool {
    !kind.is_nested() && *kind != DataType::Null
}

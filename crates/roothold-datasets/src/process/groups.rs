//! The engine's own accumulators, one for each group of rows.
//!
//! **Invariant**: groups of a [`Grouping`] with a pool hold no more than they have reserved of it, but
//! for what one batch adds; so do tables of groups that were taken out.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::spill::get_record_batch_memory_size;

use super::accumulate::Function;

/// How many groups are merged between two looks at the memory.
const MERGED_ROWS: usize = 32 * 1024;
/// How many times their size growing groups hold: by doublings they have left behind as much as they have,
/// and the allocator keeps that for others for a while before it gives it back.
const GROWN_TIMES: usize = 2;
/// What a value takes while an accumulator of each group gives its state.
const SCALAR_BYTES: usize = 64;

/// What groups are told apart by, and what is kept of each.
#[derive(Debug)]
pub(super) struct Grouping {
    keys: SchemaRef,
    functions: Vec<Function>,
    /// How many columns the state of each function has.
    states: Vec<Vec<FieldRef>>,
    /// What the memory of groups is reserved from; none where they are few.
    pool: Option<Arc<dyn MemoryPool>>,
}

impl Grouping {
    /// Groups by columns of the types of `keys`.
    pub(super) fn new(
        keys: Vec<FieldRef>,
        functions: Vec<Function>,
        pool: Option<Arc<dyn MemoryPool>>,
    ) -> Result<Arc<Self>> {
        let states = functions.iter().map(|function| function.expression().state_fields());
        let states = states.collect::<Result<_>>()?;
        Ok(Arc::new(Self { keys: Arc::new(Schema::new(keys)), functions, states, pool }))
    }

    /// The number of key columns.
    pub(super) fn keys(&self) -> usize {
        self.keys.fields().len()
    }

    fn hold(&self) -> Option<MemoryReservation> {
        self.pool.as_ref().map(|pool| MemoryConsumer::new("groups").register(pool))
    }
}

/// Groups that were taken out: a table of them, and the memory that it holds.
#[derive(Debug)]
pub(super) struct Taken {
    table: RecordBatch,
    held: Option<MemoryReservation>,
}

impl Taken {
    /// Takes up a table that `Groups::take` gave once.
    pub(super) fn new(grouping: &Grouping, table: RecordBatch) -> Result<Self> {
        let held = grouping.hold();
        if let Some(held) = &held {
            held.try_grow(get_record_batch_memory_size(&table))?;
        }
        Ok(Self { table, held })
    }

    /// The groups.
    pub(super) fn table(&self) -> &RecordBatch {
        &self.table
    }

    /// Reserves memory for what is made of the groups, until what is returned is dropped.
    ///
    /// # Errors
    /// If there is not so much.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Option<MemoryReservation>> {
        let Some(held) = &self.held else { return Ok(None) };
        let more = held.new_empty();
        more.try_grow(bytes)?;
        Ok(Some(more))
    }

    /// The bytes of the table.
    pub(super) fn size(&self) -> usize {
        get_record_batch_memory_size(&self.table)
    }
}

/// Groups, and an accumulator of each function over all of them.
pub(super) struct Groups {
    grouping: Arc<Grouping>,
    values: Option<Box<dyn GroupValues>>,
    len: usize,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
    held: Option<MemoryReservation>,
    /// How many bytes so many groups took, at a few moments since there were none.
    grown: Vec<(usize, usize)>,
}

impl Groups {
    /// No groups yet.
    pub(super) fn new(grouping: &Arc<Grouping>) -> Result<Self> {
        let values = match grouping.keys() {
            0 => None,
            _ => Some(new_group_values(grouping.keys.clone(), &GroupOrdering::None)?),
        };
        let accumulators = grouping.functions.iter().map(accumulator).collect::<Result<_>>()?;
        Ok(Self {
            grouping: grouping.clone(),
            values,
            len: 0,
            accumulators,
            indices: Vec::new(),
            held: grouping.hold(),
            grown: Vec::new(),
        })
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

    /// Adds a batch of rows: their keys, and for each function its argument.
    ///
    /// # Errors
    /// If the memory for it cannot be reserved, among others; the groups are of no use then.
    pub(super) fn update(
        &mut self,
        rows: usize,
        keys: &[ArrayRef],
        arguments: &[ArrayRef],
    ) -> Result<()> {
        self.reserve(rows)?;
        self.intern(rows, keys)?;
        for (accumulator, argument) in self.accumulators.iter_mut().zip(arguments) {
            accumulator.update_batch(
                std::slice::from_ref(argument),
                &self.indices,
                None,
                self.len,
            )?;
        }
        self.settle()
    }

    /// Adds groups that were taken out of others.
    ///
    /// # Errors
    /// As `update`.
    pub(super) fn merge(&mut self, taken: &RecordBatch) -> Result<()> {
        let mut at = 0;
        while at < taken.num_rows() {
            let rows = MERGED_ROWS.min(taken.num_rows() - at);
            self.reserve(rows)?;
            self.merge_some(&taken.slice(at, rows))?;
            self.settle()?;
            at += rows;
        }
        Ok(())
    }

    fn merge_some(&mut self, taken: &RecordBatch) -> Result<()> {
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

    /// Reserves what the next rows may need, in which groups may grow by a leap: what they take is twice
    /// what half as many took.
    fn reserve(&self, rows: usize) -> Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let (size, half) = (self.size(), (self.len + rows).div_ceil(2));
        let at_half = self.grown.iter().find(|(len, _)| *len >= half);
        let leap = at_half.map_or(0, |(_, bytes)| (2 * bytes).saturating_sub(size));
        held.try_resize(GROWN_TIMES * (size + leap))
    }

    /// Reserves what is held by now.
    fn settle(&mut self) -> Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let size = self.size();
        // A few for each doubling are enough to tell by.
        if self.grown.last().is_none_or(|(len, _)| self.len > len + len / 16) {
            self.grown.push((self.len, size));
        }
        held.try_resize(GROWN_TIMES * size)
    }

    /// The groups as a table: their keys and the states of their accumulators.
    pub(super) fn take(self) -> Result<Taken> {
        self.emit(|accumulator| accumulator.state(EmitTo::All))
    }

    /// The groups as a table: their keys and the results of their functions.
    pub(super) fn finish(self) -> Result<Taken> {
        self.emit(|accumulator| Ok(vec![accumulator.evaluate(EmitTo::All)?]))
    }

    /// Takes all groups out and puts them back: a copy.
    pub(super) fn copy(&mut self) -> Result<RecordBatch> {
        let taken = std::mem::replace(self, Self::new(&self.grouping)?).take()?;
        self.merge(&taken.table)?;
        Ok(taken.table)
    }

    /// The one group that there is without keys, of no rows.
    pub(super) fn one_without_rows(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.update(0, &[], arguments)
    }

    fn emit(
        mut self,
        columns_of: impl Fn(&mut dyn GroupsAccumulator) -> Result<Vec<ArrayRef>>,
    ) -> Result<Taken> {
        if let Some(held) = &self.held {
            held.try_resize(GROWN_TIMES * self.size() + self.copied())?;
        }
        let mut columns = self.emit_keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(columns_of(accumulator.as_mut())?);
        }
        let table = batch(columns, self.len)?;
        if let Some(held) = &self.held {
            held.resize(get_record_batch_memory_size(&table));
        }
        Ok(Taken { table, held: self.held })
    }

    /// What is held twice while groups are taken out: accumulators of single groups give their states as
    /// values, of which columns are made.
    fn copied(&self) -> usize {
        let with = self.grouping.functions.iter().zip(&self.accumulators);
        let single = with.filter(|(function, _)| !function.is_grouped());
        single.map(|(_, accumulator)| accumulator.size() + self.len * SCALAR_BYTES).sum()
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
    if function.is_grouped() {
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

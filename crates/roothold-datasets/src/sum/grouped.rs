//! A sum of each group.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, ArrowNativeTypeOp, AsArray as _, BooleanArray, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::NullState;

use super::one::{Summed, too_large};

pub(super) struct Grouped<T: Summed> {
    sums: Vec<T::Native>,
    nulls: NullState,
    kind: DataType,
}

impl<T: Summed> Grouped<T> {
    pub(super) fn new(kind: DataType) -> Self {
        Self { sums: Vec::new(), nulls: NullState::new(), kind }
    }

    fn emit(&mut self, emit_to: EmitTo) -> PrimitiveArray<T> {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.nulls.build(emit_to);
        PrimitiveArray::<T>::new(sums.into(), nulls).with_data_type(self.kind.clone())
    }
}

impl<T: Summed> GroupsAccumulator for Grouped<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.sums.resize(count, T::Native::ZERO);
        let (sums, mut is_too_large) = (&mut self.sums, false);
        self.nulls.accumulate(groups, values, filter, count, |group, value| {
            let sum = &mut sums[group];
            match sum.add_checked(value) {
                Ok(more) => *sum = more,
                Err(_) => is_too_large = true,
            }
        });
        if is_too_large { Err(too_large()) } else { Ok(()) }
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.update_batch(states, groups, None, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.emit(emit_to);
        let is_decimal = !matches!(self.kind, DataType::Int64 | DataType::UInt64);
        let fits = |sum| T::narrow(T::widen(sum), &self.kind).is_some();
        if is_decimal && !sums.iter().flatten().all(fits) {
            return Err(too_large());
        }
        Ok(Arc::new(sums))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.emit(emit_to))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let kept = filter.map(|filter| {
            let (kept, nulls) = filter.clone().into_parts();
            NullBuffer::new(nulls.map_or_else(|| kept.clone(), |nulls| nulls.inner() & &kept))
        });
        let nulls = NullBuffer::union(values.nulls(), kept.as_ref());
        let state = PrimitiveArray::<T>::new(values.values().clone(), nulls);
        Ok(vec![Arc::new(state.with_data_type(self.kind.clone()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.nulls.size()
    }
}

//! One sum, in a number so wide that only the sum itself can be too large, not what is met on the way.

use std::fmt::{self, Debug};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, PrimitiveArray};
use datafusion::arrow::compute::{sum, sum_checked};
use datafusion::arrow::datatypes::{
    ArrowNumericType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Int64Type, UInt64Type, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;

/// The error of a sum that its type cannot hold.
pub(super) fn too_large() -> DataFusionError {
    ArrowError::ArithmeticOverflow("a sum is too large for its type".to_owned()).into()
}

/// A type of sums.
pub(super) trait Summed: ArrowNumericType + Debug + Send + Sync + Sized {
    /// The same number, wider.
    fn widen(value: Self::Native) -> i256;

    /// The same number, if a sum of the type `kind` can hold it.
    fn narrow(value: i256, kind: &DataType) -> Option<Self::Native>;

    /// The sum of the values where it is plain that it fits: no sum of so many values with no
    /// more bits than these can be too large.
    fn plain_sum(_: &PrimitiveArray<Self>) -> Option<Self::Native> {
        None
    }
}

impl Summed for Int64Type {
    fn widen(value: i64) -> i256 {
        i256::from_i128(value.into())
    }

    fn narrow(value: i256, _: &DataType) -> Option<i64> {
        value.to_i128()?.try_into().ok()
    }

    fn plain_sum(values: &PrimitiveArray<Self>) -> Option<i64> {
        let bits = values.values().iter().fold(0, |bits, value| bits | (value ^ (value >> 63)));
        // One bit more, for the sign, than a sum of no negative ones needs.
        if bits.leading_zeros() < count_bits(values.len()) + 1 { None } else { sum(values) }
    }
}

impl Summed for UInt64Type {
    fn widen(value: u64) -> i256 {
        i256::from_i128(value.into())
    }

    fn narrow(value: i256, _: &DataType) -> Option<u64> {
        value.to_i128()?.try_into().ok()
    }

    fn plain_sum(values: &PrimitiveArray<Self>) -> Option<u64> {
        let bits = values.values().iter().fold(0, |bits, value| bits | value);
        if bits.leading_zeros() < count_bits(values.len()) { None } else { sum(values) }
    }
}

/// How many bits a count has.
fn count_bits(count: usize) -> u32 {
    usize::BITS - count.leading_zeros()
}

macro_rules! summed_decimal {
    ($kind:ty) => {
        impl Summed for $kind {
            fn widen(value: Self::Native) -> i256 {
                i256::from_i128(value.into())
            }

            fn narrow(value: i256, kind: &DataType) -> Option<Self::Native> {
                let value = value.to_i128()?.try_into().ok()?;
                fits::<Self>(value, kind).then_some(value)
            }
        }
    };
}

summed_decimal!(Decimal32Type);
summed_decimal!(Decimal64Type);
summed_decimal!(Decimal128Type);

impl Summed for Decimal256Type {
    fn widen(value: i256) -> i256 {
        value
    }

    fn narrow(value: i256, kind: &DataType) -> Option<i256> {
        fits::<Self>(value, kind).then_some(value)
    }
}

/// Whether a decimal has no more digits than its type.
fn fits<T: DecimalType>(value: T::Native, kind: &DataType) -> bool {
    let (DataType::Decimal32(precision, scale)
    | DataType::Decimal64(precision, scale)
    | DataType::Decimal128(precision, scale)
    | DataType::Decimal256(precision, scale)) = kind
    else {
        return false;
    };
    T::validate_decimal_precision(value, *precision, *scale).is_ok()
}

/// The sum of the values, if there is one that is not null.
fn sum_of<T: Summed>(values: &PrimitiveArray<T>) -> Result<Option<i256>> {
    if values.null_count() == values.len() {
        return Ok(None);
    }
    if let Some(sum) = T::plain_sum(values) {
        return Ok(Some(T::widen(sum)));
    }
    // Of decimals most sums fit as well.
    if let Ok(sum) = sum_checked(values) {
        return Ok(sum.map(T::widen));
    }
    let mut sum = i256::ZERO;
    for value in values.iter().flatten() {
        sum = sum.checked_add(T::widen(value)).ok_or_else(too_large)?;
    }
    Ok(Some(sum))
}

/// The sum of the values that came in and were not taken back.
pub(super) struct One<T> {
    sum: i256,
    /// Of how many values.
    count: usize,
    kind: DataType,
    summed: std::marker::PhantomData<T>,
}

impl<T> One<T> {
    pub(super) fn new(kind: DataType) -> Self {
        Self { sum: i256::ZERO, count: 0, kind, summed: std::marker::PhantomData }
    }
}

impl<T> Debug for One<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("One")
    }
}

impl<T: Summed> Accumulator for One<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        if let Some(more) = sum_of(values)? {
            self.sum = self.sum.checked_add(more).ok_or_else(too_large)?;
        }
        self.count += values.len() - values.null_count();
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        if let Some(less) = sum_of(values)? {
            self.sum = self.sum.checked_sub(less).ok_or_else(too_large)?;
        }
        self.count -= values.len() - values.null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = match self.count {
            0 => None,
            _ => Some(T::narrow(self.sum, &self.kind).ok_or_else(too_large)?),
        };
        ScalarValue::new_primitive::<T>(sum, &self.kind)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of different values, which the engine's accumulator collects.
pub(super) struct Distinct<T> {
    values: Box<dyn Accumulator>,
    kind: DataType,
    summed: std::marker::PhantomData<T>,
}

impl<T> Distinct<T> {
    pub(super) fn new(values: Box<dyn Accumulator>, kind: DataType) -> Self {
        Self { values, kind, summed: std::marker::PhantomData }
    }
}

impl<T> Debug for Distinct<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Distinct")
    }
}

impl<T: Summed> Accumulator for Distinct<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut one = One::<T>::new(self.kind.clone());
        for state in self.values.state()? {
            if let ScalarValue::List(lists) = state {
                one.update_batch(std::slice::from_ref(lists.values()))?;
            }
        }
        one.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}

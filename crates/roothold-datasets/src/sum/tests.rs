use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, PrimitiveArray, UInt64Array,
};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use proptest::prelude::*;

use super::*;

fn expression(kind: &DataType, is_distinct: bool) -> AggregateFunctionExpr {
    let field = datafusion::arrow::datatypes::Field::new("value", kind.clone(), true);
    AggregateExprBuilder::new(sum_udaf(), vec![Arc::new(Column::new("value", 0))])
        .schema(Arc::new(Schema::new(vec![field])))
        .alias("value")
        .with_distinct(is_distinct)
        .build()
        .unwrap()
}

fn one(values: &ArrayRef) -> Result<ScalarValue> {
    let mut sum = expression(values.data_type(), false).create_accumulator()?;
    sum.update_batch(std::slice::from_ref(values))?;
    sum.evaluate()
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[i128], precision: u8) -> ArrayRef {
    let values = Decimal128Array::from(values.to_vec());
    Arc::new(values.with_precision_and_scale(precision, 0).unwrap())
}

fn is_too_large<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.to_string().contains("too large"))
}

#[test]
fn what_a_sum_cannot_hold_is_refused() {
    assert!(is_too_large(&one(&integers(&[i64::MAX, 1]))));
    assert!(is_too_large(&one(&integers(&[i64::MIN, -1]))));
    let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 1]));
    assert!(is_too_large(&one(&unsigned)));
    let nines = 10_i128.pow(38) - 1;
    assert!(is_too_large(&one(&decimals(&[nines, nines, nines, 1], 38))));
    assert!(is_too_large(&one(&decimals(&[nines, 1], 38))));
    assert_eq!(one(&decimals(&[9; 12], 1)).unwrap(), ScalarValue::Decimal128(Some(108), 11, 0));
}

#[test]
fn what_is_met_on_the_way_may_be_larger() {
    let values = integers(&[i64::MAX, i64::MAX, -i64::MAX, -5]);
    assert_eq!(one(&values).unwrap(), ScalarValue::Int64(Some(i64::MAX - 5)));
    let nines = 10_i128.pow(38) - 1;
    let values = decimals(&[nines, nines, -nines, -nines, 3], 38);
    assert_eq!(one(&values).unwrap(), ScalarValue::Decimal128(Some(3), 38, 0));
}

#[test]
fn different_values_are_added_once_and_refused_alike() {
    let sum = |values: &[i64]| {
        let mut sum = expression(&DataType::Int64, true).create_accumulator()?;
        sum.update_batch(&[integers(values)])?;
        sum.evaluate()
    };
    assert_eq!(sum(&[7, 7, 1]).unwrap(), ScalarValue::Int64(Some(8)));
    assert_eq!(sum(&[]).unwrap(), ScalarValue::Int64(None));
    assert!(is_too_large(&sum(&[i64::MAX, i64::MAX, 1])));
}

#[test]
fn groups_are_refused_alike() {
    let sums = |values: &ArrayRef| {
        let mut sums = expression(values.data_type(), false).create_groups_accumulator()?;
        sums.update_batch(std::slice::from_ref(values), &[0, 1, 0], None, 2)?;
        sums.evaluate(EmitTo::All)
    };
    assert!(is_too_large(&sums(&integers(&[i64::MAX, 5, 1]))));
    let found = sums(&integers(&[i64::MAX, 5, -1])).unwrap();
    assert_eq!(&found, &integers(&[i64::MAX - 1, 5]));
    let nines = 10_i128.pow(38) - 1;
    assert!(is_too_large(&sums(&decimals(&[nines, 5, 1], 38))));
    assert!(is_too_large(&sums(&decimals(&[i128::MAX, 5, 1], 38))));
    // What partitions found adds up to too much.
    let mut sums = expression(&DataType::Int64, false).create_groups_accumulator().unwrap();
    sums.merge_batch(&[integers(&[i64::MAX])], &[0], 1).unwrap();
    assert!(is_too_large(&sums.merge_batch(&[integers(&[1])], &[0], 1)));
}

#[test]
fn what_a_filter_leaves_out_is_no_state() {
    let sums = expression(&DataType::Int64, false).create_groups_accumulator().unwrap();
    let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]));
    let state = sums.convert_to_state(&[values], Some(&filter)).unwrap();
    let expected: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None, None]));
    assert_eq!(state, [expected]);
}

fn any_value() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![Just(None), any::<i64>().prop_map(Some), (-9_i64..9).prop_map(Some)]
}

proptest! {
    /// As a number that is wide enough has it, in a window as well.
    #[test]
    fn sums_are_those_of_wide_numbers(
        values in proptest::collection::vec(any_value(), 0..40),
        taken_back in 0_usize..40,
        shift in 0_u32..63,
    ) {
        let values: Vec<_> = values.iter().map(|value| value.map(|value| value >> shift)).collect();
        let taken_back = taken_back.min(values.len());
        let wide = |values: &[Option<i64>]| -> Option<i128> {
            let mut some = values.iter().flatten().peekable();
            some.peek()?;
            Some(some.map(|value| i128::from(*value)).sum())
        };
        let array = |values: &[Option<i64>]| -> ArrayRef {
            Arc::new(values.iter().copied().collect::<PrimitiveArray<Int64Type>>())
        };
        let check = |result: Result<ScalarValue>, expected: Option<i128>| {
            match expected.map(i64::try_from).transpose() {
                Ok(expected) => prop_assert_eq!(result.unwrap(), ScalarValue::Int64(expected)),
                Err(_) => prop_assert!(is_too_large(&result)),
            }
            Ok(())
        };
        let mut sum = expression(&DataType::Int64, false).create_sliding_accumulator().unwrap();
        sum.update_batch(&[array(&values)]).unwrap();
        check(sum.evaluate(), wide(&values))?;
        sum.retract_batch(&[array(&values[..taken_back])]).unwrap();
        check(sum.evaluate(), wide(&values[taken_back..]))?;
    }
}

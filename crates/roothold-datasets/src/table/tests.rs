use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int64Array, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::Int8Type;
use serde_json::{Value, json};

use super::{kind_of, value};

fn shown(array: impl Array + 'static) -> Vec<Value> {
    let array: ArrayRef = Arc::new(array);
    (0..array.len()).map(|row| value(&array, row, 0).unwrap()).collect()
}

#[test]
fn numbers_that_a_reader_would_round_are_texts() {
    let exact = 1_i64 << 53;
    assert_eq!(
        shown(Int64Array::from(vec![Some(exact), Some(exact + 1), Some(i64::MIN), None])),
        [json!(exact), json!("9007199254740993"), json!("-9223372036854775808"), json!(null)]
    );
    assert_eq!(
        shown(UInt64Array::from(vec![u64::MAX, 7])),
        [json!("18446744073709551615"), json!(7)]
    );
    assert_eq!(
        shown(Float64Array::from(vec![0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
        [json!(0.1), json!("NaN"), json!("inf"), json!("-inf")]
    );
    assert_eq!(shown(Float32Array::from(vec![0.1])), [json!(0.1)]);
    let decimals = Decimal128Array::from(vec![1234]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(kind_of(decimals.data_type()), "decimal(10,2)");
    assert_eq!(shown(decimals), [json!("12.34")]);
}

#[test]
fn times_bytes_and_dictionaries_are_texts() {
    let times = TimestampMicrosecondArray::from(vec![1_767_323_045_500_000]);
    assert_eq!(shown(times), [json!("2026-01-02T03:04:05.500")]);
    assert_eq!(shown(BinaryArray::from(vec![&b"\x00\xff"[..]])), [json!("00ff")]);
    let words: DictionaryArray<Int8Type> = vec!["a", "b", "a"].into_iter().collect();
    assert_eq!(shown(words), [json!("a"), json!("b"), json!("a")]);
}

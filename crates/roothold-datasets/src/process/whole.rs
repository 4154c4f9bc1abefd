//! Whole numbers of JSON, read as what they are.
//!
//! The decoder cuts `2.5` to 2 where a column is of whole numbers. So such columns are decoded as
//! the digits that stand there, and those have to be a whole number.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::kernels::cast_utils::Parser as _;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

/// Below this every whole number is one of the floating ones, and no other is rounded to it.
pub(super) const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The schema with text in place of whole numbers.
pub(super) fn as_text(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        if field.data_type().is_integer() {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8))
        } else {
            field.clone()
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batch with its own types again.
///
/// # Errors
/// If a text is no whole number of the type.
pub(super) fn from_text(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if field.data_type().is_integer() {
            whole(column, field.data_type())
        } else {
            Ok(column.clone())
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
}

/// The whole numbers that texts of a column of JSON are.
///
/// # Errors
/// If a text is none of the type.
pub(crate) fn whole(text: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let numbers = text.as_string::<i32>().iter().map(|text| text.map(number).transpose());
    let numbers: ArrayRef = Arc::new(numbers.collect::<Result<Int64Array, _>>()?);
    if *kind == DataType::Int64 {
        return Ok(numbers);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&numbers, kind, &strict)
}

/// `2.0` and `2e3` are whole too; those that are larger than a floating number can tell are not tried.
fn number(text: &str) -> Result<i64, ArrowError> {
    if let Some(number) = Int64Type::parse(text) {
        return Ok(number);
    }
    let floating = Float64Type::parse(text);
    let whole = floating.filter(|value| value.fract() == 0.0 && value.abs() < WHOLE_MAX);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no more than 53 bits and no fraction"
    )]
    whole.map(|value| value as i64).ok_or_else(|| ArrowError::CastError("not whole".to_owned()))
}

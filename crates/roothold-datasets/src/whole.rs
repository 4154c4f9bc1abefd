//! Whole numbers of JSON, read as what they are.
//!
//! The decoder cuts `2.5` to 2 where a column is of whole numbers. So such columns are decoded as
//! the digits that stand there, and those have to be a whole number.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::kernels::cast_utils::Parser as _;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::FormatOptions;

/// Below this every whole number is one of the floating ones, and no other is rounded to it.
pub(crate) const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What cannot be cast is an error.
const STRICT: CastOptions<'_> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// The schema with text in place of whole numbers, those within lists and structures as well.
pub(crate) fn as_text(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field_as_text(field)).collect();
    Arc::new(Schema::new(fields))
}

fn field_as_text(field: &Field) -> Field {
    let kind = match field.data_type() {
        kind if kind.is_integer() => DataType::Utf8,
        DataType::List(item) => DataType::List(Arc::new(field_as_text(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| field_as_text(field)).collect())
        }
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

/// The batch with its own types again.
///
/// # Errors
/// If a text is no whole number of the type.
pub(crate) fn from_text(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let typed = |(column, field): (&ArrayRef, &Arc<Field>)| match field.data_type() {
        kind if kind == column.data_type() => Ok(Arc::clone(column)),
        kind if kind.is_integer() => whole(column, kind),
        kind => cast_with_options(column, kind, &STRICT),
    };
    let columns =
        batch.columns().iter().zip(schema.fields()).map(typed).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn whole(text: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let numbers = text.as_string::<i32>().iter().map(|text| text.map(number).transpose());
    let numbers: ArrayRef = Arc::new(numbers.collect::<Result<Int64Array, _>>()?);
    if *kind == DataType::Int64 {
        return Ok(numbers);
    }
    cast_with_options(&numbers, kind, &STRICT)
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

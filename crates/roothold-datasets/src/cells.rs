//! Cells of delimited texts, read as strictly as their columns were judged: what would have made a column text
//! in the sample is no value of it behind.
//!
//! A column whose type was given is read by the decoders as they can: `007` is 7 there.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::Date32Type;
use datafusion::arrow::array::{
    ArrayRef, AsArray as _, Date32Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::kernels::cast_utils::{Parser as _, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;

use crate::infer;
use crate::plain::numbers;

/// A whole number.
#[inline]
pub(crate) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_code = digits.len() > 1 && digits[0] == b'0';
    // The general parser takes spaces and signs.
    if is_code || !digits.first()?.is_ascii_digit() || !digits.last()?.is_ascii_digit() {
        return None;
    }
    numbers::integer(text)
}

/// A number that a floating one can tell.
#[inline]
pub(crate) fn number(text: &str) -> Option<f64> {
    /// So many characters are told exactly, if they are digits.
    const SHORT: usize = 15;
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_code = digits.len() > 1 && digits[0] == b'0' && digits[1] != b'.';
    let is_bare = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.');
    // The general parser takes spaces, and names such as `nan`.
    if is_code || !is_bare(digits.first()?) || !is_bare(digits.last()?) {
        return None;
    }
    if digits.len() > SHORT && !infer::is_number(text) {
        return None;
    }
    numbers::float(text).filter(|value| value.is_finite())
}

/// A day, in days since 1970.
pub(crate) fn day(text: &str) -> Option<i32> {
    let is_day = text.len() == 10 && infer::begins_with_day(text);
    if is_day { Date32Type::parse(text) } else { None }
}

/// A time, in microseconds since 1970; one that names no zone is of `zone`.
pub(crate) fn time(text: &str, zone: Tz) -> Option<i64> {
    if !infer::begins_with_day(text) {
        return None;
    }
    string_to_datetime(&zone, text).ok().map(|time| time.timestamp_micros())
}

/// The schema with texts in place of what is read here; columns of `lax` stay as they are.
pub(crate) fn as_text(schema: &Schema, lax: &[usize]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        if lax.contains(&at) || !is_read(field.data_type()) {
            return Arc::clone(field);
        }
        Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn is_read(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int64
            | DataType::Float64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, None)
    )
}

/// The batch with its own types again.
///
/// # Errors
/// If a text is no value of its column.
pub(crate) fn from_text(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let typed = |(column, field): (&ArrayRef, &Arc<Field>)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        typed(column, field.data_type())
    };
    let columns =
        batch.columns().iter().zip(schema.fields()).map(typed).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn typed(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(match kind {
        DataType::Int64 => Arc::new(values::<_, Int64Array>(column, integer)?),
        DataType::Float64 => Arc::new(values::<_, Float64Array>(column, number)?),
        DataType::Date32 => Arc::new(values::<_, Date32Array>(column, day)?),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let zone: Tz = "+00:00".parse()?;
            Arc::new(values::<_, TimestampMicrosecondArray>(column, |text| time(text, zone))?)
        }
        _ => return Err(ArrowError::ParseError("a type that is not read here".to_owned())),
    })
}

fn values<T, A: FromIterator<Option<T>>>(
    column: &ArrayRef,
    read: impl Fn(&str) -> Option<T>,
) -> Result<A, ArrowError> {
    let value = |text: &str| {
        read(text).ok_or_else(|| ArrowError::ParseError("no value of its column".to_owned()))
    };
    column.as_string::<i32>().iter().map(|text| text.map(value).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::infer::{Kind, cell};
    use crate::options::ColumnType::{Date, Integer, Number, Timestamp};

    /// What is read is what the sample would have judged to be of the column.
    fn agree(text: &str) -> Result<(), TestCaseError> {
        let zone = "+00:00".parse().unwrap();
        let kind = cell(text);
        let is_any = |kinds: &[Kind]| kinds.contains(&kind);
        let (whole, number_kind) = (Kind::Plain(Integer), Kind::Plain(Number));
        prop_assert_eq!(integer(text).is_some(), is_any(&[whole.clone(), Kind::Wide]), "{}", text);
        prop_assert_eq!(number(text).is_some(), is_any(&[whole, number_kind]), "{}", text);
        prop_assert_eq!(day(text).is_some(), is_any(&[Kind::Plain(Date)]), "{}", text);
        let times = [Kind::Plain(Date), Kind::Plain(Timestamp)];
        // Times far from now are read as well, though a sample takes none for one.
        prop_assert!(time(text, zone).is_some() || !is_any(&times), "{}", text);
        Ok(())
    }

    #[test]
    fn what_is_read_is_what_the_sample_judges_by() {
        for text in [
            "0",
            "-0",
            "007",
            "+7",
            " 5",
            "5 ",
            "-",
            "",
            ".",
            ".5",
            "5.",
            "0.5",
            "-0.5",
            "00.5",
            "0e5",
            "1e5",
            "1e400",
            "-1e400",
            "inf",
            "nan",
            "Infinity",
            "1_000",
            "0x10",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "100000000000000000000.5",
            "2020-01-01",
            "20200101",
            "2020-1-1",
            "2020-02-30",
            "2020-01-01T05:00:00",
            "2020-01-01 05:00:00.5",
            "2020-01-01T05:00:00+02:00",
            "2020-01-01 x",
        ] {
            agree(text).unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_is_judged(text in "[-+ ]?[0-9]{0,20}[.eE_]?[-+]?[0-9]{0,18} ?") {
            agree(&text)?;
        }

        #[test]
        fn any_day_is_read_as_it_is_judged(text in "[0-9]{4}-?[01][0-9]-?[0-3][0-9]([T ][012][0-9]:[0-5][0-9](:[0-5][0-9])?)?Z?") {
            agree(&text)?;
        }
    }
}

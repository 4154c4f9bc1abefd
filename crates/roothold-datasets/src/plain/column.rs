//! The values of one column, as they are found.

use std::sync::Arc;

use datafusion::arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use datafusion::arrow::array::types::Date32Type;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, timezone::Tz,
};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::compute::kernels::cast_utils::{Parser as _, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::numbers;
use crate::cells;

/// One column of a batch.
pub(super) struct Column {
    values: Values,
    is_strict: bool,
    nulls: NullBufferBuilder,
}

enum Values {
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Booleans(BooleanBufferBuilder),
    /// Days since 1970.
    Days(Vec<i32>),
    /// Microseconds since 1970. A time that names no zone is UTC, as the general decoders have it.
    Times(Vec<i64>, Tz),
    Texts {
        bytes: Vec<u8>,
        /// Where each text ends, behind a zero.
        ends: Vec<i32>,
    },
}

impl Column {
    /// An empty column; `None` for a type whose values are not read here.
    pub(super) fn new(kind: &DataType, is_strict: bool) -> Option<Self> {
        let values = match kind {
            DataType::Int64 => Values::Integers(Vec::new()),
            DataType::Float64 => Values::Numbers(Vec::new()),
            DataType::Boolean => Values::Booleans(BooleanBufferBuilder::new(0)),
            DataType::Date32 => Values::Days(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Values::Times(Vec::new(), "+00:00".parse().ok()?)
            }
            DataType::Utf8 => Values::Texts { bytes: Vec::new(), ends: vec![0] },
            _ => return None,
        };
        Some(Self { values, is_strict, nulls: NullBufferBuilder::new(0) })
    }

    /// Puts down what stands in a delimited text; `false` if it is no value of the column.
    pub(super) fn push_cell(&mut self, cell: &str) -> bool {
        if cell.is_empty() {
            self.push_null();
            return true;
        }
        let is_value = match &mut self.values {
            Values::Integers(values) if self.is_strict => push(values, cells::integer(cell)),
            Values::Integers(values) => push(values, numbers::integer(cell)),
            Values::Numbers(values) if self.is_strict => push(values, cells::number(cell)),
            Values::Numbers(values) => push(values, numbers::float(cell)),
            Values::Booleans(values) => {
                let is_true = cell.eq_ignore_ascii_case("true");
                if !is_true && !cell.eq_ignore_ascii_case("false") {
                    return false;
                }
                values.append(is_true);
                true
            }
            _ => return self.push_text(cell),
        };
        is_value && self.is_valid()
    }

    /// Puts down what stands between quotes in a JSON text.
    pub(super) fn push_text(&mut self, text: &str) -> bool {
        let is_value = match &mut self.values {
            Values::Texts { bytes, ends } => {
                let Ok(end) = i32::try_from(bytes.len() + text.len()) else { return false };
                bytes.extend_from_slice(text.as_bytes());
                ends.push(end);
                true
            }
            Values::Days(values) if self.is_strict => push(values, cells::day(text)),
            Values::Days(values) => push(values, Date32Type::parse(text)),
            Values::Times(values, utc) if self.is_strict => push(values, cells::time(text, *utc)),
            Values::Times(values, utc) => {
                push(values, string_to_datetime(utc, text).ok().map(|time| time.timestamp_micros()))
            }
            _ => false,
        };
        is_value && self.is_valid()
    }

    /// Puts down a number of a JSON text.
    pub(super) fn push_number(&mut self, number: &str) -> bool {
        let is_value = match &mut self.values {
            Values::Integers(values) => {
                let digits = number.strip_prefix('-').unwrap_or(number);
                let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
                push(values, if is_whole { numbers::integer(number) } else { None })
            }
            Values::Numbers(values) => push(values, numbers::float(number)),
            _ => false,
        };
        is_value && self.is_valid()
    }

    /// Puts down `true` or `false` of a JSON text.
    pub(super) fn push_boolean(&mut self, value: bool) -> bool {
        let Values::Booleans(values) = &mut self.values else { return false };
        values.append(value);
        self.is_valid()
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Integers(values) | Values::Times(values, _) => values.push(0),
            Values::Numbers(values) => values.push(0.0),
            Values::Booleans(values) => values.append(false),
            Values::Days(values) => values.push(0),
            Values::Texts { ends, .. } => ends.extend(ends.last().copied()),
        }
        self.nulls.append_null();
    }

    fn is_valid(&mut self) -> bool {
        self.nulls.append_non_null();
        true
    }

    /// Takes back what was put down behind the first `count` values.
    pub(super) fn truncate(&mut self, count: usize) {
        match &mut self.values {
            Values::Integers(values) | Values::Times(values, _) => values.truncate(count),
            Values::Numbers(values) => values.truncate(count),
            Values::Booleans(values) => values.truncate(count),
            Values::Days(values) => values.truncate(count),
            Values::Texts { bytes, ends } => {
                ends.truncate(count + 1);
                let end = ends.last().and_then(|end| usize::try_from(*end).ok());
                bytes.truncate(end.unwrap_or_default());
            }
        }
        self.nulls.truncate(count);
    }

    /// The values as an array; the column is empty again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Integers(values) => Arc::new(Int64Array::new(taken(values).into(), nulls)),
            Values::Numbers(values) => Arc::new(Float64Array::new(taken(values).into(), nulls)),
            Values::Booleans(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Days(values) => Arc::new(Date32Array::new(taken(values).into(), nulls)),
            Values::Times(values, _) => {
                Arc::new(TimestampMicrosecondArray::new(taken(values).into(), nulls))
            }
            Values::Texts { bytes, ends } => {
                let offsets = OffsetBuffer::new(taken(ends).into());
                ends.push(0);
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(taken(bytes)), nulls)?)
            }
        })
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let is_value = value.is_some();
    values.extend(value);
    is_value
}

/// The values, with room for as many in their place: the next batch is mostly as large.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

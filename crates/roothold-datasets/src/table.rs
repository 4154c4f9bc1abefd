//! Results as values of ours, ready for JSON.
//!
//! Numbers that a reader of JSON would round (whole ones beyond 2^53, decimals) are strings, and
//! so are those that JSON does not have (NaN, infinities). Times are ISO 8601.

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use roothold_core::Fault;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::shown;

/// The largest whole number that every reader of JSON keeps.
const EXACT_MAX: u64 = 1 << 53;
/// Lists and structures nest no deeper in an answer.
const DEPTH_MAX: usize = 16;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name, as SQL knows it.
    pub name: String,
    /// Its type in words: `integer`, `number`, `text`, `boolean`, `date`, `timestamp`,
    /// `decimal(10,2)`, `list<text>`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// A result: columns, and rows of as many values.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    pub(crate) fn of(schema: &Schema) -> Self {
        Self { columns: columns_of(schema), rows: Vec::new() }
    }
}

pub(crate) fn columns_of(schema: &Schema) -> Vec<Column> {
    let column = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| Column {
        name: shown::name(field.name()),
        kind: kind_of(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// The word for a type.
pub(crate) fn kind_of(kind: &DataType) -> String {
    match kind {
        kind if kind.is_integer() => "integer".to_owned(),
        kind if kind.is_floating() => "number".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::Null => "null".to_owned(),
        DataType::Dictionary(_, value) => kind_of(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => format!("list<{}>", kind_of(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| {
                    format!("{} {}", shown::name(field.name()), kind_of(field.data_type()))
                })
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Map(..) => "map".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".to_owned(),
        _ => "other".to_owned(),
    }
}

/// The values of a row.
///
/// # Errors
/// `Internal`, if a value cannot be shown.
pub(crate) fn row(batch: &RecordBatch, row: usize) -> Result<Vec<Value>, Fault> {
    batch.columns().iter().map(|column| value(column, row, 0)).collect()
}

/// One value.
pub(crate) fn value(array: &ArrayRef, row: usize, depth: usize) -> Result<Value, Fault> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(number) = whole(array, row) {
        return Ok(number);
    }
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array: &BooleanArray = array.as_boolean();
            Value::Bool(array.value(row))
        }
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => {
            // By way of its shortest text: 0.1 stays 0.1.
            let value = array.as_primitive::<Float32Type>().value(row);
            float(value.to_string().parse().unwrap_or(f64::from(value)))
        }
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => text(array.as_string_view().value(row)),
        DataType::Null => Value::Null,
        _ if depth < DEPTH_MAX => return nested(array, row, depth),
        _ => text("…"),
    })
}

/// A whole number, as text where a reader of JSON would round it; none for values of other types.
pub(crate) fn whole(array: &ArrayRef, row: usize) -> Option<Value> {
    let signed = |value: i64| {
        if value.unsigned_abs() <= EXACT_MAX {
            Value::from(value)
        } else {
            Value::from(value.to_string())
        }
    };
    Some(match array.data_type() {
        DataType::Int8 => signed(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => signed(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => signed(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => signed(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => signed(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => signed(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => signed(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(value).map_or_else(|_| Value::from(value.to_string()), signed)
        }
        _ => return None,
    })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn text(text: &str) -> Value {
    Value::String(shown::cell(text).into_owned())
}

fn nested(array: &ArrayRef, row: usize, depth: usize) -> Result<Value, Fault> {
    let items = |list: ArrayRef| {
        let values = (0..list.len()).map(|at| value(&list, at, depth + 1));
        values.collect::<Result<Vec<_>, _>>().map(Value::Array)
    };
    match array.data_type() {
        DataType::List(_) => items(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => items(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => items(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut members = Map::new();
            for (field, column) in fields.iter().zip(columns) {
                members.insert(shown::name(field.name()), value(column, row, depth + 1)?);
            }
            Ok(Value::Object(members))
        }
        DataType::Dictionary(..) => {
            let one = array.slice(row, 1);
            let dictionary = one.as_any_dictionary();
            let key = dictionary.normalized_keys()[0];
            value(dictionary.values(), key, depth + 1)
        }
        _ => formatted(array, row),
    }
}

/// What is shown as text: times, decimals, bytes in hexadecimal, maps.
fn formatted(array: &ArrayRef, row: usize) -> Result<Value, Fault> {
    let options = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)
        .map_err(|_| Fault::internal("a value of the result has no text form"))?;
    Ok(text(&formatter.value(row).to_string()))
}

#[cfg(test)]
mod tests;

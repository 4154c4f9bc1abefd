//! Values as the driver reads them, as values for JSON: nothing is lost.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value};
use serde_json::Value as Json;

use crate::answer::{float, hex, whole, whole_unsigned};
use crate::json;

/// The collation of what is bytes and no text.
const BINARY: u16 = 63;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Numbers as they come, decimals and texts as the server writes them.
    Plain,
    Bits,
    Bytes,
    Json,
    Date,
    DateTime,
    /// In the session's time zone, which is UTC.
    Timestamp,
}

impl Shape {
    pub(super) fn of(column: &Column) -> Self {
        use ColumnType::{
            MYSQL_TYPE_BIT, MYSQL_TYPE_DATE, MYSQL_TYPE_DATETIME, MYSQL_TYPE_GEOMETRY,
            MYSQL_TYPE_JSON, MYSQL_TYPE_NEWDATE, MYSQL_TYPE_TIMESTAMP, MYSQL_TYPE_VECTOR,
        };
        match column.column_type() {
            MYSQL_TYPE_BIT => Self::Bits,
            MYSQL_TYPE_JSON => Self::Json,
            MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE => Self::Date,
            MYSQL_TYPE_DATETIME => Self::DateTime,
            MYSQL_TYPE_TIMESTAMP => Self::Timestamp,
            MYSQL_TYPE_GEOMETRY | MYSQL_TYPE_VECTOR => Self::Bytes,
            _ if is_text_or_bytes(column) && column.character_set() == BINARY => Self::Bytes,
            _ => Self::Plain,
        }
    }

    pub(super) fn value(self, value: Value) -> Json {
        match value {
            Value::NULL => Json::Null,
            Value::Int(number) => whole(number),
            Value::UInt(number) => whole_unsigned(number),
            // The shortest text that is the same number, as the server writes it.
            Value::Float(number) => number.to_string().parse().map_or(Json::Null, float),
            Value::Double(number) => float(number),
            Value::Date(year, month, day, hour, minute, second, micros) => {
                let date = format!("{year:04}-{month:02}-{day:02}");
                if self == Self::Date {
                    return Json::String(date);
                }
                let zone = if self == Self::Timestamp { "+00:00" } else { "" };
                let part = fraction(micros);
                Json::String(format!("{date}T{hour:02}:{minute:02}:{second:02}{part}{zone}"))
            }
            Value::Time(negative, days, hours, minutes, seconds, micros) => {
                let sign = if negative { "-" } else { "" };
                let hours = u64::from(days) * 24 + u64::from(hours);
                let part = fraction(micros);
                Json::String(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{part}"))
            }
            Value::Bytes(bytes) => self.of_bytes(bytes),
        }
    }

    fn of_bytes(self, bytes: Vec<u8>) -> Json {
        match self {
            Self::Bits if bytes.len() <= 8 => {
                whole_unsigned(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
            }
            Self::Bits | Self::Bytes => Json::String(hex(&bytes)),
            _ => match String::from_utf8(bytes) {
                Err(other) => Json::String(hex(other.as_bytes())),
                Ok(text) if self == Self::Json => json::exact(&text).unwrap_or(Json::String(text)),
                Ok(text) => Json::String(text),
            },
        }
    }
}

/// Microseconds behind a point, without zeros at the end.
fn fraction(micros: u32) -> String {
    if micros == 0 {
        return String::new();
    }
    format!(".{micros:06}").trim_end_matches('0').to_owned()
}

fn is_text_or_bytes(column: &Column) -> bool {
    use ColumnType::{
        MYSQL_TYPE_BLOB, MYSQL_TYPE_LONG_BLOB, MYSQL_TYPE_MEDIUM_BLOB, MYSQL_TYPE_STRING,
        MYSQL_TYPE_TINY_BLOB, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_VARCHAR,
    };
    let text = matches!(
        column.column_type(),
        MYSQL_TYPE_BLOB
            | MYSQL_TYPE_LONG_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_STRING
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
    );
    text && !column.flags().intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG)
}

/// The name of a column's type, as SQL writes it.
pub(super) fn name(column: &Column) -> String {
    use ColumnType as T;
    let bytes = column.character_set() == BINARY;
    let flags = column.flags();
    let word = match column.column_type() {
        T::MYSQL_TYPE_TINY => "tinyint",
        T::MYSQL_TYPE_SHORT => "smallint",
        T::MYSQL_TYPE_INT24 => "mediumint",
        T::MYSQL_TYPE_LONG => "int",
        T::MYSQL_TYPE_LONGLONG => "bigint",
        T::MYSQL_TYPE_FLOAT => "float",
        T::MYSQL_TYPE_DOUBLE => "double",
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => "decimal",
        T::MYSQL_TYPE_BIT => "bit",
        T::MYSQL_TYPE_YEAR => return "year".to_owned(),
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => "date",
        T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => "time",
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => "datetime",
        T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => "timestamp",
        T::MYSQL_TYPE_JSON => "json",
        T::MYSQL_TYPE_GEOMETRY => "geometry",
        T::MYSQL_TYPE_VECTOR => "vector",
        T::MYSQL_TYPE_NULL => "null",
        _ if flags.contains(ColumnFlags::ENUM_FLAG) => "enum",
        _ if flags.contains(ColumnFlags::SET_FLAG) => "set",
        T::MYSQL_TYPE_ENUM => "enum",
        T::MYSQL_TYPE_SET => "set",
        T::MYSQL_TYPE_STRING if bytes => "binary",
        T::MYSQL_TYPE_STRING => "char",
        T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR if bytes => "varbinary",
        T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR => "varchar",
        _ if bytes => "blob",
        _ => "text",
    };
    let unsigned =
        column.column_type().is_numeric_type() && flags.contains(ColumnFlags::UNSIGNED_FLAG);
    if unsigned && word != "bit" { format!("{word} unsigned") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_iso_8601() {
        let date = Value::Date(2026, 1, 2, 3, 4, 5, 600_000);
        assert_eq!(Shape::Date.value(date.clone()), json!("2026-01-02"));
        assert_eq!(Shape::DateTime.value(date.clone()), json!("2026-01-02T03:04:05.6"));
        assert_eq!(Shape::Timestamp.value(date), json!("2026-01-02T03:04:05.6+00:00"));
        assert_eq!(Shape::Date.value(Value::Date(0, 0, 0, 0, 0, 0, 0)), json!("0000-00-00"));
        let time = Value::Time(true, 34, 22, 59, 59, 10);
        assert_eq!(Shape::Plain.value(time), json!("-838:59:59.00001"));
    }

    #[test]
    fn numbers_and_bytes_lose_nothing() {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        assert_eq!(Shape::Plain.value(Value::UInt(u64::MAX)), json!("18446744073709551615"));
        assert_eq!(Shape::Plain.value(Value::Float(0.1)), json!(0.1));
        assert_eq!(Shape::Plain.value(bytes(b"1.10")), json!("1.10"));
        assert_eq!(Shape::Plain.value(bytes(b"\xff")), json!("\\xff"));
        assert_eq!(Shape::Bits.value(bytes(&[1, 0])), json!(256));
        assert_eq!(Shape::Bits.value(bytes(&[255; 8])), json!("18446744073709551615"));
        assert_eq!(Shape::Json.value(bytes(b"{\"a\": 1.0}")), json!({"a": 1.0}));
        assert_eq!(
            Shape::Json.value(bytes(b"12345678901234567890")),
            json!("12345678901234567890")
        );
    }
}

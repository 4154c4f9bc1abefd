//! Values as callers see them: JSON of limited size, and names of types in their words.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use roothold_core::Fault;
use serde_json::Value;

use crate::table;

/// The longest text of one value in an answer, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 256;

/// The value of `array` at `row`: numbers that JSON keeps and booleans as such, everything
/// else as text.
pub(super) fn json(array: &ArrayRef, row: usize) -> Result<Value, Fault> {
    json_of(array, row, VALUE_BYTES_MAX)
}

/// The same with another limit on the length of a text, in bytes.
pub(super) fn json_of(array: &ArrayRef, row: usize, bytes_max: usize) -> Result<Value, Fault> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(number) = table::whole(array, row) {
        return Ok(number);
    }
    let one = array.slice(row, 1);
    Ok(match array.data_type() {
        DataType::Boolean => Value::from(one.as_boolean().value(0)),
        DataType::Float64 => number(one.as_primitive::<Float64Type>().value(0)),
        // The shortest decimal form of the narrow value, not the digits of the wide one.
        DataType::Float32 => match one.as_primitive::<Float32Type>().value(0).to_string().parse() {
            Ok(wide) => number(wide),
            Err(_) => Value::Null,
        },
        _ => Value::from(brief(&text(&one)?, bytes_max)),
    })
}

/// A number, or its name where JSON has none.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value)
        .map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn text(one: &ArrayRef) -> Result<String, Fault> {
    let options = FormatOptions::default().with_display_error(true);
    let formatter = ArrayFormatter::try_new(one, &options).map_err(Fault::internal)?;
    Ok(formatter.value(0).to_string())
}

/// `text` cut to `bytes_max`, without characters that are not seen or change how others are.
pub(super) fn brief(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut brief = String::with_capacity(end);
    for char in text[..end].chars() {
        if is_unseen(char) { brief.extend(char.escape_unicode()) } else { brief.push(char) }
    }
    if end < text.len() {
        brief.push('…');
    }
    brief
}

fn is_unseen(char: char) -> bool {
    (char.is_control() && !matches!(char, '\n' | '\t'))
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        Float32Array, Float64Array, Int8Array, Int64Array, StringArray, TimestampSecondArray,
        UInt64Array,
    };

    use super::*;

    #[test]
    fn values_keep_what_json_can_hold() {
        let cases: Vec<(ArrayRef, Value)> = vec![
            (Arc::new(Int8Array::from(vec![-3])), (-3).into()),
            (Arc::new(Int64Array::from(vec![1_i64 << 53])), (1_i64 << 53).into()),
            (Arc::new(Int64Array::from(vec![(1_i64 << 53) + 1])), "9007199254740993".into()),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615".into()),
            (Arc::new(Float64Array::from(vec![0.1])), 0.1.into()),
            (Arc::new(Float32Array::from(vec![0.1])), 0.1.into()),
            (Arc::new(Float64Array::from(vec![f64::NAN])), "NaN".into()),
            (Arc::new(StringArray::from(vec![None::<&str>])), Value::Null),
            (Arc::new(TimestampSecondArray::from(vec![0])), "1970-01-01T00:00:00".into()),
        ];
        for (array, expected) in cases {
            assert_eq!(json(&array, 0).unwrap(), expected);
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_hides_nothing() {
        assert_eq!(brief("aé", 2), "a…");
        assert_eq!(brief("a\u{202e}b\0", 99), "a\\u{202e}b\\u{0}");
    }
}

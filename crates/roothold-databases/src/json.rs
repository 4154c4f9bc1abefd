//! JSON that a database keeps, as a value of an answer.

use serde_json::{Map, Value};

use crate::answer::float;

/// The significant digits that every reader of JSON keeps.
const DIGITS_MAX: usize = 15;

/// The JSON value, if every reader keeps all of it: no number that is rounded, no name twice.
pub(crate) fn exact(text: &str) -> Option<Value> {
    if !numbers_are_kept(text) {
        return None;
    }
    let exact: Exact = serde_json::from_str(text).ok()?;
    Some(exact.0)
}

/// Whether no number of a JSON text has more digits than are kept.
fn numbers_are_kept(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'0'..=b'9' | b'-' => {
                let number = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|b| number(b)).count();
                if !number_is_kept(&text[at..at + length]) {
                    return false;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    true
}

fn number_is_kept(number: &str) -> bool {
    if let Ok(number) = number.parse::<i64>() {
        return number.unsigned_abs() <= 1 << 53;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    let fits = exponent.parse::<i32>().is_ok_and(|exponent| exponent.abs() < 280);
    significant <= DIGITS_MAX && fits && digits.len() < 20
}

/// A JSON value without names that are there twice.
struct Exact(Value);

impl<'de> serde::Deserialize<'de> for Exact {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Exact;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Exact, E> {
                Ok(Exact(Value::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Exact, E> {
                Ok(Exact(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Exact, E> {
                Ok(Exact(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Exact, E> {
                Ok(Exact(float(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Exact, E> {
                Ok(Exact(value.into()))
            }
            fn visit_unit<E>(self) -> Result<Exact, E> {
                Ok(Exact(Value::Null))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Exact, A::Error> {
                let mut items = Vec::new();
                while let Some(Exact(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Exact(Value::Array(items)))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Exact, A::Error> {
                let mut fields = Map::new();
                while let Some((name, Exact(value))) = map.next_entry::<String, Exact>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name is there twice"));
                    }
                }
                Ok(Exact(Value::Object(fields)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_a_value_if_all_of_it_is_kept() {
        let json = |text: &str| exact(text).unwrap_or_else(|| text.into());
        assert_eq!(
            json(r#"{"a":[1,2.5,"x\"9e999"],"b":null}"#),
            json!({"a": [1, 2.5, "x\"9e999"], "b": null})
        );
        for text in
            [r#"{"a":1,"a":2}"#, "12345678901234567890", "0.1234567890123456789", "1e400", "{bad"]
        {
            assert_eq!(json(text), json!(text));
        }
        assert_eq!(
            json(&format!("{}{}", "[".repeat(500), "]".repeat(500))).as_str().unwrap().len(),
            1_000
        );
    }
}

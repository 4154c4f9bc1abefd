//! What the members of JSON objects are, without building the objects.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Kind, merge_fields, whole};
use crate::options::ColumnType;

/// The most members of one object; their names are compared with each other.
const MEMBERS_MAX: usize = 10_000;

/// The members of one JSON object, in their order.
///
/// # Errors
/// As the parser's, for what is no JSON object, or is nested deeper than 128 levels.
pub(crate) fn object(line: &[u8]) -> serde_json::Result<Vec<(String, Kind)>> {
    match serde_json::from_slice::<Kind>(&with_codes(line))? {
        Kind::Struct(fields) => Ok(fields),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

/// The most digits that every 64 bits have room for.
const DIGITS_MAX: usize = 18;

/// The line with whole numbers that are too long for 64 bits as texts, which they are for a column: the
/// parser would give them rounded.
fn with_codes(line: &[u8]) -> Cow<'_, [u8]> {
    let has_long = line.chunk_by(|one, two| one.is_ascii_digit() && two.is_ascii_digit());
    if !has_long.into_iter().any(|run| run.len() > DIGITS_MAX) {
        return Cow::Borrowed(line);
    }
    let (mut out, mut at) = (Vec::with_capacity(line.len() + 2), 0);
    while at < line.len() {
        let part = &line[at..];
        let length = match part[0] {
            b'"' => text_length(part),
            b'-' | b'0'..=b'9' => part.iter().take_while(|byte| is_of_number(**byte)).count(),
            _ => 1,
        };
        let (part, is_code) = (&part[..length], is_code(&part[..length]));
        out.extend(is_code.then_some(b'"'));
        out.extend_from_slice(part);
        out.extend(is_code.then_some(b'"'));
        at += length;
    }
    Cow::Owned(out)
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// How long the text is that begins here with a quote, both quotes counted.
fn text_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether it is a whole number that is too long.
fn is_code(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    digits.len() > DIGITS_MAX
        && digits[0] != b'0'
        && digits.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(number).is_ok_and(|number| number.parse::<i64>().is_err())
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Plain(ColumnType::Boolean))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(i64::try_from(value).map_or(Kind::Plain(ColumnType::Text), whole))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Plain(ColumnType::Number))
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Plain(ColumnType::Text))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Empty)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut kind = Kind::Empty;
        while let Some(item) = items.next_element::<Kind>()? {
            kind = kind.merge(item);
        }
        Ok(Kind::List(Box::new(kind)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        let mut fields: Vec<(String, Kind)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            if fields.len() >= MEMBERS_MAX {
                return Err(A::Error::custom("too many members"));
            }
            fields.push((name, members.next_value()?));
        }
        // A name that occurs twice, which JSON does not forbid.
        Ok(Kind::Struct(merge_fields(Vec::new(), fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_types() {
        let fields =
            object(br#"{"z":1,"a":[1,2.5],"m":{"x":null},"b":"t","l":[],"z":1.5}"#).unwrap();
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a", "m", "b", "l"]);
        assert_eq!(fields[0].1, Kind::Plain(ColumnType::Number));
        assert_eq!(fields[1].1, Kind::List(Box::new(Kind::Plain(ColumnType::Number))));
        assert_eq!(fields[2].1, Kind::Struct(vec![("x".to_owned(), Kind::Empty)]));
    }

    #[test]
    fn whole_numbers_that_would_be_rounded_are_text() {
        let kind = |line: &str| object(line.as_bytes()).unwrap()[0].1.clone();
        for (number, expected) in [
            ("9007199254740992", Kind::Plain(ColumnType::Integer)),
            ("9007199254740993", Kind::Wide),
            ("-9223372036854775808", Kind::Wide),
            ("9223372036854775808", Kind::Plain(ColumnType::Text)),
            ("18446744073709551614", Kind::Plain(ColumnType::Text)),
            ("-100000000000000000000000", Kind::Plain(ColumnType::Text)),
            ("100000000000000000000000.5", Kind::Plain(ColumnType::Number)),
            ("1e300", Kind::Plain(ColumnType::Number)),
            (r#""\\\"100000000000000000000000""#, Kind::Plain(ColumnType::Text)),
        ] {
            assert_eq!(kind(&format!("{{\"a\":{number},\"b\":1}}")), expected, "{number}");
        }
        let list = kind(r#"{"a":[1,18446744073709551615]}"#);
        assert_eq!(list, Kind::List(Box::new(Kind::Plain(ColumnType::Text))));
        assert_eq!(kind(r#"{"a":[9007199254740993,1.5]}"#), list);
        assert!(object(b"{\"a\":0100000000000000000000000}").is_err());
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_refused() {
        for line in ["1", "[]", "{", "{\"a\":1} x", "", "{\"a\":NaN}"] {
            assert!(object(line.as_bytes()).is_err(), "{line}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}

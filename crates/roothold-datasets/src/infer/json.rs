//! What the members of JSON objects are, without building the objects.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Kind, merge_fields};
use crate::options::ColumnType;

/// The most members of one object; their names are compared with each other.
const MEMBERS_MAX: usize = 10_000;

/// The members of one JSON object, in their order.
///
/// # Errors
/// As the parser's, for what is no JSON object, or is nested deeper than 128 levels.
pub(crate) fn object(line: &[u8]) -> serde_json::Result<Vec<(String, Kind)>> {
    match serde_json::from_slice::<Kind>(line)? {
        Kind::Struct(fields) => Ok(fields),
        _ => Err(serde_json::Error::custom("not an object")),
    }
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

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Plain(ColumnType::Integer))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        let fits = i64::try_from(value).is_ok();
        Ok(Kind::Plain(if fits { ColumnType::Integer } else { ColumnType::Number }))
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
    fn what_is_no_object_or_too_deep_is_refused() {
        for line in ["1", "[]", "{", "{\"a\":1} x", "", "{\"a\":NaN}"] {
            assert!(object(line.as_bytes()).is_err(), "{line}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}

//! Values as the server writes them, as values for JSON: nothing is lost.

use serde_json::Value;
use tokio_postgres::types::{Kind, Type};

use crate::answer::{float, whole};
use crate::json::exact;

/// Arrays nest no deeper in PostgreSQL.
const ARRAY_DEPTH_MAX: usize = 6;

/// How the text of a type becomes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Boolean,
    Whole,
    Float,
    Json,
    Timestamp,
    TimestampTz,
    TimeTz,
    /// A list of these; the character that separates them.
    Array(Box<Shape>, char),
    /// Decimals, texts, dates, intervals, `bytea`, enumerations, ranges, composites, …
    Text,
}

impl Shape {
    pub(super) fn of(kind: &Type) -> Self {
        match kind.kind() {
            Kind::Array(element) => {
                let separator = if *element == Type::BOX { ';' } else { ',' };
                return Self::Array(Box::new(Self::of(element)), separator);
            }
            Kind::Domain(base) => return Self::of(base),
            _ => {}
        }
        match *kind {
            Type::BOOL => Self::Boolean,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::XID | Type::CID => Self::Whole,
            Type::FLOAT4 | Type::FLOAT8 => Self::Float,
            Type::JSON | Type::JSONB => Self::Json,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            Type::TIMETZ => Self::TimeTz,
            _ => Self::Text,
        }
    }

    /// The value of a text of this shape. One that does not read so stays a text.
    pub(super) fn value(&self, text: &str) -> Value {
        let read = match self {
            Self::Boolean => match text {
                "t" => Some(Value::Bool(true)),
                "f" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Whole => text.parse().ok().map(whole),
            Self::Float => match text {
                "NaN" | "Infinity" | "-Infinity" => None,
                _ => text.parse().ok().map(float),
            },
            Self::Json => exact(text),
            Self::Timestamp => timestamp(text).map(Value::String),
            Self::TimestampTz => timestamp(text).map(|text| Value::String(zone(text))),
            Self::TimeTz => Some(Value::String(zone(text.to_owned()))),
            Self::Array(element, separator) => array(text, element, *separator),
            Self::Text => None,
        };
        read.unwrap_or_else(|| Value::String(text.to_owned()))
    }
}

/// The name of a type as SQL writes it.
pub(super) fn name(kind: &Type) -> String {
    match kind.kind() {
        Kind::Array(element) => format!("{}[]", name(element)),
        _ => kind.name().to_owned(),
    }
}

/// `2026-01-02 03:04:05` with the T of ISO 8601. Infinities and years before Christ have none.
fn timestamp(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ')?;
    (!time.ends_with("BC")).then(|| format!("{date}T{time}"))
}

/// An offset of hours alone gets its minutes.
fn zone(mut text: String) -> String {
    let short = text.len() >= 3 && matches!(text.as_bytes()[text.len() - 3], b'+' | b'-');
    if short && text.contains(':') {
        text.push_str(":00");
    }
    text
}

/// `{1,NULL,"a b"}`, and `{{1},{2}}`; before it there may be bounds, `[0:1]=`, which are left out.
fn array(text: &str, element: &Shape, separator: char) -> Option<Value> {
    let start = if text.starts_with('[') { text.find("]={").map(|at| at + 2)? } else { 0 };
    let mut chars = text[start..].chars().peekable();
    let value = list(&mut chars, element, separator, 0)?;
    chars.next().is_none().then_some(value)
}

fn list(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    element: &Shape,
    separator: char,
    depth: usize,
) -> Option<Value> {
    if chars.next()? != '{' || depth >= ARRAY_DEPTH_MAX {
        return None;
    }
    let mut items = Vec::new();
    if *chars.peek()? == '}' {
        chars.next();
        return Some(Value::Array(items));
    }
    loop {
        items.push(match *chars.peek()? {
            '{' => list(chars, element, separator, depth + 1)?,
            '"' => element.value(&quoted(chars)?),
            _ => {
                let mut text = String::new();
                while *chars.peek()? != separator && *chars.peek()? != '}' {
                    let c = chars.next()?;
                    text.push(if c == '\\' { chars.next()? } else { c });
                }
                if text == "NULL" { Value::Null } else { element.value(&text) }
            }
        });
        match chars.next()? {
            '}' => return Some(Value::Array(items)),
            c if c == separator => {}
            _ => return None,
        }
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    chars.next();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(kind: &Type, text: &str) -> Value {
        Shape::of(kind).value(text)
    }

    #[test]
    fn numbers_that_json_would_round_are_texts() {
        assert_eq!(value(&Type::INT8, "9007199254740992"), json!(9_007_199_254_740_992_u64));
        assert_eq!(value(&Type::INT8, "9223372036854775807"), json!("9223372036854775807"));
        assert_eq!(value(&Type::NUMERIC, "1.10"), json!("1.10"));
        assert_eq!(value(&Type::FLOAT8, "1e+300"), json!(1e300));
        assert_eq!(value(&Type::FLOAT4, "-Infinity"), json!("-Infinity"));
    }

    #[test]
    fn times_are_iso_8601_with_their_zone() {
        assert_eq!(
            value(&Type::TIMESTAMPTZ, "2026-01-02 03:04:05.6+00"),
            json!("2026-01-02T03:04:05.6+00:00")
        );
        assert_eq!(
            value(&Type::TIMESTAMPTZ, "2026-01-02 03:04:05-03:30"),
            json!("2026-01-02T03:04:05-03:30")
        );
        assert_eq!(value(&Type::TIMESTAMP, "2026-01-02 03:04:05"), json!("2026-01-02T03:04:05"));
        assert_eq!(value(&Type::TIMESTAMP, "infinity"), json!("infinity"));
        assert_eq!(
            value(&Type::TIMESTAMP, "0044-03-15 00:00:00 BC"),
            json!("0044-03-15 00:00:00 BC")
        );
        assert_eq!(value(&Type::TIMETZ, "03:04:05+02"), json!("03:04:05+02:00"));
    }

    #[test]
    fn arrays_are_lists() {
        assert_eq!(value(&Type::INT4_ARRAY, "{1,NULL,3}"), json!([1, null, 3]));
        assert_eq!(value(&Type::INT4_ARRAY, "[0:1]={1,2}"), json!([1, 2]));
        assert_eq!(value(&Type::INT4_ARRAY, "{{1,2},{3,4}}"), json!([[1, 2], [3, 4]]));
        assert_eq!(
            value(&Type::TEXT_ARRAY, r#"{a,"b, \"c\"","NULL","",é}"#),
            json!(["a", "b, \"c\"", "NULL", "", "é"])
        );
        assert_eq!(value(&Type::BOOL_ARRAY, "{t,f}"), json!([true, false]));
        assert_eq!(value(&Type::JSONB_ARRAY, r#"{"{\"a\": 1}"}"#), json!([{"a": 1}]));
        assert_eq!(
            value(&Type::BOX_ARRAY, "{(1,1),(0,0);(2,2),(0,0)}"),
            json!(["(1,1),(0,0)", "(2,2),(0,0)"])
        );
        assert_eq!(value(&Type::TEXT_ARRAY, "{}"), json!([]));
        for broken in ["{1", "{1}}", "{\"a}", ""] {
            assert_eq!(value(&Type::TEXT_ARRAY, broken), json!(broken));
        }
    }
}

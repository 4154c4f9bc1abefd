//! Parameters as text that the server converts: to the type that is named, or that it infers.

use roothold_core::Fault;
use serde_json::Value;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::answer::Parameter;

/// The types that can be named.
const TYPES: &[(&str, Type, Type)] = &[
    ("bool", Type::BOOL, Type::BOOL_ARRAY),
    ("int2", Type::INT2, Type::INT2_ARRAY),
    ("int4", Type::INT4, Type::INT4_ARRAY),
    ("int8", Type::INT8, Type::INT8_ARRAY),
    ("float4", Type::FLOAT4, Type::FLOAT4_ARRAY),
    ("float8", Type::FLOAT8, Type::FLOAT8_ARRAY),
    ("numeric", Type::NUMERIC, Type::NUMERIC_ARRAY),
    ("text", Type::TEXT, Type::TEXT_ARRAY),
    ("varchar", Type::VARCHAR, Type::VARCHAR_ARRAY),
    ("date", Type::DATE, Type::DATE_ARRAY),
    ("time", Type::TIME, Type::TIME_ARRAY),
    ("timestamp", Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
    ("timestamptz", Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
    ("interval", Type::INTERVAL, Type::INTERVAL_ARRAY),
    ("uuid", Type::UUID, Type::UUID_ARRAY),
    ("json", Type::JSON, Type::JSON_ARRAY),
    ("jsonb", Type::JSONB, Type::JSONB_ARRAY),
    ("bytea", Type::BYTEA, Type::BYTEA_ARRAY),
    ("inet", Type::INET, Type::INET_ARRAY),
];

/// A value in the server's text form.
#[derive(Debug)]
pub(super) struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Each parameter with its type; `unknown` is for the server to infer.
///
/// # Errors
/// `Invalid`: a type that is not known, a value that has no text form.
pub(super) fn bind(parameters: &[Parameter]) -> Result<Vec<(Text, Type)>, Fault> {
    (1..).zip(parameters).map(|(place, parameter)| one(place, parameter)).collect()
}

fn one(place: usize, parameter: &Parameter) -> Result<(Text, Type), Fault> {
    let kind = match parameter.type_name.as_deref() {
        None => Type::UNKNOWN,
        Some(name) => named(name).ok_or_else(|| {
            let known: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
            let text = format!(
                "parameter {place} has a type that cannot be named; there are {}, each also as a list with []",
                known.join(", ")
            );
            Fault::invalid(text)
        })?,
    };
    let is_json = matches!(kind, Type::JSON | Type::JSONB);
    let text = match &parameter.value {
        Value::Null => None,
        value if is_json => Some(value.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            Some(list(items, matches!(kind, Type::JSON_ARRAY | Type::JSONB_ARRAY)))
        }
        value => Some(value.to_string()),
    };
    if text.as_ref().is_some_and(|text| text.contains('\0')) {
        let text =
            format!("parameter {place} holds a NUL character, which PostgreSQL has no place for");
        return Err(Fault::invalid(text));
    }
    Ok((Text(text), kind))
}

fn named(name: &str) -> Option<Type> {
    let lower = name.trim().to_ascii_lowercase();
    let (base, is_list) = match lower.strip_suffix("[]") {
        Some(base) => (base.trim(), true),
        None => (lower.as_str(), false),
    };
    let base = match base {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" => "float8",
        "decimal" => "numeric",
        other => other,
    };
    let (_, one, list) = TYPES.iter().find(|(known, ..)| *known == base)?;
    Some(if is_list { list.clone() } else { one.clone() })
}

/// A list in the server's text form.
fn list(items: &[Value], of_json: bool) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let item = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        value if of_json => quoted(&value.to_string()),
        Value::String(text) => quoted(text),
        Value::Array(items) => list(items, false),
        value => quoted(&value.to_string()),
    };
    let items: Vec<String> = items.iter().map(item).collect();
    format!("{{{}}}", items.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bound(value: Value, type_name: Option<&str>) -> Result<(Option<String>, Type), Fault> {
        let parameter = Parameter { value, type_name: type_name.map(str::to_owned) };
        let mut bound = bind(&[parameter])?;
        let (text, kind) = bound.pop().unwrap();
        Ok((text.0, kind))
    }

    #[test]
    fn values_have_the_form_that_the_server_reads() {
        let text = |value| bound(value, None).unwrap().0;
        assert_eq!(text(json!(5)).as_deref(), Some("5"));
        assert_eq!(text(json!(true)).as_deref(), Some("true"));
        assert_eq!(text(Value::Null), None);
        assert_eq!(text(json!("x'y")).as_deref(), Some("x'y"));
        assert_eq!(text(json!({"a": 1})).as_deref(), Some(r#"{"a":1}"#));
        let list = json!(["a\"b", "c\\d", null, "NULL", 1]);
        assert_eq!(text(list).as_deref(), Some(r#"{"a\"b","c\\d",NULL,"NULL","1"}"#));
        assert_eq!(text(json!([[1], [2]])).as_deref(), Some(r#"{{"1"},{"2"}}"#));
        assert_eq!(bound(json!("x"), Some("jsonb")).unwrap().0.as_deref(), Some("\"x\""));
    }

    #[test]
    fn types_are_named_as_sql_names_them() {
        let kind = |name| bound(json!("1"), Some(name)).map(|(_, kind)| kind);
        assert_eq!(kind("BIGINT").unwrap(), Type::INT8);
        assert_eq!(kind("text[]").unwrap(), Type::TEXT_ARRAY);
        assert!(kind("int4; drop table x").unwrap_err().public().contains("there are bool, int2"));
        assert!(bound(json!("a\0b"), None).unwrap_err().public().contains("NUL"));
    }
}

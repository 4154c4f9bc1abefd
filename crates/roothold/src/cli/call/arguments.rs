//! `KEY=VALUE` words, typed by a tool's input schema.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

/// The arguments of a call: `given`, with the words over it.
///
/// # Errors
/// A word without `=`, a key that the tool does not have, or a value of the wrong type.
pub(in crate::cli) fn merge(
    schema: &Value,
    given: Map<String, Value>,
    pairs: &[String],
) -> anyhow::Result<Map<String, Value>> {
    let mut arguments = given;
    let mut said: Vec<&str> = Vec::new();
    for pair in pairs {
        let (key, text) = pair
            .split_once('=')
            .with_context(|| format!("`{pair}` is no KEY=VALUE; arguments are written so"))?;
        let property = property(schema, key)?;
        let value = typed(schema, property, text)
            .with_context(|| format!("the argument `{key}` cannot be `{text}`"))?;
        let is_first = !said.contains(&key);
        said.push(key);
        match (arguments.get_mut(key), value) {
            (Some(Value::Array(list)), Value::Array(more)) if !is_first => list.extend(more),
            (_, value) => {
                ensure!(is_first, "the argument `{key}` takes one value, and is there twice");
                arguments.insert(key.to_owned(), value);
            }
        }
    }
    Ok(arguments)
}

fn property<'a>(schema: &'a Value, key: &str) -> anyhow::Result<&'a Value> {
    let properties = schema["properties"].as_object();
    if let Some(property) = properties.and_then(|properties| properties.get(key)) {
        return Ok(property);
    }
    let open = matches!(&schema["additionalProperties"], Value::Bool(true) | Value::Object(_));
    let names: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| &**name).collect();
    if open || (names.is_empty() && !schema["additionalProperties"].is_boolean()) {
        return Ok(&Value::Null);
    }
    if names.is_empty() {
        bail!("the tool takes no arguments, so not `{key}`");
    }
    bail!("the tool has no argument `{key}`; it has {}", names.join(", "))
}

/// Types a text by a schema.
fn typed(root: &Value, schema: &Value, text: &str) -> anyhow::Result<Value> {
    let mut types = Vec::new();
    types_of(root, schema, &mut types, 0);
    let has = |name: &str| types.contains(&name);
    let json = || serde_json::from_str::<Value>(text).ok();
    // The narrower types first: a text that is any of them is meant to be that.
    if has("integer")
        && let Some(number) = json().filter(|value| value.is_i64() || value.is_u64())
    {
        return Ok(number);
    }
    if has("number")
        && let Some(number) = json().filter(Value::is_number)
    {
        return Ok(number);
    }
    if has("boolean")
        && let Ok(word) = text.parse::<bool>()
    {
        return Ok(word.into());
    }
    if has("null") && !has("string") && text == "null" {
        return Ok(Value::Null);
    }
    if has("object")
        && let Some(object) = json().filter(Value::is_object)
    {
        return Ok(object);
    }
    if has("array") {
        if let Some(list) = json().filter(Value::is_array) {
            return Ok(list);
        }
        let items = items_of(root, schema, 0).unwrap_or(&Value::Null);
        return Ok(Value::Array(vec![typed(root, items, text)?]));
    }
    if has("string") {
        return Ok(text.into());
    }
    if types.is_empty() {
        return Ok(json().unwrap_or_else(|| text.into()));
    }
    let wanted: Vec<&str> = types.into_iter().filter(|name| *name != "null").collect();
    bail!("it must be of the type {}", wanted.join(" or "))
}

/// Schemas nest; one that refers to itself ends here.
const DEPTH_MAX: usize = 8;

fn types_of<'a>(root: &'a Value, schema: &'a Value, types: &mut Vec<&'a str>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match &schema["type"] {
        Value::String(name) => types.push(name),
        Value::Array(names) => types.extend(names.iter().filter_map(Value::as_str)),
        _ => {}
    }
    let words = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    types.extend(words.filter(|word| word.is_string()).map(|_| "string"));
    for inner in alternatives(root, schema) {
        types_of(root, inner, types, depth + 1);
    }
}

fn items_of<'a>(root: &'a Value, schema: &'a Value, depth: usize) -> Option<&'a Value> {
    if let Some(items) = schema.get("items") {
        return Some(items);
    }
    let mut inner = alternatives(root, schema).into_iter();
    inner.find_map(|one| if depth > DEPTH_MAX { None } else { items_of(root, one, depth + 1) })
}

/// The schemas that a schema is made of.
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let lists = ["anyOf", "oneOf", "allOf"].into_iter();
    let mut inner: Vec<&Value> = lists.filter_map(|key| schema[key].as_array()).flatten().collect();
    let target = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
    inner.extend(target.and_then(|pointer| root.pointer(pointer)));
    inner
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "path": {"type": "string"},
                "head": {"type": ["integer", "null"]},
                "ratio": {"type": "number"},
                "dryRun": {"type": "boolean"},
                "paths": {"type": "array", "items": {"type": "string"}},
                "sort": {"anyOf": [{"$ref": "#/$defs/Sort"}, {"type": "null"}]},
                "calls": {"type": "array", "items": {"type": "object"}},
            },
            "additionalProperties": false,
            "$defs": {"Sort": {"enum": ["name", "size"]}},
        })
    }

    fn merged(pairs: &[&str]) -> anyhow::Result<Value> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        merge(&schema(), Map::new(), &pairs).map(Value::Object)
    }

    #[test]
    fn values_get_the_type_of_the_schema() {
        let found = merged(&[
            "path=12",
            "head=12",
            "ratio=1.5",
            "dryRun=true",
            "paths=a",
            "paths=b=c",
            "sort=size",
            "calls=[{\"a\":1}]",
        ]);
        let expected = json!({
            "path": "12", "head": 12, "ratio": 1.5, "dryRun": true, "paths": ["a", "b=c"],
            "sort": "size", "calls": [{"a": 1}],
        });
        assert_eq!(found.unwrap(), expected);
        assert_eq!(merged(&["paths=[\"a\",\"b\"]"]).unwrap(), json!({"paths": ["a", "b"]}));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("path", "is no KEY=VALUE"),
            ("pth=a", "has no argument `pth`; it has"),
            ("head=ten", "must be of the type integer"),
            ("dryRun=yes", "must be of the type boolean"),
            ("calls=x", "must be of the type object"),
        ];
        for (pair, expected) in cases {
            let error = format!("{:#}", merged(&[pair]).unwrap_err());
            assert!(error.contains(expected), "{pair}: {error}");
        }
        let twice = merged(&["path=a", "path=b"]).unwrap_err().to_string();
        assert!(twice.contains("takes one value"), "{twice}");
        let none = merge(&json!({"additionalProperties": false}), Map::new(), &["a=b".to_owned()]);
        assert!(none.unwrap_err().to_string().contains("takes no arguments"));
    }

    #[test]
    fn words_win_over_json_and_an_open_schema_takes_anything() {
        let given = json!({"path": "old", "head": 1}).as_object().unwrap().clone();
        let found = merge(&schema(), given, &["path=new".to_owned()]).unwrap();
        assert_eq!(Value::Object(found), json!({"path": "new", "head": 1}));
        let open = merge(&json!({"type": "object"}), Map::new(), &["n=1".into(), "s=x".into()]);
        assert_eq!(Value::Object(open.unwrap()), json!({"n": 1, "s": "x"}));
    }
}

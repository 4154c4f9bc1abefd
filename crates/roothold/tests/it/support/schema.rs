//! The part of JSON Schema that the server's schemas use. A keyword that is not known here is a
//! failure, so nothing is checked by being passed over.

use serde_json::Value;

/// Says where a value does not fit its schema.
pub(crate) fn misfit(schema: &Value, value: &Value) -> Result<(), String> {
    at("$", schema, value)
}

fn at(path: &str, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else {
        return if schema == &Value::Bool(true) {
            Ok(())
        } else {
            Err(format!("{path}: {schema}"))
        };
    };
    for (keyword, rule) in keywords {
        let fits = match keyword.as_str() {
            "description" | "title" | "format" => true,
            "type" => is_of_type(rule, value),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().unwrap())
            }
            "maxItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 <= rule.as_u64().unwrap())
            }
            "required" => {
                let lacks = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                !value.is_object() || !rule.as_array().unwrap().iter().any(|key| lacks(&key))
            }
            "properties" => {
                for (key, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        at(&format!("{path}.{key}"), schema, value)?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| known.get(key).is_none()) {
                        at(&format!("{path}.{key}"), rule, value)?;
                    }
                }
                true
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    at(&format!("{path}[{index}]"), rule, value)?;
                }
                true
            }
            "anyOf" | "oneOf" => {
                rule.as_array().unwrap().iter().any(|schema| at(path, schema, value).is_ok())
            }
            other => return Err(format!("{path}: the keyword {other} is not known to this check")),
        };
        if !fits {
            return Err(format!("{path}: {value} does not fit {keyword}: {rule}"));
        }
    }
    Ok(())
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    let one = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    match rule {
        Value::String(name) => one(name),
        Value::Array(names) => names.iter().any(|name| one(name.as_str().unwrap_or_default())),
        _ => false,
    }
}

//! The arguments of a tool that is made of SQL: its schema, and from a call's values to what is bound.

use rmcp::model::JsonObject;
use roothold_core::Fault;
use roothold_databases::Parameter;
use serde_json::{Map, Value, json};

use crate::config::{ParameterType, ToolParameter};

/// By this argument a change is undone again.
const DRY_RUN: &str = "dry_run";

/// What a call gives, in the order of the parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) parameters: Vec<Parameter>,
    pub(super) dry_run: bool,
}

/// The schema of the arguments.
pub(super) fn schema(parameters: &[ToolParameter], writes: bool) -> JsonObject {
    let mut properties: Map<String, Value> =
        parameters.iter().map(|one| (one.name.clone(), one.schema())).collect();
    if writes {
        let about = "Run it and undo it again, to see what it would change";
        properties.insert(DRY_RUN.to_owned(), json!({"type": "boolean", "description": about}));
    }
    let required = parameters.iter().filter(|one| one.is_required());
    let required: Vec<&str> = required.map(|one| one.name.as_str()).collect();
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

/// Reads what a call gives.
///
/// # Errors
/// `Invalid`: an argument that is missing, unknown, or not as the schema has it. No value is told.
pub(super) fn read(
    parameters: &[ToolParameter],
    writes: bool,
    arguments: Value,
) -> Result<Given, Fault> {
    let Value::Object(mut arguments) = arguments else {
        return Err(Fault::invalid("the arguments must be an object"));
    };
    let tried = if writes { arguments.remove(DRY_RUN) } else { None };
    let dry_run = match tried {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(Fault::invalid("dry_run must be true or false")),
    };
    let bound = parameters
        .iter()
        .map(|parameter| one(parameter, arguments.remove(&parameter.name)))
        .collect::<Result<Vec<Parameter>, Fault>>()?;
    if let Some(unknown) = arguments.keys().next() {
        let unknown: String = unknown.chars().take(64).collect();
        let names: Vec<&str> = parameters.iter().map(|one| one.name.as_str()).collect();
        let known = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
        return Err(Fault::invalid(format!(
            "there is no argument `{}`; the tool's inputSchema has: {known}",
            unknown.escape_debug()
        )));
    }
    Ok(Given { parameters: bound, dry_run })
}

/// The value of one parameter. `null` is as good as not given: some clients send it for everything
/// that they leave out.
fn one(parameter: &ToolParameter, given: Option<Value>) -> Result<Parameter, Fault> {
    let value = match given.filter(|value| !value.is_null()) {
        Some(value) => {
            parameter
                .check_value(&value)
                .map_err(|reason| Fault::invalid(format!("{} {reason}", parameter.name)))?;
            value
        }
        None if parameter.is_required() => {
            return Err(Fault::invalid(format!("{} is missing; it must be given", parameter.name)));
        }
        None => parameter.default.clone().unwrap_or_default(),
    };
    let value = if parameter.r#type == ParameterType::Integer { as_numbers(value) } else { value };
    Ok(Parameter { value, type_name: parameter.database_type.clone() })
}

/// Whole numbers that came as text as numbers.
fn as_numbers(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(as_numbers).collect(),
        Value::String(text) => text.parse::<i64>().map_or(Value::String(text), Value::from),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<ToolParameter> {
        serde_json::from_value(json!([
            {"name": "customer", "type": "integer", "description": "who"},
            {"name": "state", "type": "text", "description": "which", "enum": ["new", "sent"], "default": "new"},
            {"name": "note", "type": "text", "description": "what", "required": false},
            {"name": "ids", "type": "integer", "description": "which", "list": true, "required": false,
                "database_type": "int8[]"},
        ]))
        .unwrap()
    }

    fn values(arguments: Value) -> Result<Vec<Value>, String> {
        let given =
            read(&parameters(), false, arguments).map_err(|fault| fault.public().to_owned())?;
        Ok(given.parameters.into_iter().map(|parameter| parameter.value).collect())
    }

    #[test]
    fn values_are_bound_in_the_order_of_the_parameters() {
        let given =
            values(json!({"ids": [1, "9007199254740993"], "customer": 7, "note": "x"})).unwrap();
        assert_eq!(
            given,
            [json!(7), json!("new"), json!("x"), json!([1, 9_007_199_254_740_993_i64])]
        );
        let given = values(json!({"customer": 7, "state": null})).unwrap();
        assert_eq!(given, [json!(7), json!("new"), Value::Null, Value::Null]);
        let types = read(&parameters(), false, json!({"customer": 7})).unwrap().parameters;
        assert_eq!(types[3].type_name.as_deref(), Some("int8[]"));
    }

    #[test]
    fn what_does_not_fit_is_named_and_not_shown() {
        for (arguments, reason) in [
            (json!({}), "customer is missing"),
            (json!({"customer": null}), "customer is missing"),
            (json!({"customer": "CANARY-V"}), "customer must be a whole number"),
            (json!({"customer": 7, "state": "CANARY-V"}), "state must be one of"),
            (json!({"customer": 7, "ids": [1, "CANARY-V"]}), "ids item 2 must be a whole number"),
            (json!({"customer": 7, "dry_run": true}), "no argument `dry_run`"),
            (
                json!({"customer": 7, "id": 1}),
                "no argument `id`; the tool's inputSchema has: customer, state",
            ),
            (json!([]), "must be an object"),
        ] {
            let error = values(arguments.clone()).unwrap_err();
            assert!(error.contains(reason), "{arguments}: {error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn a_tool_that_changes_data_can_be_tried() {
        let read = |arguments: Value| read(&[], true, arguments).map(|given| given.dry_run);
        assert!(!read(json!({})).unwrap() && !read(json!({"dry_run": false})).unwrap());
        assert!(read(json!({"dry_run": true})).unwrap());
        assert!(read(json!({"dry_run": "no"})).is_err());
        assert!(schema(&[], true)["properties"]["dry_run"].is_object());
        assert!(schema(&[], false)["properties"].as_object().unwrap().is_empty());
    }

    #[test]
    fn the_schema_says_what_must_be_given() {
        let schema = schema(&parameters(), false);
        assert_eq!(schema["required"], json!(["customer"]));
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 4);
    }
}

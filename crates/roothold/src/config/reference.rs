//! The reference page of the configuration, made from the types that read it.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::sections::Config;

/// The page, as Markdown.
pub fn reference() -> String {
    let generator =
        SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    let schema = generator.into_root_schema_for::<Config>().to_value();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut page = String::from(HEAD);
    let sections = schema["properties"].as_object().cloned().unwrap_or_default();
    for name in ORDER {
        let Some(section) = sections.get(*name) else { continue };
        let (heading, keys) = if section["items"].is_object() {
            (format!("[[{name}]]"), &section["items"])
        } else {
            (format!("[{name}]"), section)
        };
        let about = section["description"].as_str().unwrap_or_default();
        let _ = write!(
            page,
            "\n## `{heading}`\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
        );
        rows(&mut page, "", keys, &defaults[*name]);
    }
    page
}

const ORDER: &[&str] = &[
    "server",
    "roots",
    "policy",
    "principals",
    "auth",
    "limits",
    "cache",
    "audit",
    "state",
    "jobs",
    "datasets",
    "stores",
    "dataset_engine",
    "databases",
    "tools",
    "handles",
    "telemetry",
];

const HEAD: &str = "# Configuration

This page is made from the code by `cargo xtask golden`; do not edit it.

One TOML file, given by `--config`. Over it the environment: `ROOTHOLD_SERVER__LISTEN` sets `[server] listen`, and so
on; over both the flags. A key that does not exist is refused. Relative paths are relative to the file.
`roothold check --config FILE` says what is wrong, or prints what is in force.
";

fn rows(page: &mut String, prefix: &str, section: &Value, defaults: &Value) {
    let Some(keys) = section["properties"].as_object() else { return };
    let required: Vec<&str> =
        section["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, schema) in keys {
        let about = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        // Entries of lists, and tables that are unset by default, have theirs in the schema only.
        let default = Some(&defaults[key]).filter(|value| !value.is_null());
        let default = default.unwrap_or(&schema["default"]);
        let default = match default {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::Array(list) if list.is_empty() => "`[]`".to_owned(),
            Value::String(text) if text.is_empty() => String::new(),
            other => format!("`{other}`"),
        };
        let _ = writeln!(page, "| `{prefix}{key}` | {} | {default} | {about} |", kind(schema));
        if let Some(nested) = variant_with_properties(schema) {
            rows(page, &format!("{prefix}{key}."), nested, &Value::Null);
        }
        if let Some(entry) = variant_with_properties(&schema["items"]) {
            rows(page, &format!("{prefix}{key}[]."), entry, &Value::Null);
        }
    }
}

fn variant_with_properties(schema: &Value) -> Option<&Value> {
    if schema["properties"].is_object() {
        return Some(schema);
    }
    schema["anyOf"].as_array()?.iter().find(|variant| variant["properties"].is_object())
}

fn kind(schema: &Value) -> String {
    let words: Vec<String> = words(schema);
    if !words.is_empty() {
        return words.join(", ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or_default()
            .to_owned(),
        _ => "table".to_owned(),
    };
    if name == "array" { "list".to_owned() } else { name }
}

/// The words of an enumeration, wherever the schema keeps them.
fn words(schema: &Value) -> Vec<String> {
    let quoted = |word: &str| format!("`{word}`");
    let mut found: Vec<String> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(quoted)
        .collect();
    found.extend(schema["const"].as_str().map(quoted));
    for key in ["oneOf", "anyOf"] {
        found.extend(schema[key].as_array().into_iter().flatten().flat_map(words));
    }
    found
}

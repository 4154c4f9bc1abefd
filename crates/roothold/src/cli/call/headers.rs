//! Arguments that a tool's schema asks to have mirrored in `Mcp-Param-*` headers, and the form
//! of header values.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

/// The headers of a call, by the `x-mcp-header` annotations of the tool's schema.
pub(super) fn mirrored(schema: &Value, arguments: &Map<String, Value>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    collect(schema, arguments, &mut headers);
    headers
}

fn collect(schema: &Value, arguments: &Map<String, Value>, headers: &mut Vec<(String, String)>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (key, property) in properties {
        match (arguments.get(key), property["x-mcp-header"].as_str()) {
            (Some(Value::String(text)), Some(name)) => {
                headers.push((format!("Mcp-Param-{name}"), value(text)));
            }
            (Some(plain @ (Value::Bool(_) | Value::Number(_))), Some(name)) => {
                headers.push((format!("Mcp-Param-{name}"), plain.to_string()));
            }
            (Some(Value::Object(inner)), None) => collect(property, inner, headers),
            _ => {}
        }
    }
}

/// Text as a header value: in Base64 where a header cannot hold it as it is.
pub(super) fn value(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if is_plain && text.trim() == text && !text.starts_with("=?base64?") {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", BASE64_STANDARD.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotated_arguments_are_mirrored_at_every_depth() {
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "plain": {"type": "string"},
            "deep": {"properties": {"name": {"type": "string", "x-mcp-header": "Name"}}},
        }});
        let arguments = json!({"region": "eu", "count": 3, "plain": "x", "deep": {"name": "Zoë"}});
        let mut headers = mirrored(&schema, arguments.as_object().unwrap());
        headers.sort();
        let expected = [("Count", "3"), ("Name", "=?base64?Wm/Dqw==?="), ("Region", "eu")]
            .map(|(name, value)| (format!("Mcp-Param-{name}"), value.to_owned()));
        assert_eq!(headers, expected);
    }
}

//! The small pieces of content that several fixtures share.
//!
//! It holds no behaviour. Invariant: every blob decodes to a valid file of its media type.

use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock, JsonObject, ResourceContents},
};
use serde_json::{Map, Value};

/// A PNG of one transparent pixel, in Base64.
pub(crate) const PIXEL_PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// A WAV file of no samples, in Base64.
pub(crate) const SILENCE_WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// Returns a successful tool result of one text block.
pub(crate) fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// Returns a tool result that says the tool failed.
pub(crate) fn failure(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// Returns the contents of a text resource.
pub(crate) fn text_resource(uri: &str, mime: &str, text: impl Into<String>) -> ResourceContents {
    ResourceContents::TextResourceContents {
        uri: uri.into(),
        mime_type: Some(mime.into()),
        text: text.into(),
        meta: None,
    }
}

/// Returns the map inside a JSON object that is written down in this crate.
pub(crate) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Returns the error for a name that no fixture has.
pub(crate) fn unknown(kind: &str, name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("unknown {kind} {name}; see {kind}s/list"), None)
}

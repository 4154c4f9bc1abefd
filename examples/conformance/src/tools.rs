//! The tool catalogue, and the tools that answer by themselves.
//!
//! Tools that ask the client something live in `client_requests`, `mrtr` and `tasks`.
//! Invariant: the catalogue is in one fixed order and lists every tool that a call can reach.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        AudioContent, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
        LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{
    client_requests,
    content::{PIXEL_PNG, SILENCE_WAV, failure, object, text, text_resource, unknown},
    mrtr,
    server::Fixture,
    tasks,
};

/// How long a tool waits between two notifications, so that they are seen apart.
const PAUSE: Duration = Duration::from_millis(50);

/// Tools without arguments, each with what it does.
const PLAIN: &[(&str, &str)] = &[
    ("test_simple_text", "Answers with one text block"),
    ("test_image_content", "Answers with one image block"),
    ("test_audio_content", "Answers with one audio block"),
    ("test_embedded_resource", "Answers with one embedded resource"),
    ("test_multiple_content_types", "Answers with text, an image and a resource"),
    ("test_tool_with_logging", "Sends three log messages while it runs"),
    ("test_error_handling", "Fails every time"),
    ("test_tool_with_progress", "Reports progress at 0, 50 and 100"),
    ("test_reconnection", "Answers after a short wait"),
    ("test_trigger_tool_change", "Tells listeners that the tool list changed"),
    ("test_trigger_prompt_change", "Tells listeners that the prompt list changed"),
    ("test_missing_capability", "Needs a client that declares sampling"),
    ("test_logging_tool", "Logs only when the request names a level"),
];

/// Returns every tool, in the order of the catalogue.
pub(crate) fn list() -> Vec<Tool> {
    let plain = PLAIN.iter().map(|(name, about)| without_arguments(name, about));
    plain
        .chain([schema_2020_12(), custom_header()])
        .chain(client_requests::list())
        .chain(mrtr::list())
        .chain(tasks::list())
        .collect()
}

/// Returns the definition of a tool that takes no arguments.
pub(crate) fn without_arguments(name: &'static str, about: &'static str) -> Tool {
    Tool::new(name, about, object(json!({"type": "object", "properties": {}})))
}

/// Runs a tool.
///
/// # Errors
/// Fails for an unknown name, and where the fixture itself answers a protocol error.
pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let name = request.name.to_string();
    if mrtr::has(&name) {
        return mrtr::call(fixture, &request, &context);
    }
    if tasks::has(&name) {
        return tasks::call(fixture, request, &context).await;
    }
    if client_requests::has(&name) {
        return client_requests::call(&request, &context).await.map(Into::into);
    }
    if let Some(result) = static_content(&name) {
        return Ok(result.into());
    }
    talking(fixture, &name, &request, &context).await.map(Into::into)
}

/// Answers the tools whose result never changes.
fn static_content(name: &str) -> Option<CallToolResult> {
    let result = match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => {
            CallToolResult::success(vec![ContentBlock::image(PIXEL_PNG, "image/png")])
        }
        "test_audio_content" => CallToolResult::success(vec![ContentBlock::Audio(
            AudioContent::new(SILENCE_WAV, "audio/wav"),
        )]),
        "test_embedded_resource" => {
            CallToolResult::success(vec![ContentBlock::resource(text_resource(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content.",
            ))])
        }
        "test_multiple_content_types" => CallToolResult::success(vec![
            ContentBlock::text("Multiple content types test:"),
            ContentBlock::image(PIXEL_PNG, "image/png"),
            ContentBlock::resource(text_resource(
                "test://mixed-content-resource",
                "application/json",
                json!({"test": "data", "value": 123}).to_string(),
            )),
        ]),
        "test_error_handling" => failure("This tool intentionally returns an error for testing"),
        _ => return None,
    };
    Some(result)
}

/// Answers the tools that read the request or send something before their result.
async fn talking(
    fixture: &Fixture,
    name: &str,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let argument =
        |key: &str| request.arguments.as_ref().and_then(|all| all.get(key)).and_then(Value::as_str);
    match name {
        "test_tool_with_logging" => {
            for message in
                ["Tool execution started", "Tool processing data", "Tool execution completed"]
            {
                log(context, LoggingLevel::Info, message).await;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(text("Logging test completed"))
        }
        "test_logging_tool" => {
            if let Some(level) = context.meta.log_level() {
                log(context, level, "the request asked for log messages").await;
            }
            Ok(text("Logging tool completed"))
        }
        "test_tool_with_progress" => {
            report_progress(context).await;
            Ok(text("Progress test completed"))
        }
        "test_reconnection" => {
            tokio::time::sleep(2 * PAUSE).await;
            Ok(text("Reconnection test completed"))
        }
        "test_trigger_tool_change" => {
            fixture.listeners.tools_changed().await;
            Ok(text("Tool list change triggered"))
        }
        "test_trigger_prompt_change" => {
            fixture.listeners.prompts_changed().await;
            Ok(text("Prompt list change triggered"))
        }
        "test_missing_capability" => {
            client_requests::require_sampling(context)?;
            Ok(text("The client can sample"))
        }
        "test_custom_header" => argument("value")
            .map(text)
            .ok_or_else(|| ErrorData::invalid_params("`value` must be a string", None)),
        "json_schema_2020_12_tool" => {
            Ok(text(format!("Hello, {}!", argument("name").unwrap_or("world"))))
        }
        _ => Err(unknown("tool", name)),
    }
}

async fn log(context: &RequestContext<RoleServer>, level: LoggingLevel, message: &str) {
    let message =
        LoggingMessageNotificationParam::new(level, json!(message)).with_logger("fixture");
    // A client that hung up is no failure of the tool.
    let _ = context.peer.notify_logging_message(message).await;
}

async fn report_progress(context: &RequestContext<RoleServer>) {
    let token = context.meta.get_progress_token();
    for (done, message) in [(0.0, "Starting"), (50.0, "Halfway"), (100.0, "Complete")] {
        if let Some(token) = &token {
            let progress = ProgressNotificationParam::new(token.clone(), done)
                .with_total(100.0)
                .with_message(message);
            let _ = context.peer.notify_progress(progress).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the tool whose argument is repeated in a header of the HTTP request.
pub(crate) fn custom_header() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {"value": {"type": "string", "x-mcp-header": "Value"}},
        "required": ["value"]
    });
    Tool::new("test_custom_header", "Echoes an argument that a header repeats", object(schema))
}

/// Returns the tool whose schema uses the keywords that careless servers drop.
fn schema_2020_12() -> Tool {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "address",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
        }},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
        "if": {"required": ["address"]},
        "then": {"properties": {"address": {"required": ["street"]}}},
        "else": {"required": ["name"]},
        "additionalProperties": false
    });
    Tool::new("json_schema_2020_12_tool", "Has a full JSON Schema 2020-12 input", object(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_names_each_tool_once() {
        let mut names: Vec<_> = list().into_iter().map(|tool| tool.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(all, 13 + 2 + 4 + 9 + 7);
    }
}

//! Tools that send the client a request of their own, as the revisions before 2026-07-28 allow.
//!
//! They need a session, so the server runs with `--sessions`. The newer way is in `mrtr`.
//! Invariant: a client that cannot answer gets a tool error, never a hanging call.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, CreateMessageRequestParams,
        ElicitRequestParams, ElicitationAction, SamplingMessage, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{
    content::{failure, object, text, unknown},
    tools::without_arguments,
};

/// How long a client may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the tools of this module.
pub(crate) fn list() -> Vec<Tool> {
    vec![
        with_text("test_sampling", "Asks the client's model", "prompt"),
        with_text("test_elicitation", "Asks the client's user", "message"),
        without_arguments(
            "test_elicitation_sep1034_defaults",
            "Asks with a default in every field",
        ),
        without_arguments("test_elicitation_sep1330_enums", "Asks with every form of choice"),
    ]
}

/// Says whether a tool belongs to this module.
pub(crate) fn has(name: &str) -> bool {
    list().iter().any(|tool| tool.name == name)
}

fn with_text(name: &'static str, about: &'static str, argument: &'static str) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {argument: {"type": "string", "description": "The text to send"}},
        "required": [argument]
    });
    Tool::new(name, about, object(schema))
}

/// Runs a tool of this module.
///
/// # Errors
/// Fails for a name that is not in `list`.
pub(crate) async fn call(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let argument = |key: &str| {
        let value = request.arguments.as_ref().and_then(|all| all.get(key));
        value.and_then(Value::as_str).unwrap_or("Hello").to_owned()
    };
    match request.name.as_ref() {
        "test_sampling" => Ok(sample(&argument("prompt"), context).await),
        "test_elicitation" => Ok(elicit(&argument("message"), user_form(), context).await),
        "test_elicitation_sep1034_defaults" => {
            Ok(elicit("Every field has a default", form_with_defaults(), context).await)
        }
        "test_elicitation_sep1330_enums" => {
            Ok(elicit("Choose one or several", form_with_choices(), context).await)
        }
        name => Err(unknown("tool", name)),
    }
}

/// Refuses a request whose client cannot sample.
///
/// # Errors
/// Names the missing capability.
pub(crate) fn require_sampling(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let declared = context.meta.client_capabilities().unwrap_or_default();
    if declared.sampling.is_some() {
        return Ok(());
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

async fn sample(prompt: &str, context: &RequestContext<RoleServer>) -> CallToolResult {
    let question = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    match tokio::time::timeout(ANSWER_TIMEOUT, context.peer.create_message(question)).await {
        Ok(Ok(answer)) => {
            let first = answer.message.content.first().and_then(|block| block.as_text());
            let said = first.map_or_else(|| "no text".to_owned(), |block| block.text.clone());
            text(format!("LLM response: {said}"))
        }
        Ok(Err(error)) => failure(format!("the client did not sample: {error}")),
        Err(_) => failure("the client did not answer in time"),
    }
}

async fn elicit(
    message: &str,
    form: Value,
    context: &RequestContext<RoleServer>,
) -> CallToolResult {
    let requested_schema = match serde_json::from_value(form) {
        Ok(schema) => schema,
        Err(error) => return failure(format!("the form is not a valid one: {error}")),
    };
    let question = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.into(),
        requested_schema,
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, context.peer.create_elicitation(question)).await {
        Ok(Ok(answer)) => {
            let action = match answer.action {
                ElicitationAction::Accept => "accept",
                ElicitationAction::Decline => "decline",
                ElicitationAction::Cancel => "cancel",
                _ => "unknown",
            };
            let given = answer.content.unwrap_or_default();
            text(format!("User response: action={action}, content={given}"))
        }
        Ok(Err(error)) => failure(format!("the client did not ask its user: {error}")),
        Err(_) => failure("the client did not answer in time"),
    }
}

fn user_form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"}
        },
        "required": ["username", "email"]
    })
}

fn form_with_defaults() -> Value {
    json!({"type": "object", "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {
            "type": "string",
            "description": "User status",
            "enum": ["active", "inactive", "pending"],
            "default": "active"
        },
        "verified": {"type": "boolean", "description": "Verification status", "default": true}
    }})
}

fn form_with_choices() -> Value {
    let titled = json!([
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"}
    ]);
    let plain = json!(["option1", "option2", "option3"]);
    json!({"type": "object", "properties": {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}}
    }})
}

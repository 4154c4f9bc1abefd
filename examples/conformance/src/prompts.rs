//! The prompts of the fixture, and the completion of their arguments.
//!
//! Invariant: completion offers only values that start with what was typed.

use rmcp::{
    ErrorData,
    model::{
        CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock,
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, ImageContent,
        InputRequiredResult, ListPromptsResult, Prompt, PromptArgument, PromptMessage, Reference,
        Role,
    },
};
use serde_json::Value;

use crate::{
    content::{PIXEL_PNG, text_resource, unknown},
    mrtr::{answer, field, form},
    server::CACHE_MS,
};

/// Returns every prompt.
pub(crate) fn list() -> ListPromptsResult {
    let argument = |name: &str, about: &str, required| {
        PromptArgument::new(name).with_description(about).with_required(required)
    };
    let arguments = vec![
        argument("arg1", "The first argument", true),
        argument("arg2", "The second argument", false),
    ];
    let prompts = vec![
        Prompt::new("test_simple_prompt", Some("Says one sentence"), None),
        Prompt::new("test_prompt_with_arguments", Some("Repeats its arguments"), Some(arguments)),
        Prompt::new("test_prompt_with_embedded_resource", Some("Carries a resource"), None),
        Prompt::new("test_prompt_with_image", Some("Carries a picture"), None),
        Prompt::new("test_input_required_result_prompt", Some("Asks for a context first"), None),
    ];
    ListPromptsResult { prompts, ..Default::default() }
        .with_ttl_ms(CACHE_MS)
        .with_cache_scope(CacheScope::Public)
}

/// Returns one prompt, or the input it still needs.
///
/// # Errors
/// Fails for an unknown name.
pub(crate) fn get(request: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let value = request.arguments.as_ref().and_then(|all| all.get(name));
        value.and_then(Value::as_str).unwrap_or_default()
    };
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![said("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => vec![said(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        ))],
        "test_prompt_with_embedded_resource" => {
            let uri = if argument("resourceUri").is_empty() {
                "test://example-resource"
            } else {
                argument("resourceUri")
            };
            let resource =
                text_resource(uri, "text/plain", "Embedded resource content for testing.");
            vec![
                PromptMessage::new(Role::User, ContentBlock::resource(resource)),
                said("Please process the embedded resource above."),
            ]
        }
        "test_prompt_with_image" => {
            let image = ContentBlock::Image(ImageContent::new(PIXEL_PNG, "image/png"));
            vec![PromptMessage::new(Role::User, image), said("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => return Ok(with_context(request)),
        name => return Err(unknown("prompt", name)),
    };
    Ok(GetPromptResult::new(messages).into())
}

fn said(text: impl Into<String>) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

fn with_context(request: &GetPromptRequestParams) -> GetPromptResponse {
    let Some(answer) = answer(request.input_responses.as_ref(), "user_context") else {
        let question = form("What context should the prompt use?", "context", "string");
        let inputs = [("user_context".to_owned(), question)].into_iter().collect();
        return InputRequiredResult::from_input_requests(inputs).into();
    };
    let context = field(answer, "context").and_then(Value::as_str).unwrap_or("none");
    GetPromptResult::new(vec![said(format!("The context is: {context}"))]).into()
}

/// Completes an argument of a prompt or of the resource template.
///
/// # Errors
/// Fails only if the candidates are more than the protocol allows.
pub(crate) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let candidates: &[&str] = match (&request.r#ref, request.argument.name.as_str()) {
        (Reference::Prompt(_), "arg1" | "arg2") => &["paris", "park", "party", "test"],
        (Reference::Resource(_), "id") => &["1", "2", "3"],
        _ => &[],
    };
    let typed = request.argument.value.as_str();
    let fitting = candidates.iter().filter(|candidate| candidate.starts_with(typed));
    let values = CompletionInfo::new(fitting.map(ToString::to_string).collect())
        .map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(values))
}

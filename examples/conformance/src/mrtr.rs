//! Tools that answer with the inputs they still need, and finish when the client retries with them.
//!
//! Nothing is kept between the rounds: what must be remembered travels in a signed `requestState`.
//! Invariant: a state that this server did not sign is refused, and a client is asked only for
//! what it declared where the tool says so.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CreateMessageRequest, CreateMessageRequestParams,
        ElicitRequest, ElicitRequestParams, InputRequest, InputRequests, InputRequiredResult,
        InputResponses, ListRootsRequest, RequestStateCodec, SamplingMessage, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};

use crate::{
    content::{text, unknown},
    server::Fixture,
    tools::without_arguments,
};

const TOOLS: &[(&str, &str)] = &[
    ("test_input_required_result_elicitation", "Asks for the user's name"),
    ("test_input_required_result_sampling", "Asks for a sampled answer"),
    ("test_input_required_result_list_roots", "Asks for the client's roots"),
    ("test_input_required_result_request_state", "Remembers its stage in a signed state"),
    ("test_input_required_result_multiple_inputs", "Asks for three inputs at once"),
    ("test_input_required_result_multi_round", "Asks in two rounds"),
    ("test_input_required_result_tampered_state", "Refuses a state it did not sign"),
    ("test_input_required_result_capabilities", "Asks only for what the client declared"),
    ("test_streaming_elicitation", "Asks for a value, every time"),
];

/// Returns the tools of this module.
pub(crate) fn list() -> Vec<Tool> {
    TOOLS.iter().map(|(name, about)| without_arguments(name, about)).collect()
}

/// Says whether a tool belongs to this module.
pub(crate) fn has(name: &str) -> bool {
    TOOLS.iter().any(|(tool, _)| *tool == name)
}

/// Runs one round of a tool of this module.
///
/// # Errors
/// Fails for a state that was not signed here, and for a name that is not in `list`.
pub(crate) fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let given = request.input_responses.as_ref();
    let state = request.request_state.as_deref();
    match request.name.as_ref() {
        "test_input_required_result_elicitation" => Ok(greet(given)),
        "test_input_required_result_sampling" => Ok(capital(given)),
        "test_input_required_result_list_roots" => Ok(roots(given)),
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => confirm(&fixture.states, state),
        "test_input_required_result_multiple_inputs" => three_inputs(&fixture.states, given, state),
        "test_input_required_result_multi_round" => two_rounds(&fixture.states, state),
        "test_input_required_result_capabilities" => Ok(declared_only(given, context)),
        "test_streaming_elicitation" => {
            Ok(ask([("streaming_elicitation", form("Provide a value", "value", "string"))], None))
        }
        name => Err(unknown("tool", name)),
    }
}

/// Returns a response the client gave, if it has the shape of one.
///
/// A value that is not an object counts as missing, so that the client is asked again.
pub(crate) fn answer<'a>(
    given: Option<&'a InputResponses>,
    key: &str,
) -> Option<&'a Map<String, Value>> {
    given?.get(key)?.as_object()
}

/// Returns one field of an elicited form.
pub(crate) fn field<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    answer.get("content")?.get(name)
}

/// Returns a request for a form of one required field.
pub(crate) fn form(message: &str, field: &str, kind: &str) -> InputRequest {
    let schema = json!({
        "type": "object",
        "properties": {field: {"type": kind}},
        "required": [field]
    });
    InputRequest::Elicitation(ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.into(),
        requested_schema: serde_json::from_value(schema).expect("the schema above is a valid form"),
    }))
}

/// Returns the result that asks for inputs.
pub(crate) fn ask<const N: usize>(
    inputs: [(&'static str, InputRequest); N],
    state: Option<String>,
) -> CallToolResponse {
    InputRequiredResult::new(Some(requests(inputs)), state).into()
}

fn requests(inputs: impl IntoIterator<Item = (&'static str, InputRequest)>) -> InputRequests {
    inputs.into_iter().map(|(key, input)| (key.to_owned(), input)).collect()
}

fn sampling(question: &str) -> InputRequest {
    let question = SamplingMessage::user_text(question);
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(
        vec![question],
        100,
    )))
}

fn client_roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

fn name_form() -> InputRequest {
    form("What is your name?", "name", "string")
}

fn greet(given: Option<&InputResponses>) -> CallToolResponse {
    let Some(answer) = answer(given, "user_name") else {
        return ask([("user_name", name_form())], None);
    };
    let name = field(answer, "name").and_then(Value::as_str).unwrap_or("friend");
    text(format!("Hello, {name}!")).into()
}

fn capital(given: Option<&InputResponses>) -> CallToolResponse {
    let Some(answer) = answer(given, "capital_question") else {
        return ask([("capital_question", sampling("What is the capital of France?"))], None);
    };
    let said = answer.get("content").and_then(|content| content.get("text"));
    text(format!("The model said: {}", said.and_then(Value::as_str).unwrap_or("nothing"))).into()
}

fn roots(given: Option<&InputResponses>) -> CallToolResponse {
    let Some(answer) = answer(given, "client_roots") else {
        return ask([("client_roots", client_roots())], None);
    };
    let roots =
        answer.get("roots").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let uris: Vec<_> = roots.iter().filter_map(|root| root.get("uri")?.as_str()).collect();
    text(format!("The client's roots: {}", uris.join(", "))).into()
}

fn confirm(states: &RequestStateCodec, state: Option<&str>) -> Result<CallToolResponse, ErrorData> {
    let Some(state) = state else {
        let sealed = seal(states, &json!({"stage": "confirm"}))?;
        return Ok(ask([("confirm", form("Please confirm", "ok", "boolean"))], Some(sealed)));
    };
    open(states, state)?;
    Ok(text("state-ok: the state came back unchanged").into())
}

fn three_inputs(
    states: &RequestStateCodec,
    given: Option<&InputResponses>,
    state: Option<&str>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(state) = state {
        open(states, state)?;
        let complete = ["user_name", "greeting", "client_roots"]
            .iter()
            .all(|key| answer(given, key).is_some());
        if complete {
            return Ok(text("All three inputs arrived").into());
        }
    }
    let sealed = seal(states, &json!({"stage": "gather"}))?;
    let inputs = [
        ("user_name", name_form()),
        ("greeting", sampling("Generate a greeting")),
        ("client_roots", client_roots()),
    ];
    Ok(ask(inputs, Some(sealed)))
}

fn two_rounds(
    states: &RequestStateCodec,
    state: Option<&str>,
) -> Result<CallToolResponse, ErrorData> {
    let round = match state {
        None => 0,
        Some(state) => open(states, state)?.get("round").and_then(Value::as_u64).unwrap_or(0),
    };
    let question = match round {
        0 => ("step1", name_form()),
        1 => ("step2", form("What is your favourite colour?", "color", "string")),
        _ => return Ok(text("Both rounds are done").into()),
    };
    let sealed = seal(states, &json!({"round": round + 1}))?;
    Ok(ask([question], Some(sealed)))
}

fn declared_only(
    given: Option<&InputResponses>,
    context: &RequestContext<RoleServer>,
) -> CallToolResponse {
    if given.is_some() {
        return text("The inputs arrived").into();
    }
    let declared = context.meta.client_capabilities().unwrap_or_default();
    let possible = [
        (declared.elicitation.is_some(), "user_name", name_form()),
        (declared.sampling.is_some(), "greeting", sampling("Generate a greeting")),
        (declared.roots.is_some(), "client_roots", client_roots()),
    ];
    let inputs = possible.into_iter().filter(|input| input.0).map(|(_, key, input)| (key, input));
    let inputs = requests(inputs);
    if inputs.is_empty() {
        return text("The client declared nothing that could be asked for").into();
    }
    InputRequiredResult::from_input_requests(inputs).into()
}

fn seal(states: &RequestStateCodec, state: &Value) -> Result<String, ErrorData> {
    states.seal_json(state).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn open(states: &RequestStateCodec, sealed: &str) -> Result<Value, ErrorData> {
    states
        .open_json(sealed)
        .map_err(|_| ErrorData::invalid_params("requestState was not made by this server", None))
}

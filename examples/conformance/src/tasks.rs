//! Tools that may go on as tasks of the extension `io.modelcontextprotocol/tasks`.
//!
//! Those that ask nothing while they run are jobs of Roothold's library (`jobs`). The two that ask live
//! in this process's memory, in the SDK's own store.
//! Invariant: a client that did not declare the extension is never given a task.

use rmcp::{
    ErrorData, RoleServer, ServerHandler as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities,
        CreateTaskResult, Tool,
    },
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    content::{object, text, unknown},
    mrtr::{answer, ask, field, form},
    server::Fixture,
};

/// The tools that ask something while they run.
const ASKING: [&str; 2] = ["confirm_delete", "multi_input"];

/// Says what becomes of a call: whether a task may, must or never carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Support {
    Never,
    Optional,
    Required,
}

struct Fact {
    name: &'static str,
    about: &'static str,
    support: Support,
    arguments: &'static [(&'static str, &'static str)],
}

const fn fact(
    name: &'static str,
    about: &'static str,
    support: Support,
    arguments: &'static [(&'static str, &'static str)],
) -> Fact {
    Fact { name, about, support, arguments }
}

const TOOLS: &[Fact] = &[
    fact("greet", "Greets at once", Support::Never, &[("name", "string")]),
    fact(
        "slow_compute",
        "Waits as long as it is told",
        Support::Optional,
        &[("seconds", "number"), ("label", "string")],
    ),
    fact("failing_job", "Ends with a tool error", Support::Required, &[]),
    fact("protocol_error_job", "Ends with a protocol error", Support::Optional, &[]),
    fact(
        "confirm_delete",
        "Asks once before it ends",
        Support::Required,
        &[("filename", "string")],
    ),
    fact("multi_input", "Asks two things at once", Support::Required, &[]),
    fact("test_tool_with_task", "Asks first, then goes on as a task", Support::Required, &[]),
];

/// Returns the tools of this module.
pub(crate) fn list() -> Vec<Tool> {
    TOOLS.iter().map(definition).collect()
}

/// Says whether a tool belongs to this module.
pub(crate) fn has(name: &str) -> bool {
    TOOLS.iter().any(|tool| tool.name == name)
}

fn definition(fact: &Fact) -> Tool {
    let properties: serde_json::Map<_, _> =
        fact.arguments.iter().map(|(name, kind)| ((*name).into(), json!({"type": kind}))).collect();
    let schema = json!({"type": "object", "properties": properties});
    Tool::new(fact.name, fact.about, object(schema))
}

/// Runs a tool of this module, as a task where the client allows it.
///
/// # Errors
/// Fails for a name that is not in `list`, and where a tool needs a task and the client
/// did not declare the extension.
pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let fact = TOOLS
        .iter()
        .find(|tool| tool.name == request.name)
        .ok_or_else(|| unknown("tool", &request.name))?;
    let declared = context.client_capabilities().is_some_and(|all| all.supports_tasks());
    if fact.support == Support::Required && !declared {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    if fact.name == "test_tool_with_task"
        && answer(request.input_responses.as_ref(), "user_name").is_none()
    {
        return Ok(ask([("user_name", form("What is your name?", "name", "string"))], None));
    }
    if fact.support == Support::Never {
        return Ok(greet(&request).into());
    }
    if !ASKING.contains(&fact.name) {
        return fixture.jobs.call_tool(with_name(request), context.clone()).await;
    }
    let task = fixture.tasks.spawn(TaskOptions::default(), move |task| {
        Box::pin(async move {
            tokio::select! {
                () = task.cancelled() => Err(TaskExit::Cancelled),
                result = run_task(&request, &task) => result,
            }
        })
    });
    Ok(CreateTaskResult::new(task).into())
}

/// Puts the name that the client was asked for where a tool expects it.
fn with_name(mut request: CallToolRequestParams) -> CallToolRequestParams {
    let given = answer(request.input_responses.as_ref(), "user_name");
    let name = given.and_then(|answer| field(answer, "name")).cloned();
    if let Some(name) = name {
        request.arguments.get_or_insert_default().insert("name".to_owned(), name);
    }
    request
}

fn greet(request: &CallToolRequestParams) -> CallToolResult {
    text(format!("Hello, {}!", string(request, "name").unwrap_or("friend")))
}

/// Runs a tool inside its task, where it may ask for inputs.
async fn run_task(
    request: &CallToolRequestParams,
    task: &TaskContext,
) -> Result<CallToolResult, TaskExit> {
    match request.name.as_ref() {
        "confirm_delete" => {
            let file = string(request, "filename").unwrap_or("file.txt");
            let question = form(&format!("Delete {file}?"), "confirm", "boolean");
            let response = task.request_input("confirm", question).await?;
            let confirmed = response.as_object().and_then(|answer| field(answer, "confirm"));
            let confirmed = confirmed.and_then(Value::as_bool).unwrap_or(false);
            Ok(text(format!("confirm_delete({file}): confirmed = {confirmed}")))
        }
        "multi_input" => {
            let (a, b) = tokio::try_join!(
                task.request_input("input-a", form("Provide value A", "value", "string")),
                task.request_input("input-b", form("Provide value B", "value", "string")),
            )?;
            Ok(text(format!("multi_input: a = {}, b = {}", value(&a), value(&b))))
        }
        name => Err(TaskExit::Error(unknown("tool", name))),
    }
}

fn argument<'a>(request: &'a CallToolRequestParams, key: &str) -> Option<&'a Value> {
    request.arguments.as_ref()?.get(key)
}

fn string<'a>(request: &'a CallToolRequestParams, key: &str) -> Option<&'a str> {
    argument(request, key)?.as_str()
}

fn value(response: &Value) -> &str {
    response.pointer("/content/value").and_then(Value::as_str).unwrap_or("nothing")
}

//! Tools that may go on as tasks of the extension `io.modelcontextprotocol/tasks`.
//!
//! Tasks live in this process's memory, which is enough for a fixture.
//! Invariant: a client that did not declare the extension is never given a task.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities,
        CreateTaskResult, Tool,
    },
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    content::{failure, object, text, unknown},
    mrtr::{answer, ask, field, form},
    server::Fixture,
};

/// The longest that `slow_compute` may be told to take, in seconds.
const SECONDS_MAX: f64 = 60.0;

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
    if fact.support == Support::Never || !declared {
        return Ok(run_plain(&request).await?.into());
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

/// Runs the tools that never ask anything.
async fn run_plain(request: &CallToolRequestParams) -> Result<CallToolResult, ErrorData> {
    match request.name.as_ref() {
        "greet" => Ok(text(format!("Hello, {}!", string(request, "name").unwrap_or("friend")))),
        "slow_compute" => {
            let seconds = argument(request, "seconds").and_then(Value::as_f64).unwrap_or(1.0);
            let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, SECONDS_MAX) };
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            let label = string(request, "label").unwrap_or("compute");
            Ok(text(format!("slow_compute({label}) is done after {seconds} s")))
        }
        "failing_job" => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(failure("failing_job fails, as it is meant to"))
        }
        "protocol_error_job" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Err(ErrorData::internal_error("protocol_error_job fails, as it is meant to", None))
        }
        name => Err(unknown("tool", name)),
    }
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
        "test_tool_with_task" => {
            let given = answer(request.input_responses.as_ref(), "user_name");
            let name = given.and_then(|answer| field(answer, "name")).and_then(Value::as_str);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(text(format!("Hello, {}! (from a task)", name.unwrap_or("friend"))))
        }
        _ => run_plain(request).await.map_err(TaskExit::Error),
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

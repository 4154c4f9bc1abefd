//! Jobs as tasks of the protocol's extension `io.modelcontextprotocol/tasks`: each request is an
//! internal tool, so that the one call path decides and records it like everything else.
//!
//! **Invariant**: a task is its owner's alone; an id that is unknown, expired or somebody else's
//! has one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::model::{CancelTaskParams, DetailedTask, GetTaskParams, GetTaskResult, UpdateTaskParams};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use roothold_core::{Action, Actions, Fault, FaultKind, JobOwner, JobTarget, Permit, Verb};
use roothold_edge::{Caller, TaskListeners};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::look_up;
use super::shown::detailed_task;
use crate::call::Call;
use crate::catalog::Catalog;
use crate::handler::{Handler, Origin};
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::{CANCEL_JOB, GET_JOB};
use crate::{resources, wire};

const GET: &str = "tasks/get";
const UPDATE: &str = "tasks/update";
const CANCEL: &str = "tasks/cancel";
/// Telling of tasks to who listens to them, and finding out whether one may.
pub(super) const TELL: &str = "notifications/tasks";

/// Adds the internal tools.
pub(crate) fn add(catalog: &mut Catalog) {
    catalog.add(Get);
    catalog.add(Update);
    catalog.add(Cancel);
    catalog.add(Tell);
}

/// `tasks/get`.
pub(crate) async fn get_task(
    handler: &Handler,
    request: GetTaskParams,
    context: RequestContext<RoleServer>,
) -> Result<GetTaskResult, ErrorData> {
    let arguments = json!({"task_id": request.task_id});
    let found: One = call(handler, &context, GET, arguments).await?;
    Ok(GetTaskResult::new(found.task))
}

/// `tasks/update`.
pub(crate) async fn update_task(
    handler: &Handler,
    request: UpdateTaskParams,
    context: RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let arguments = json!({"task_id": request.task_id, "answers": request.input_responses});
    let _: Nothing = call(handler, &context, UPDATE, arguments).await?;
    Ok(())
}

/// `tasks/cancel`.
pub(crate) async fn cancel_task(
    handler: &Handler,
    request: CancelTaskParams,
    context: RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let arguments = json!({"task_id": request.task_id});
    let _: Nothing = call(handler, &context, CANCEL, arguments).await?;
    Ok(())
}

async fn call<T: DeserializeOwned>(
    handler: &Handler,
    context: &RequestContext<RoleServer>,
    tool: &'static str,
    arguments: Value,
) -> Result<T, ErrorData> {
    let origin = Origin::of(context);
    let called = resources::call_as(handler, &origin, tool, object(arguments), &context.ct).await;
    called.map_err(|fault| wire::task_error(&fault))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The tasks of those with these ids that the caller may follow, as they are.
pub(super) async fn tasks_of(
    handler: &Handler,
    origin: &Origin,
    ids: &[String],
    cancel: &CancellationToken,
) -> Result<Vec<DetailedTask>, Fault> {
    let arguments = object(json!({"task_ids": ids}));
    let found: Several = resources::call_as(handler, origin, TELL, arguments, cancel).await?;
    Ok(found.tasks)
}

impl TaskListeners for Handler {
    fn accept(
        &self,
        caller: Option<Arc<Caller>>,
        tasks: Vec<String>,
    ) -> BoxFuture<'static, Result<Vec<String>, ErrorData>> {
        let handler = self.clone();
        Box::pin(async move {
            let origin = match caller {
                Some(caller) => Origin::edge(caller, None),
                None => Origin::local("listen", None),
            };
            let cancel = CancellationToken::new();
            let found = tasks_of(&handler, &origin, &tasks, &cancel).await;
            let found = found.map_err(|fault| wire::task_error(&fault))?;
            Ok(found.into_iter().map(|task| task.task.task_id).collect())
        })
    }
}

fn own(verb: Verb, id: &str) -> Action {
    Action::job(verb, JobTarget { id: Some(id.to_owned()), owner: JobOwner::Caller })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    task_id: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct One {
    task: DetailedTask,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Several {
    tasks: Vec<DetailedTask>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}

fn internal<T>(value: T) -> Structured<T> {
    Structured { value, text: String::new(), note: None }
}

fn about(description: &'static str, effect: Effect) -> About {
    About { title: "Task", description, effect }
}

/// The task of a permit, as it is.
async fn task(call: &Call, permit: &Permit) -> Result<DetailedTask, Fault> {
    let found = look_up(call, permit).await?;
    let retention = call.engine().jobs.as_ref().map(|jobs| jobs.settings().retention());
    detailed_task(&found.job, retention.unwrap_or_default(), found.result().await?.as_deref())
}

struct Get;

impl Tool for Get {
    const NAME: &'static str = GET;
    const GRANTED_AS: &'static str = GET_JOB;
    type Input = Named;
    type Output = Structured<One>;

    fn about(&self) -> About {
        about("Get a task", Effect::Reads)
    }

    fn actions(&self, input: &Named) -> Result<Actions, Fault> {
        Ok(Actions::one(own(Verb::Read, &input.task_id)))
    }

    async fn run(&self, call: Call, permits: Permits, _: Named) -> Result<Self::Output, Fault> {
        Ok(internal(One { task: task(&call, &permits.one()?).await? }))
    }
}

struct Cancel;

impl Tool for Cancel {
    const NAME: &'static str = CANCEL;
    const GRANTED_AS: &'static str = CANCEL_JOB;
    type Input = Named;
    type Output = Structured<Nothing>;

    fn about(&self) -> About {
        about("Cancel a task", Effect::Writes { destructive: true, idempotent: true })
    }

    fn actions(&self, input: &Named) -> Result<Actions, Fault> {
        Ok(Actions::one(own(Verb::Write, &input.task_id)))
    }

    async fn run(&self, call: Call, permits: Permits, _: Named) -> Result<Self::Output, Fault> {
        super::cancel(&call, &permits.one()?).await?;
        Ok(internal(Nothing {}))
    }
}

struct Update;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Answers {
    task_id: String,
    #[expect(dead_code, reason = "they have their shape; see `run`")]
    answers: BTreeMap<String, Value>,
}

impl Tool for Update {
    const NAME: &'static str = UPDATE;
    const GRANTED_AS: &'static str = GET_JOB;
    type Input = Answers;
    type Output = Structured<Nothing>;

    fn about(&self) -> About {
        about("Answer what a task asks", Effect::Writes { destructive: false, idempotent: true })
    }

    fn actions(&self, input: &Answers) -> Result<Actions, Fault> {
        Ok(Actions::one(own(Verb::Write, &input.task_id)))
    }

    async fn run(&self, call: Call, permits: Permits, _: Answers) -> Result<Self::Output, Fault> {
        look_up(&call, &permits.one()?).await?;
        Ok(internal(Nothing {}))
    }
}

struct Tell;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listened {
    task_ids: Vec<String>,
}

impl Tool for Tell {
    const NAME: &'static str = TELL;
    const GRANTED_AS: &'static str = GET_JOB;
    const INDEPENDENT: bool = true;
    type Input = Listened;
    type Output = Structured<Several>;

    fn about(&self) -> About {
        about("Tell of tasks", Effect::Reads)
    }

    fn actions(&self, input: &Listened) -> Result<Actions, Fault> {
        let mut each = input.task_ids.iter().map(|id| own(Verb::Read, id));
        let first = each.next().ok_or_else(|| Fault::invalid("no task is named"))?;
        Ok(Actions::many(first, each))
    }

    async fn run(
        &self,
        call: Call,
        permits: Permits,
        input: Listened,
    ) -> Result<Self::Output, Fault> {
        let (count, tasks_max) = (input.task_ids.len(), call.limits().subscription_uris_max);
        if count > tasks_max {
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "{count} tasks are more than the {tasks_max} of one subscription; follow fewer"
                ),
            ));
        }
        let mut tasks = Vec::new();
        for permit in permits.each().flatten() {
            match task(&call, &permit).await {
                Ok(task) => tasks.push(task),
                Err(fault) if fault.kind() == FaultKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(internal(Several { tasks }))
    }
}

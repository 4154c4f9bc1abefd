//! One call of one tool in this process, the way that every call takes, which Ctrl-C cancels.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use roothold_core::{Fault, Principal};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::super::say;
use super::bar::Bar;
use crate::builder::{Builder, Roothold};
use crate::call::{CallError, CallRequest, Dialogue, ProgressSink, panicked};
use crate::telemetry::TraceFrom;
use crate::tool::Answer;
use crate::wire::text_of;

/// How long threads that still work for a call have to notice that it has ended.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls the tool, and returns the value that it answers, or why it was refused.
///
/// # Errors
/// When no server can be made of the configuration.
pub(super) fn call(
    builder: Builder,
    tool: &str,
    arguments: Map<String, Value>,
    bar: &Arc<Bar>,
) -> anyhow::Result<Result<Value, String>> {
    let server = builder.build()?;
    let mut builder =
        super::super::runtime(&server.config, tokio::runtime::Builder::new_multi_thread());
    let runtime = builder.build()?;
    let answer = runtime.block_on(watched(&server, tool, arguments, bar));
    let audit = server.engine.audit.close();
    drop(server);
    if matches!(answer, Ok(None)) {
        // What still works for the call ends with the process. Taken down beside it, a runtime has
        // each of its threads panic.
        std::mem::forget(runtime);
    } else {
        runtime.shutdown_timeout(END_TIMEOUT);
    }
    let answer = answer?;
    audit.map_err(|error| anyhow!("audit.dir: {error}"))?;
    Ok(match answer {
        Some(answer) => answer.map(value).map_err(|fault| text_of(&fault)),
        None => Err("ended at once; what it had begun may be left behind".to_owned()),
    })
}

/// The call, with the signals that end it: the first cancels it and lets it clean up, the second
/// does not wait for that, and then there is no answer.
async fn watched(
    server: &Roothold,
    tool: &str,
    arguments: Map<String, Value>,
    bar: &Arc<Bar>,
) -> anyhow::Result<Option<Result<Answer, Fault>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancel = CancellationToken::new();
    let hear = Arc::clone(bar);
    let request = CallRequest {
        principal: &Principal::local(),
        request_id: "process".into(),
        method: "tools/call",
        tool,
        arguments,
        cancel: &cancel,
        progress: Some(ProgressSink::here(move |progress| hear.tell(&progress))),
        takes_tasks: false,
        dialogue: Dialogue::default(),
        within: None,
        job: None,
        trace: TraceFrom::default(),
    };
    let mut called = std::pin::pin!(server.engine.call(request));
    loop {
        tokio::select! {
            biased;
            answer = &mut called => return Ok(Some(answer.map_err(fault))),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            return Ok(None);
        }
        bar.end();
        say("stopping; a second time ends at once");
        cancel.cancel();
    }
}

fn fault(error: CallError) -> Fault {
    match error {
        CallError::Fault(fault) => fault,
        CallError::UnknownTool => Fault::internal("the tool is in the catalog and was not found"),
        CallError::Panicked => panicked(),
        CallError::NeedsTasks => Fault::internal("the tool wants a task"),
    }
}

/// The structured form of the answer; a long tool's stands in `result`.
fn value(answer: Answer) -> Value {
    let mut value = answer.structured.map(|form| form.value()).unwrap_or_default();
    match value.get_mut("result") {
        Some(result) if result.is_object() => result.take(),
        _ => value,
    }
}

//! A job as its owner reads it: for the tools, and as a task of the protocol.

use std::time::Duration;

use jiff::Timestamp;
use rmcp::model::{
    CallToolResult, ContentBlock, DetailedTask, JsonObject, Task, TaskPayload, TaskStatus,
};
use roothold_core::{Fault, FaultKind};
use roothold_state::{Failure, Job, JobState, UnixMillis};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::wire;

/// How often a client should ask for a task that goes on.
const POLL_INTERVAL_MS: u64 = 1000;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct JobShown {
    pub(crate) job_id: String,
    pub(crate) tool: String,
    /// `queued`, `running`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    progress: Progress,
    submitted_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Until when it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Progress {
    chunks: u64,
    bytes_done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
    rows: u64,
}

/// A job as its owner sees it.
pub(crate) fn shown(job: &Job) -> JobShown {
    JobShown {
        job_id: job.id.to_string(),
        tool: job.kind.clone(),
        status: job.state.as_str(),
        owner: None,
        message: job.message.clone(),
        error: job.failure.as_ref().map(failure_text),
        progress: Progress {
            chunks: job.chunks,
            bytes_done: job.progress.bytes_done,
            bytes_total: job.progress.bytes_total,
            rows: job.progress.rows,
        },
        submitted_at: time(job.submitted_at),
        updated_at: time(job.updated_at),
        ended_at: job.ended_at.map(time),
        expires_at: job.expires_at.map(time),
    }
}

/// A job as one sees it who manages the jobs of others: nothing of what it is about.
pub(crate) fn shown_to_manager(job: &Job) -> JobShown {
    let kind = job.failure.as_ref().map(|failure| failure.kind.code().to_owned());
    JobShown { owner: Some(job.owner.clone()), message: None, error: kind, ..shown(job) }
}

impl JobShown {
    /// The same in one line.
    pub(crate) fn line(&self) -> String {
        let Self { job_id, tool, status, progress, .. } = self;
        let owner = self.owner.as_ref().map(|owner| format!(" of {owner}"));
        let bytes = match progress.bytes_total {
            Some(total) => Some(format!(", {} of {total} bytes", progress.bytes_done)),
            None => (progress.bytes_done > 0).then(|| format!(", {} bytes", progress.bytes_done)),
        };
        let rows = (progress.rows > 0).then(|| format!(", {} rows", progress.rows));
        let message = self.message.as_ref().map(|message| format!("; {message}"));
        let error = self.error.as_ref().map(|error| format!("; error: {error}"));
        let more: String = [owner, bytes, rows, message, error].into_iter().flatten().collect();
        format!("{job_id} {tool} {status}{more}")
    }
}

/// What was stored of a job as value and as text, and whether it is a result: that of a `tools/call`,
/// whose structured form counts, or its blocks where it has none.
pub(crate) fn answered(mut stored: Value) -> (Value, String, bool) {
    let Some(content) = stored.get("content").filter(|content| content.is_array()) else {
        let text = stored.to_string();
        return (stored, text, false);
    };
    let texts = content.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
    let text = texts.collect::<Vec<_>>().join("\n");
    let value = match stored["structuredContent"].take() {
        Value::Null => stored["content"].take(),
        // It stands in `result` here too.
        mut structured => match structured.get_mut("result") {
            Some(result) => result.take(),
            None => structured,
        },
    };
    (value, text, true)
}

fn failure_text(failure: &Failure) -> String {
    format!("{}: {}", failure.kind.code(), failure.public)
}

fn time(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// A job as a task: its head, as the answer that begins it has it.
pub(crate) fn task(job: &Job, retention: Duration) -> Task {
    let status = match job.state {
        JobState::Queued | JobState::Running => TaskStatus::Working,
        JobState::Failed if is_defect(job) => TaskStatus::Failed,
        // A call that fails answers with an error that the agent reads, and so does its task.
        JobState::Completed | JobState::Failed => TaskStatus::Completed,
        JobState::Cancelled => TaskStatus::Cancelled,
    };
    let mut task =
        Task::new(job.id.to_string(), status, time(job.submitted_at), time(job.updated_at))
            .with_ttl_ms(ttl_ms(job, retention))
            .with_poll_interval_ms(POLL_INTERVAL_MS);
    task.status_message = match &job.failure {
        Some(failure) => Some(failure.public.clone()),
        None => job.message.clone().or_else(|| waiting(job)),
    };
    task
}

fn waiting(job: &Job) -> Option<String> {
    (job.state == JobState::Queued).then(|| "waiting for its turn".to_owned())
}

/// From its submission on: as long as it lives, what it would be kept if it ended now, which only
/// grows.
fn ttl_ms(job: &Job, retention: Duration) -> u64 {
    let until = job.expires_at.unwrap_or_else(|| job.updated_at.plus(retention));
    u64::try_from(until.0.saturating_sub(job.submitted_at.0)).unwrap_or_default().max(1)
}

fn is_defect(job: &Job) -> bool {
    job.failure.as_ref().is_some_and(|failure| failure.kind == FaultKind::Internal)
}

/// A job as a task, whole. `result` is what it was completed with.
///
/// # Errors
/// `Internal`, if what is stored cannot be read.
pub(crate) fn detailed_task(
    job: &Job,
    retention: Duration,
    result: Option<&[u8]>,
) -> Result<DetailedTask, Fault> {
    let payload = match (job.state, &job.failure) {
        (JobState::Queued | JobState::Running, _) => TaskPayload::Working,
        (JobState::Cancelled, _) => TaskPayload::Cancelled,
        (JobState::Failed, Some(failure)) if failure.kind != FaultKind::Internal => {
            TaskPayload::Completed { result: failed_call(failure)? }
        }
        (JobState::Failed, failure) => {
            let message = failure.as_ref().map_or("the job failed", |failure| &failure.public);
            TaskPayload::Failed { error: object(json!({"code": -32603, "message": message})) }
        }
        (JobState::Completed, _) => {
            let result =
                result.ok_or_else(|| Fault::internal("a completed job without a result"))?;
            let result = serde_json::from_slice(result).map_err(Fault::internal)?;
            TaskPayload::Completed { result }
        }
    };
    Ok(DetailedTask::new(task(job, retention), payload))
}

/// What the call would have answered.
fn failed_call(failure: &Failure) -> Result<JsonObject, Fault> {
    let mut result = CallToolResult::error(vec![ContentBlock::text(failure_text(failure))]);
    result.meta = Some(wire::meta_of_kind(failure.kind, None));
    serde_json::to_value(result).map(object).map_err(Fault::internal)
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

#[cfg(test)]
mod tests {
    use roothold_state::{JobId, Progress as Done};

    use super::*;

    const RETENTION: Duration = Duration::from_hours(1);

    fn job(state: JobState) -> Job {
        let failed = Failure { kind: FaultKind::Denied, public: "not for you".to_owned() };
        let at = |seconds: i64| UnixMillis(1_700_000_000_000 + seconds * 1000);
        Job {
            id: JobId::from_bytes([7; 16]),
            seq: 1,
            owner: "anna".to_owned(),
            kind: "count_lines".to_owned(),
            state,
            cancel_asked: false,
            epoch: 1,
            attempts: 1,
            attempts_max: 5,
            worker: None,
            next: 3,
            chunks: 3,
            parts: 0,
            progress: Done { bytes_done: 5, bytes_total: Some(10), rows: 2 },
            message: Some("Processed: a secret".to_owned()),
            failure: (state == JobState::Failed).then_some(failed),
            submitted_at: at(0),
            started_at: Some(at(1)),
            updated_at: at(60),
            deadline_at: at(86_400),
            ended_at: (!state.is_live()).then(|| at(60)),
            expires_at: (!state.is_live()).then(|| at(60 + 3600)),
        }
    }

    #[test]
    fn a_job_is_the_task_that_its_call_would_have_answered() {
        let result = br#"{"content":[]}"#;
        for (state, status, field) in [
            (JobState::Queued, "working", None),
            (JobState::Running, "working", None),
            (JobState::Completed, "completed", Some("result")),
            (JobState::Failed, "completed", Some("result")),
            (JobState::Cancelled, "cancelled", None),
        ] {
            let task = detailed_task(&job(state), RETENTION, Some(result)).unwrap();
            let task = serde_json::to_value(task).unwrap();
            assert_eq!(task["status"], status, "{task}");
            for key in ["result", "error", "inputRequests"] {
                assert_eq!(task.get(key).is_some(), field == Some(key), "{key} of {task}");
            }
            assert_eq!(task["ttlMs"], 3_660_000, "what it is kept at least");
        }
        let failed = detailed_task(&job(JobState::Failed), RETENTION, None).unwrap();
        let failed = serde_json::to_value(failed).unwrap();
        assert_eq!(
            (&failed["result"]["isError"], &failed["statusMessage"]),
            (&json!(true), &json!("not for you"))
        );
        let mut defect = job(JobState::Failed);
        defect.failure = Some(Failure { kind: FaultKind::Internal, public: "its log".to_owned() });
        let defect =
            serde_json::to_value(detailed_task(&defect, RETENTION, None).unwrap()).unwrap();
        assert_eq!(
            (&defect["status"], &defect["error"]["code"]),
            (&json!("failed"), &json!(-32603))
        );
        assert!(detailed_task(&job(JobState::Completed), RETENTION, None).is_err());
    }

    #[test]
    fn who_manages_jobs_sees_nothing_of_what_they_are_about() {
        for state in JobState::ALL {
            let seen = serde_json::to_string(&shown_to_manager(&job(state))).unwrap();
            assert!(!seen.contains("secret") && !seen.contains("not for you"), "{seen}");
            assert!(seen.contains("anna"), "{seen}");
        }
    }
}

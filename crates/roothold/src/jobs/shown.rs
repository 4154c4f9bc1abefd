//! A job as its owner reads it: for the tools, and as a task of the protocol.

use std::time::Duration;

use jiff::Timestamp;
use rmcp::model::{
    CallToolResult, ContentBlock, DetailedTask, JsonObject, MetaObject, Task, TaskPayload,
    TaskStatus,
};
use roothold_core::{Fault, FaultKind};
use roothold_state::{Failure, Job, JobState, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::long::Chunk;
use crate::plain::{bytes, counted};
use crate::tool::Answer;
use crate::wire;

/// How often a client should ask for a task that goes on.
const POLL_INTERVAL_MS: u64 = 1000;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct JobShown {
    pub(crate) job_id: String,
    pub(crate) tool: String,
    /// What it works on, as its call named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
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

/// How far a job is, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Progress {
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
        about: job.about.clone(),
        status: job.state.as_str(),
        owner: None,
        message: job.message.clone(),
        error: job.failure.as_ref().map(failure_text),
        progress: Progress::of(job),
        submitted_at: time(job.submitted_at),
        updated_at: time(job.updated_at),
        ended_at: job.ended_at.map(time),
        expires_at: job.expires_at.map(time),
    }
}

/// A job as one sees it who manages the jobs of others: nothing of what it is about.
pub(crate) fn shown_to_manager(job: &Job) -> JobShown {
    let kind = job.failure.as_ref().map(|failure| failure.kind.code().to_owned());
    let owner = Some(job.owner.clone());
    JobShown { owner, about: None, message: None, error: kind, ..shown(job) }
}

impl JobShown {
    /// The same in one line.
    pub(crate) fn line(&self) -> String {
        let Self { job_id, tool, status, submitted_at, .. } = self;
        let about = self.about.as_ref().map(|about| format!(" ({about})")).unwrap_or_default();
        let owner = self.owner.as_ref().map(|owner| format!(" of {owner}")).unwrap_or_default();
        let message = self.message.as_deref();
        let is_told = message.is_some_and(|message| self.progress.is_told_by(message));
        let figures = if is_told { String::new() } else { self.progress.text() };
        let far = [figures.as_str(), message.unwrap_or_default()];
        let far: String =
            far.iter().filter(|far| !far.is_empty()).map(|far| format!("; {far}")).collect();
        let error = self.error.as_ref().map(|error| format!("; error: {error}"));
        let error = error.unwrap_or_default();
        format!("{job_id} {tool}{about} {status}{owner}, submitted {submitted_at}{far}{error}")
    }
}

impl Progress {
    /// How far a job is.
    pub(crate) fn of(job: &Job) -> Self {
        Self {
            chunks: job.chunks,
            bytes_done: job.progress.bytes_done,
            bytes_total: job.progress.bytes_total,
            rows: job.progress.rows,
        }
    }

    fn bytes(&self) -> Option<String> {
        let done = bytes(self.bytes_done);
        let Some(total) = self.bytes_total else { return (self.bytes_done > 0).then_some(done) };
        let permille = self.bytes_done.saturating_mul(1000).checked_div(total).unwrap_or(1000);
        Some(format!("{done} of {} ({}.{} %)", bytes(total), permille / 10, permille % 10))
    }

    fn rows(&self) -> Option<String> {
        (self.rows > 0).then(|| counted(self.rows, "row", "rows"))
    }

    /// In words; empty where there is nothing to tell.
    pub(crate) fn text(&self) -> String {
        [self.bytes(), self.rows()].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether what a chunk said tells it all, in the tool's own words.
    pub(crate) fn is_told_by(&self, message: &str) -> bool {
        self.bytes().is_some_and(|bytes| message.contains(&bytes))
    }
}

/// Where a stored partial result tells how far the job was.
const PROGRESS: &str = "io.roothold/progress";

/// What a job has found by the end of a chunk, as it is stored: as the answer of its call would be.
///
/// # Errors
/// `Internal`.
pub(crate) fn stored_partial(answer: Answer, chunk: &Chunk) -> Result<Vec<u8>, Fault> {
    let mut result = wire::tool_result(answer, None);
    let progress = json!({
        "chunks": chunk.next, "bytes_done": chunk.bytes_done, "bytes_total": chunk.bytes_total, "rows": chunk.rows,
    });
    let mut meta = MetaObject::default();
    meta.insert(PROGRESS.to_owned(), progress);
    result.meta = Some(meta);
    serde_json::to_vec(&result).map_err(Fault::internal)
}

/// What was stored of a job's result, or of what it had found by some chunk.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) value: Value,
    /// The same for people.
    pub(crate) text: String,
    /// How far the job was then; of a result, and of what older versions stored, it is not told.
    pub(crate) after: Option<Progress>,
}

impl Answered {
    /// What stands above the text of a partial result.
    pub(crate) fn heading(&self) -> String {
        let told = self.after.as_ref().map(|after| [after.rows(), after.bytes()]);
        let told: Vec<String> = told.into_iter().flatten().flatten().collect();
        if told.is_empty() {
            return "partial".to_owned();
        }
        format!("partial, after {}", told.join(", "))
    }
}

/// What was stored of a job: a result of a `tools/call`, whose structured form counts, or its blocks
/// where it has none.
pub(crate) fn answered(mut stored: Value) -> Answered {
    let Some(content) = stored.get("content").filter(|content| content.is_array()) else {
        let text = stored.to_string();
        return Answered { value: stored, text, after: None };
    };
    let after = stored["_meta"].get(PROGRESS).cloned();
    let after = after.and_then(|after| serde_json::from_value(after).ok());
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
    Answered { value, text, after }
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
    use crate::form::Form;

    const RETENTION: Duration = Duration::from_hours(1);

    fn job(state: JobState) -> Job {
        let failed = Failure { kind: FaultKind::Denied, public: "not for you".to_owned() };
        let at = |seconds: i64| UnixMillis(1_700_000_000_000 + seconds * 1000);
        Job {
            id: JobId::from_bytes([7; 16]),
            seq: 1,
            owner: "anna".to_owned(),
            kind: "count_lines".to_owned(),
            about: Some("/work/secret.txt".to_owned()),
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
            let line = shown_to_manager(&job(state)).line();
            assert!(!line.contains("secret") && line.contains("of anna"), "{line}");
            assert!(line.contains("; 5 B of 10 B (50.0 %), 2 rows"), "{line}");
        }
    }

    #[test]
    fn a_line_tells_jobs_apart_and_how_far_they_are_once() {
        let running = job(JobState::Running);
        let id = running.id;
        assert_eq!(
            shown(&running).line(),
            format!(
                "{id} count_lines (/work/secret.txt) running, submitted 2023-11-14T22:13:20Z; 5 B of 10 B (50.0 %), 2 rows; Processed: a secret"
            )
        );
        let told = "Processed: 5 B of 10 B (50.0 %), 2 rows, 1 bad";
        let once = shown(&Job { message: Some(told.to_owned()), ..running.clone() }).line();
        assert!(once.ends_with(&format!("20Z; {told}")), "{once}");
        let failed = shown(&job(JobState::Failed)).line();
        assert!(failed.ends_with("; error: denied: not for you"), "{failed}");
        let mut silent = shown(&Job { message: None, about: None, ..running });
        assert!(silent.line().ends_with("20Z; 5 B of 10 B (50.0 %), 2 rows"), "{}", silent.line());
        silent.progress = Progress { chunks: 0, bytes_done: 0, bytes_total: None, rows: 0 };
        assert!(silent.line().ends_with("running, submitted 2023-11-14T22:13:20Z"));
    }

    #[test]
    fn what_a_job_has_found_reads_as_its_answer_will_and_says_after_how_much() {
        let answer = || {
            let text = vec![ContentBlock::text("3326 lines")];
            let value = json!({"result": {"lines": 3326}});
            Answer::new(text, Some(Form::Typed(Box::new(value))))
        };
        let chunk = Chunk { next: 2, bytes_done: 4_200_000, rows: 3326, ..Chunk::default() };
        let stored = stored_partial(answer(), &chunk).unwrap();
        let found = answered(serde_json::from_slice(&stored).unwrap());
        assert_eq!((&found.value, found.text.as_str()), (&json!({"lines": 3326}), "3326 lines"));
        assert_eq!(found.heading(), "partial, after 3,326 rows, 4.2 MB");
        let result = serde_json::to_value(wire::tool_result(answer(), None)).unwrap();
        let result = answered(result);
        assert_eq!((result.value, result.text), (found.value, found.text));
        // As versions before stored it.
        let old = answered(json!({"lines": 7}));
        assert_eq!((old.text.as_str(), old.heading().as_str()), ("{\"lines\":7}", "partial"));
    }
}

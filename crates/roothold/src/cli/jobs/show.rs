//! `roothold jobs show`.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use roothold_state::{Content, Job, JobId, StateStore as _, UnixMillis, Whose};
use serde_json::{Value, json};

use super::super::table::{counted, line};
use super::super::{print, say};
use super::stores::{Opened, find};
use super::{Which, progress, status, value};
use crate::jobs::{Answered, Progress, answered};

/// Shows how far a job is, why it failed, and what it has found.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The job's id, as `roothold jobs list` shows it.
    #[arg(value_name = "ID")]
    id: JobId,
    #[command(flatten)]
    which: Which,
    /// Print all of it as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How many parts are asked for at once.
const PARTS_AT_ONCE: u32 = 100;
/// How many parts are shown to people.
const PARTS_SHOWN: usize = 100;

/// What a job has found.
#[derive(Default)]
struct Found {
    /// What its call answered, or would answer by now.
    answer: Option<Answered>,
    /// It is the answer.
    is_result: bool,
    parts: Vec<Value>,
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<u8> {
        let stores = self.which.open().await?;
        let Some((opened, job)) = find(&stores, self.id, self.which.whose()).await? else {
            say(&not_there(self.id, &self.which));
            return Ok(1);
        };
        let found = Found::of(opened, &job).await?;
        if self.json {
            let mut all = json!({ "job": value(&job), "store": opened.to_string() });
            if let Some(answer) = found.answer {
                if !found.is_result {
                    all["partial_after"] = json!(answer.after);
                }
                all[if found.is_result { "result" } else { "partial" }] = answer.value;
            }
            all["parts"] = found.parts.into();
            print(&format!("{all:#}"));
        } else {
            print(&format!("{}{}", head(opened, &job), found.text()));
        }
        Ok(0)
    }
}

/// What is said of an id that is no job's.
pub(super) fn not_there(id: JobId, which: &Which) -> String {
    let owner = which.owner.as_ref().map(|owner| format!(" of {}", line(owner)));
    format!(
        "roothold: there is no job {id}{}; `roothold jobs list` names those that there are",
        owner.unwrap_or_default()
    )
}

impl Found {
    async fn of(opened: &Opened, job: &Job) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for content in [Content::Result, Content::Partial] {
            let stored = opened.store.content(job.id, Whose::Anyone, content).await?;
            if let Some(stored) = stored {
                found.answer = Some(answered(serde_json::from_slice(&stored)?));
                found.is_result = content == Content::Result;
                break;
            }
        }
        let mut from = 0;
        while from < job.parts {
            let parts = opened.store.parts(job.id, Whose::Anyone, from, PARTS_AT_ONCE).await?;
            if parts.is_empty() {
                break;
            }
            for part in parts {
                from += 1;
                found.parts.push(serde_json::from_slice(&part.content)?);
            }
        }
        Ok(found)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(answer) = &self.answer {
            let heading = if self.is_result { "result".to_owned() } else { answer.heading() };
            let _ = write!(text, "\n\n{heading}\n{}", lines(&answer.text));
        }
        if !self.parts.is_empty() {
            text.push_str("\n\nfound chunk by chunk");
        }
        for part in self.parts.iter().take(PARTS_SHOWN) {
            let _ = write!(text, "\n{}", line(&part.to_string()));
        }
        let omitted = self.parts.len().saturating_sub(PARTS_SHOWN);
        if omitted > 0 {
            let _ = write!(text, "\n… and {omitted} more; --json shows them");
        }
        text
    }
}

/// Lines of text that move no cursor, but on by tabs, which stand between the cells of rows.
fn lines(text: &str) -> String {
    let shown = |text: &str| text.split('\t').map(line).collect::<Vec<_>>().join("\t");
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}

/// The job itself, a line for each thing that is known of it.
fn head(opened: &Opened, job: &Job) -> String {
    let failure = job.failure.as_ref();
    let error = failure.map(|failure| format!("{}: {}", failure.kind.code(), failure.public));
    let message = job.message.clone();
    let is_told = message.as_ref().is_some_and(|message| Progress::of(job).is_told_by(message));
    let (far, message) =
        if is_told { (message.unwrap_or_default(), None) } else { (progress(job), message) };
    let message = message.filter(|message| *message != far);
    let progress = [far, counted(job.chunks, "chunk", "chunks")];
    let progress = progress.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
    let rows = [
        ("job", Some(job.id.to_string())),
        ("owner", Some(job.owner.clone())),
        ("tool", Some(job.kind.clone())),
        ("about", job.about.clone()),
        ("status", Some(status(job))),
        ("progress", Some(progress.join(", "))),
        ("message", message),
        ("error", error),
        ("worker", job.worker.clone()),
        ("claimed", claimed(job)),
        ("submitted", Some(time(job.submitted_at))),
        ("started", job.started_at.map(time)),
        ("updated", Some(time(job.updated_at))),
        ("ends by", job.state.is_live().then(|| time(job.deadline_at))),
        ("ended", job.ended_at.map(time)),
        ("kept until", job.expires_at.map(time)),
        ("store", Some(opened.to_string())),
    ];
    let rows = rows.into_iter().filter_map(|(name, text)| Some((name, text?)));
    rows.map(|(name, text)| format!("{name:<10}  {}", line(&text))).collect::<Vec<_>>().join("\n")
}

/// How often workers took the job up, each time going on from the last chunk, and how often that was
/// in vain.
fn claimed(job: &Job) -> Option<String> {
    if job.epoch == 0 {
        return None;
    }
    let times = counted(job.epoch, "time", "times");
    let (attempts, most) = (job.attempts, job.attempts_max);
    if !job.state.is_live() || attempts == 0 {
        return Some(times);
    }
    Some(format!("{times}; attempt {attempts} of {most} at the next chunk"))
}

/// A moment, to the second.
pub(super) fn time(at: UnixMillis) -> String {
    let at = Timestamp::from_second(at.0.div_euclid(1000));
    at.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_tabs_and_nothing_else_moves_the_cursor() {
        assert_eq!(lines("a\tb\n1\t\u{1b}[2J\r"), "a\tb\n1\t\\u{1b}[2J\\r");
    }
}

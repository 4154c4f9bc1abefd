//! `write_file`: a whole file, new or in place of what was there.

use roothold_core::files::{Precondition, Written, write};
use roothold_core::{Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DRY_RUN, change, fits, options, permits};
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct WriteFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file.
    path: String,
    /// Its new content.
    content: String,
    /// The hash that a read gave, or "none" for a new file.
    if_match: Option<String>,
    /// Only says what would happen.
    #[serde(alias = "dryRun")]
    dry_run: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Report {
    path: String,
    hash: String,
    bytes: u64,
    /// Whether there was no such file.
    created: bool,
    dry_run: bool,
    /// What of the old file could not be kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<&'static str>,
}

impl Tool for WriteFile {
    const NAME: &'static str = "write_file";
    const WRITES_FILES: bool = true;
    type Input = Input;
    type Output = Structured<Report>;

    fn about(&self) -> About {
        About {
            title: "Write File",
            description: "Writes a whole file as UTF-8, with the directories above it. Give if_match to lose nobody else's change.",
            effect: Effect::Writes { destructive: true, idempotent: true },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        let precondition = Precondition::parse(input.if_match.as_deref())?;
        change(&input.path, precondition.needs_read())
    }

    async fn run(&self, call: Call, given: Permits, input: Input) -> Result<Self::Output, Fault> {
        fits(&call, input.content.len())?;
        let (permit, read) = permits(given)?;
        let options = options(input.if_match.as_deref(), input.dry_run)?;
        let dry_run = options.dry_run;
        let content = input.content;
        let written = call
            .blocking(move |budget| {
                write(&permit, read.as_ref(), content.as_bytes(), &options, budget)
            })
            .await?;
        Ok(report(&input.path, written, dry_run))
    }
}

fn report(asked: &str, written: Written, dry_run: bool) -> Structured<Report> {
    let text = if dry_run {
        format!("Would write to {asked}{DRY_RUN}")
    } else {
        format!("Successfully wrote to {asked}")
    };
    let Written { path, hash, bytes, created, remarks } = written;
    let mut note = format!("hash={hash} bytes={bytes} created={created}");
    for remark in &remarks {
        note.push('\n');
        note.push_str(remark);
    }
    let value = Report { path, hash, bytes, created, dry_run, remarks };
    Structured { value, text, note: Some(note) }
}

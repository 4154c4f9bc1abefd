//! `edit_file`: texts in a file replaced by others, all or none, and what is different then.

use std::fmt::Write as _;

use roothold_core::files::{Edit, EditRequest, Edited, edit};
use roothold_core::{Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{change, fits, options, permits};
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::page::beside_note;

pub(in crate::tools) struct EditFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file.
    path: String,
    /// One after the other, all or none.
    #[schemars(length(min = 1, max = 1000))]
    edits: Vec<InputEdit>,
    /// Only says what would change.
    #[serde(rename = "dryRun", alias = "dry_run")]
    dry_run: Option<bool>,
    /// The hash that a read gave.
    if_match: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct InputEdit {
    /// The text to replace; it must be there once.
    old_text: String,
    /// What takes its place.
    new_text: String,
}

/// The most edits of one call.
const EDITS_MAX: usize = 1000;
/// How many edits a remark names.
const NAMED_MAX: usize = 20;
/// A longer run of backticks in a diff is not fenced with one that is longer still.
const FENCE_MAX: usize = 100;

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Report {
    path: String,
    hash: String,
    bytes: u64,
    changed: bool,
    dry_run: bool,
    /// Unified.
    diff: String,
    /// Lines of the diff that did not fit.
    diff_lines_omitted: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

impl Tool for EditFile {
    const NAME: &'static str = "edit_file";
    const WRITES_FILES: bool = true;
    type Input = Input;
    type Output = Structured<Report>;

    fn about(&self) -> About {
        About {
            title: "Edit File",
            description: "Replaces texts in a text file and gives the diff. Encoding and line ends stay. Give if_match \
                          to lose nobody else's change.",
            effect: Effect::Writes { destructive: true, idempotent: false },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        if input.edits.is_empty() || input.edits.len() > EDITS_MAX {
            return Err(Fault::invalid(format!("give 1 to {EDITS_MAX} edits")));
        }
        options(input.if_match.as_deref(), None)?;
        change(&input.path, true)
    }

    async fn run(&self, call: Call, given: Permits, input: Input) -> Result<Self::Output, Fault> {
        fits(&call, input.edits.iter().map(|edit| edit.new_text.len()).sum())?;
        let (permit, read) = permits(given)?;
        let read = read.ok_or_else(|| Fault::internal("an edit without the right to read"))?;
        let request = EditRequest {
            edits: input.edits.into_iter().map(Edit::from).collect(),
            options: options(input.if_match.as_deref(), input.dry_run)?,
            bytes_max: call.limits().write_bytes_max,
            // In the text form fences stand around it, and in the other the names of the values.
            diff_bytes_max: beside_note(&call).saturating_sub(2 * FENCE_MAX + FRAME_BYTES),
        };
        let dry_run = request.options.dry_run;
        let edited = call.blocking(move |budget| edit(&permit, &read, &request, budget)).await?;
        Ok(report(edited, dry_run))
    }
}

/// The names and the other values of the structured form, besides the path and the diff.
const FRAME_BYTES: usize = 512;

impl From<InputEdit> for Edit {
    fn from(edit: InputEdit) -> Self {
        Self { old: edit.old_text, new: edit.new_text }
    }
}

fn report(edited: Edited, dry_run: bool) -> Structured<Report> {
    let mut remarks: Vec<String> = edited.remarks.iter().map(ToString::to_string).collect();
    if !edited.tolerant.is_empty() {
        let shown: Vec<String> =
            edited.tolerant.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = if edited.tolerant.len() > NAMED_MAX { " and more" } else { "" };
        remarks.push(format!("matched apart from white space: edit {}{more}", shown.join(", ")));
    }
    let text = fenced(&edited.diff.text);
    let value = Report {
        path: edited.path,
        hash: edited.hash,
        bytes: edited.bytes,
        changed: edited.changed,
        dry_run,
        diff: edited.diff.text,
        diff_lines_omitted: edited.diff.omitted_lines,
        remarks,
    };
    let mut note = format!("hash={} bytes={} changed={}", value.hash, value.bytes, value.changed);
    if dry_run {
        note.push_str(" (dry run: nothing was changed)");
    }
    if value.diff_lines_omitted > 0 {
        let _ = write!(note, "\n{} more lines of diff did not fit", value.diff_lines_omitted);
    }
    for remark in &value.remarks {
        note.push('\n');
        note.push_str(remark);
    }
    Structured { value, text, note: Some(note) }
}

/// The diff between fences that are longer than any run of backticks in it.
fn fenced(diff: &str) -> String {
    let runs = diff.split(|c| c != '`').map(str::len);
    let fence = runs.max().map_or(3, |longest| (longest + 1).max(3));
    if fence > FENCE_MAX {
        return diff.to_owned();
    }
    let fence = "`".repeat(fence);
    format!("{fence}diff\n{diff}{fence}\n\n")
}

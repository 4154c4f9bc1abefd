//! `read_multiple_files`: the texts of many files in one answer; one that fails is said in its
//! place and fails no other.

use roothold_core::files::{Resume, TextPage, json_len, read_text_unhashed};
use roothold_core::{Action, Actions, Budget, Fault, FaultKind, FilePath, Permit, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{Call, Resumed};
use crate::tool::{About, Effect, Permits, Text, Tool};
use crate::tools::page::beside_note;
use crate::wire::text_of;

pub(in crate::tools) struct ReadMultipleFiles;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The files.
    #[schemars(length(min = 1, max = 1000))]
    paths: Vec<String>,
}

/// The most files in one call.
const PATHS_MAX: usize = 1000;
/// The least of a file's text that is worth a page.
const TEXT_BYTES_MIN: usize = 64;
const SEPARATOR: &str = "\n---\n";

/// The file that the page before ended in, and where in it.
#[derive(Serialize, Deserialize)]
struct Position {
    file: usize,
    within: Option<Resume>,
}

impl Tool for ReadMultipleFiles {
    const NAME: &'static str = "read_multiple_files";
    const PAGED: bool = true;
    const INDEPENDENT: bool = true;
    type Input = Input;
    type Output = Text;

    fn about(&self) -> About {
        About {
            title: "Read Multiple Files",
            description: "Reads the texts of several files. One that cannot be read fails only itself.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        actions_from(input, 0)
    }

    fn page_actions(&self, input: &Input, page: &Resumed<'_>) -> Result<Actions, Fault> {
        let position: Option<Position> = page.position()?;
        actions_from(input, position.map_or(0, |position| position.file))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Text, Fault> {
        let position: Option<Position> = call.resume()?;
        let first = position.as_ref().map_or(0, |position| position.file);
        let files: Vec<File> = input.paths.into_iter().skip(first).zip(permits.each()).collect();
        let room = beside_note(&call);
        let read =
            move |budget: &Budget| read_all(files, position, &budget.with_result_bytes_max(room));
        let (text, next) = call.blocking(read).await?;
        let next_cursor = next.map(|next| call.next_cursor(&next)).transpose()?;
        let note = next_cursor.map(|cursor| format!("truncated=true next_cursor={cursor}"));
        Ok(Text { text, note })
    }
}

/// The actions of a page that begins with the file at `first`.
fn actions_from(input: &Input, first: usize) -> Result<Actions, Fault> {
    if input.paths.is_empty() || input.paths.len() > PATHS_MAX {
        return Err(Fault::invalid(format!("give 1 to {PATHS_MAX} paths")));
    }
    let mut actions = input.paths.iter().skip(first).map(|path| match FilePath::parse(path) {
        Ok(path) => Action::file(Verb::Read, path),
        // It is said in the file's place; it must not fail the others.
        Err(_) => Action::named("not a path", Some("files:read")),
    });
    let Some(first) = actions.next() else {
        return Err(Fault::invalid("the cursor is behind the last of the paths"));
    };
    Ok(Actions::many(first, actions))
}

/// A path as it was asked for, and what policy said of it.
type File = (String, Result<Permit, Fault>);

/// Reads one page; `files` begins with the one at `position`.
fn read_all(
    files: Vec<File>,
    position: Option<Position>,
    budget: &Budget,
) -> Result<(String, Option<Position>), Fault> {
    let (first, mut within) =
        position.map_or((0, None), |position| (position.file, position.within));
    let (mut text, mut used) = (String::with_capacity(room_for(&files, budget)), 0);
    for (file, (path, permit)) in (first..).zip(files) {
        budget.check()?;
        let resumed = within.is_some();
        let head = json_len(&path) + SEPARATOR.len() * 2 + 8;
        let left = budget.result_bytes_max.saturating_sub(used + head);
        // A little room is not worth a fragment of a file; the next page has all of it.
        if file > first && left < budget.result_bytes_max.min(1024) {
            return Ok((text, Some(Position { file, within: None })));
        }
        if file == first && left < TEXT_BYTES_MIN {
            return Err(Fault::new(
                FaultKind::Limit,
                "not even the path fits; call again with a larger max_bytes",
            ));
        }
        if file > first {
            text.push_str(SEPARATOR);
        }
        let start = text.len();
        let page = read_one(&path, permit, within.take(), &budget.with_result_bytes_max(left));
        match page {
            Ok(page) => {
                let again = if resumed { " (continued)" } else { "" };
                text.extend([path.as_str(), again, ":\n", &page.text]);
                if let Some(resume) = page.resume {
                    return Ok((text, Some(Position { file, within: Some(resume) })));
                }
                text.push('\n');
            }
            Err(fault) if matches!(fault.kind(), FaultKind::Cancelled | FaultKind::Timeout) => {
                return Err(fault);
            }
            Err(fault) => text.extend([path.as_str(), ": Error - ", &text_of(&fault)]),
        }
        used += json_len(&text[start..]) + SEPARATOR.len() + 1;
    }
    Ok((text, None))
}

/// Room for a page, if there are as many files as fill one: growing step by step would touch twice
/// the memory.
fn room_for(files: &[File], budget: &Budget) -> usize {
    const FILE_BYTES: usize = 1024;
    budget.result_bytes_max.min(files.len() * FILE_BYTES)
}

fn read_one(
    path: &str,
    permit: Result<Permit, Fault>,
    within: Option<Resume>,
    budget: &Budget,
) -> Result<TextPage, Fault> {
    let permit = permit?;
    if permit.verb() != Verb::Read {
        // Why it is no path.
        FilePath::parse(path)?;
    }
    read_text_unhashed(&permit, within, budget)
}

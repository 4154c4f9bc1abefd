//! `read_text_file`, and `read_file`, its older name: a file's text, or a part of it, in pages.

use std::borrow::Cow;
use std::fmt::Write as _;

use roothold_core::files::{Encoding, Resume, TextPage, TextRange, read_text, read_text_at_once};
use roothold_core::{Action, Actions, Budget, Fault, FilePath, Verb};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Text, Tool};
use crate::tools::page::beside_note;

pub(in crate::tools) struct ReadTextFile;
pub(in crate::tools) struct ReadFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file.
    path: String,
    /// First lines.
    #[schemars(range(min = 1))]
    head: Option<u64>,
    /// Last lines.
    #[schemars(range(min = 1))]
    tail: Option<u64>,
    /// From this line, the first is 1.
    #[schemars(range(min = 1))]
    line_start: Option<u64>,
    /// To this line, included.
    #[schemars(range(min = 1))]
    line_end: Option<u64>,
    /// From this byte, the first is 0.
    byte_start: Option<u64>,
    /// To this byte, not included.
    byte_end: Option<u64>,
}

/// The same arguments under the older name; those that are not as old are listed once, and what all of
/// them mean is said once, at `read_text_file`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::tools) struct OlderInput(Input);

impl JsonSchema for OlderInput {
    fn schema_name() -> Cow<'static, str> {
        Input::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Input::json_schema(generator);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|argument, _| ["path", "head", "tail"].contains(&argument.as_str()));
            for argument in properties.values_mut().filter_map(Value::as_object_mut) {
                argument.remove("description");
            }
        }
        schema
    }
}

impl Input {
    fn range(&self) -> Result<TextRange, Fault> {
        let lines = self.line_start.is_some() || self.line_end.is_some();
        let bytes = self.byte_start.is_some() || self.byte_end.is_some();
        let kinds = [self.head.is_some(), self.tail.is_some(), lines, bytes];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err(Fault::invalid(
                "give only one of head, tail, a line range or a byte range",
            ));
        }
        if [self.head, self.tail, self.line_start, self.line_end].contains(&Some(0)) {
            return Err(Fault::invalid(
                "lines are counted from 1; give 1 or more, or leave the argument out",
            ));
        }
        let reversed = |start: Option<u64>, end: Option<u64>| {
            end.is_some_and(|end| start.is_some_and(|start| start > end))
        };
        if reversed(self.line_start, self.line_end) || reversed(self.byte_start, self.byte_end) {
            return Err(Fault::invalid("the range ends before it begins; swap its ends"));
        }
        Ok(match (self.head, self.tail) {
            (Some(lines), _) => TextRange::Head(lines),
            (_, Some(lines)) => TextRange::Tail(lines),
            _ if lines => TextRange::Lines(self.line_start.unwrap_or(1), self.line_end),
            _ if bytes => TextRange::Bytes(self.byte_start.unwrap_or(0), self.byte_end),
            _ => TextRange::Whole,
        })
    }
}

impl Tool for ReadTextFile {
    const NAME: &'static str = "read_text_file";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Text;

    fn about(&self) -> About {
        About {
            title: "Read Text File",
            description: "Reads a file's text, or a part of it. The second block has its hash, the range, and next_cursor when it was cut.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        input.range()?;
        Ok(Actions::one(Action::file(Verb::Read, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Text, Fault> {
        let permit = permits.one()?;
        let resume: Option<Resume> = call.resume()?;
        let range = input.range()?;
        let room = beside_note(&call);
        let budget = call.budget().with_result_bytes_max(room);
        let at_once = |_: &Budget| read_text_at_once(&permit, range, resume.as_ref(), &budget);
        let page = match call.at_once(at_once) {
            Some(page) => page?,
            None => call.blocking(move |_| read_text(&permit, range, resume, &budget)).await?,
        };
        let next_cursor =
            page.resume.as_ref().map(|resume| call.next_cursor(resume)).transpose()?;
        let note = about_page(&page, next_cursor.as_deref());
        Ok(Text { text: page.text, note: Some(note) })
    }
}

impl Tool for ReadFile {
    const NAME: &'static str = "read_file";
    const PAGED: bool = true;
    type Input = OlderInput;
    type Output = Text;

    fn about(&self) -> About {
        About {
            title: "Read File (older name)",
            description: "The older name of read_text_file, same arguments.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &OlderInput) -> Result<Actions, Fault> {
        Tool::actions(&ReadTextFile, &input.0)
    }

    async fn run(&self, call: Call, permits: Permits, input: OlderInput) -> Result<Text, Fault> {
        Tool::run(&ReadTextFile, call, permits, input.0).await
    }
}

/// The one line about a page of text.
fn about_page(page: &TextPage, next_cursor: Option<&str>) -> String {
    let (start, end) = page.bytes;
    let mut line = format!("hash={} bytes={start}-{end} size={}", page.hash, page.size);
    if let Some((first, last)) = page.lines {
        let _ = write!(line, " lines={first}-{last}");
    }
    // UTF-8 goes without saying.
    if page.encoding != Encoding::Utf8 {
        let _ = write!(line, " encoding={}", page.encoding.name());
    }
    if page.encoding == Encoding::Windows1252 {
        line.push_str(" (a guess; it is not UTF-8)");
    }
    if page.lossy {
        line.push_str(" lossy=true (bytes that are no text of its encoding are shown as U+FFFD)");
    }
    match next_cursor {
        None => line.push_str(" truncated=false"),
        Some(cursor) => {
            let _ = write!(line, " truncated=true next_cursor={cursor}");
        }
    }
    line
}

//! One page of what was found, in both forms.

use roothold_core::Fault;
use std::fmt::Write as _;

use roothold_core::files::{
    FoundFile, FoundLine, LineKind, Problem, Search, Shows, Taken, Taker, Totals, json_len,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{Call, Progress, Teller};
use crate::tool::Structured;
use crate::tools::page::{Room, Unreadable, note};

/// What the counts of a page take, and what its cursor holds besides a path.
const KEPT_BYTES: usize = 360;

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    files: Vec<File>,
    /// Matching lines, or files, so far.
    matches: u64,
    files_searched: u64,
    #[serde(skip_serializing_if = "is_zero")]
    binary_skipped: u64,
    #[serde(skip_serializing_if = "is_false")]
    max_matches_reached: bool,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Unreadable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems_omitted: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct File {
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// More than max_per_file.
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
}

#[derive(Serialize, JsonSchema)]
struct Line {
    #[serde(rename = "line")]
    number: u64,
    text: String,
    #[serde(skip_serializing_if = "is_false")]
    context: bool,
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What was counted on all pages so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Counted {
    /// Matching lines; for files and counts, files.
    #[serde(rename = "m")]
    matches: u64,
    #[serde(rename = "t")]
    totals: Totals,
}

/// Fills a page.
pub(super) struct Taking<'a> {
    room: Room,
    shows: Shows,
    has_context: bool,
    before: Counted,
    matches: u64,
    most: u64,
    reached: bool,
    files: Vec<File>,
    text: String,
    /// Files looked at when something was told last.
    told: u64,
    teller: &'a mut Teller,
}

impl<'a> Taking<'a> {
    pub(super) fn new(
        call: &Call,
        search: &Search,
        before: Counted,
        most: u64,
        teller: &'a mut Teller,
    ) -> Self {
        let mut room = Room::of(call);
        room.keep(KEPT_BYTES);
        let has_context = search.before + search.after > 0;
        let (shows, matches) = (search.shows, before.matches);
        let (reached, files, text, told) = (false, Vec::new(), String::new(), 0);
        Self { room, shows, has_context, before, matches, most, reached, files, text, told, teller }
    }

    /// What was counted with this page.
    pub(super) fn counted_with(&self, totals: &Totals) -> Counted {
        Counted { matches: self.matches, totals: self.sum(totals) }
    }

    fn sum(&self, totals: &Totals) -> Totals {
        let before = &self.before.totals;
        Totals { files: before.files + totals.files, binary: before.binary + totals.binary }
    }

    /// Takes as many lines of a file as fit and as are wanted.
    fn take_lines(&mut self, file: &FoundFile) -> Result<Taken, Fault> {
        for (told, line) in file.lines.iter().enumerate() {
            if self.matches >= self.most && line.kind != LineKind::After {
                self.reached = true;
                return Ok(Taken::Enough);
            }
            let bytes = line_bytes(line) + if told == 0 { file_bytes(file) } else { 0 };
            if !self.room.take(bytes, &file.below)? {
                return Ok(Taken::Lines(told));
            }
            if told == 0 {
                self.begin(file, None);
            }
            if self.has_context && told > 0 && file.lines[told - 1].number + 1 < line.number {
                self.text.push_str("--\n");
            }
            self.push(line);
        }
        if let Some(shown) = self.files.last_mut().filter(|_| file.more) {
            shown.more = true;
            self.text.push_str("(more)\n");
        }
        Ok(self.all_or_enough())
    }

    fn all_or_enough(&mut self) -> Taken {
        self.reached = self.matches >= self.most;
        if self.reached { Taken::Enough } else { Taken::All }
    }

    fn take_file(&mut self, file: &FoundFile) -> Result<Taken, Fault> {
        if !self.room.take(file_bytes(file), &file.below)? {
            return Ok(Taken::Lines(0));
        }
        let count = (self.shows == Shows::Counts).then_some(file.matches);
        self.begin(file, count);
        self.matches += 1;
        Ok(self.all_or_enough())
    }

    fn begin(&mut self, file: &FoundFile, count: Option<u64>) {
        if self.shows == Shows::Lines && !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&file.path);
        if let Some(count) = count {
            let _ = write!(self.text, ": {count}{}", if file.more { "+" } else { "" });
        }
        self.text.push('\n');
        let more = count.is_some() && file.more;
        self.files.push(File { path: file.path.clone(), lines: Vec::new(), count, more });
    }

    fn push(&mut self, line: &FoundLine) {
        let is_match = line.kind == LineKind::Match;
        self.matches += u64::from(is_match);
        let mark = if is_match { ':' } else { '-' };
        let _ = writeln!(self.text, "{}{mark}{}", line.number, line.text);
        let line = Line {
            number: line.number,
            text: line.text.clone(),
            context: !is_match,
            cut: line.cut,
        };
        if let Some(file) = self.files.last_mut() {
            file.lines.push(line);
        }
    }

    pub(super) fn page(
        self,
        counted: Counted,
        next_cursor: Option<String>,
        problems: (Vec<Problem>, usize),
        wants_files: bool,
    ) -> Structured<Page> {
        let (problems, omitted) = self.room.unreadable(problems);
        let note = note(next_cursor.as_deref(), &problems, omitted);
        let Counted { matches, totals } = counted;
        let mut text = self.text;
        if !text.is_empty() {
            text.push('\n');
        }
        let what = if self.shows == Shows::Lines { "matching lines" } else { "matching files" };
        let _ = match matches {
            0 => write!(text, "No matches found"),
            _ if self.reached => write!(text, "{matches} {what} (max_matches reached)"),
            _ => write!(text, "{matches} {what}"),
        };
        let _ = write!(text, "; {} files searched", totals.files);
        if totals.binary > 0 {
            let _ = write!(text, ", {} binary skipped", totals.binary);
        }
        if wants_files && totals == Totals::default() && next_cursor.is_none() {
            text.push_str("; include matched no file: `**/` before a glob looks at any depth");
        }
        let value = Page {
            files: self.files,
            matches,
            files_searched: totals.files,
            binary_skipped: totals.binary,
            max_matches_reached: self.reached,
            truncated: next_cursor.is_some(),
            next_cursor,
            problems,
            problems_omitted: (omitted > 0).then_some(omitted),
        };
        Structured { value, text, note }
    }
}

impl Taker for Taking<'_> {
    fn take(&mut self, file: &FoundFile) -> Result<Taken, Fault> {
        if self.shows == Shows::Lines { self.take_lines(file) } else { self.take_file(file) }
    }

    fn tell(&mut self, totals: &Totals) {
        let Totals { files, binary } = self.sum(totals);
        let done = files + binary;
        // Each message must tell of more than the one before.
        if done <= self.told {
            return;
        }
        let (matches, latest) = (self.matches, self.files.last().map(|file| &file.path));
        let was_told = self.teller.tell(|| {
            let mut said = format!("{files} files searched, {matches} matches");
            if let Some(path) = latest {
                said = format!("{said}, the latest in {path}");
            }
            #[expect(clippy::cast_precision_loss, reason = "for people to look at")]
            Progress { done: done as f64, total: None, message: Some(said) }
        });
        if was_told {
            self.told = done;
        }
    }
}

/// {"path":"…","lines":[],"count":…,"more":true},
fn file_bytes(file: &FoundFile) -> usize {
    json_len(&file.path) + 64
}

/// {"line":…,"text":"…","context":true,"cut":true},
fn line_bytes(line: &FoundLine) -> usize {
    let flags = if line.kind == LineKind::Match { 0 } else { 15 } + if line.cut { 11 } else { 0 };
    json_len(&line.text) + 42 + flags
}

//! Text in files, found in parallel and told in order.
//!
//! One thread walks and hands out the files in batches, in the order of the walk; others, and it
//! itself when enough is handed out, open and look at them. What was found is told in the order of
//! the walk all the same, so an answer does not depend on who was faster.
//!
//! It does not find what policy hides: the files are those that the walk shows and that can be
//! read, each opened from the handle of its directory by the rules of the gate.
//!
//! **Invariant**: what is kept of results at any time is bounded by the size of an answer and the
//! number of batches; a file is never in memory as a whole unless a match may span lines, and then
//! it is small.

mod batch;
mod crew;
mod drive;
mod ignored;
mod leash;
mod line;
mod pattern;
mod scan;
mod sink;
#[cfg(test)]
mod tests;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::walk::{Problem, Walk};
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::{self, Want};
use crate::path::shown;
use crate::pattern::PathGlobs;
use crate::policy::Permit;

use batch::{Note, Outcome, What};
use drive::Telling;
use leash::Leash;
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternSpec};
use scan::{Scanned, Scanner, Source};

/// The most lines of context on one side of a match.
pub const CONTEXT_LINES_MAX: usize = 100;

/// What is looked for, where, and what is told of it.
#[derive(Debug, Clone)]
pub struct Search {
    /// What is looked for.
    pub pattern: Pattern,
    /// Files to look at, by their paths below the directory; `None`: all.
    pub include: Option<PathGlobs>,
    /// What to leave out, with all below it.
    pub exclude: PathGlobs,
    /// Whether to leave out what `.gitignore` files say, and `.git`.
    pub gitignore: bool,
    /// What is told of a file.
    pub shows: Shows,
    /// Lines of context before a match, up to [`CONTEXT_LINES_MAX`].
    pub before: usize,
    /// Lines of context after a match, up to [`CONTEXT_LINES_MAX`].
    pub after: usize,
    /// After so many matching lines a file is left.
    pub matches_per_file_max: u64,
    /// A longer line is cut around what matched, to about so many bytes.
    pub line_bytes_max: usize,
}

/// What is told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// The lines that match, with their context.
    Lines,
    /// That it matches.
    Files,
    /// How many lines match.
    Counts,
}

impl Search {
    fn before_shown(&self) -> usize {
        if self.shows == Shows::Lines { self.before.min(CONTEXT_LINES_MAX) } else { 0 }
    }

    fn after_shown(&self) -> usize {
        if self.shows == Shows::Lines { self.after.min(CONTEXT_LINES_MAX) } else { 0 }
    }
}

/// A file in which something was found.
#[derive(Debug)]
pub struct FoundFile {
    /// The public path as it is shown.
    pub path: String,
    /// The path below the directory that was searched; empty if the file itself was.
    pub below: Vec<u8>,
    /// The lines, for [`Shows::Lines`]; from where an earlier page ended.
    pub lines: Vec<FoundLine>,
    /// Lines of the file that match, as far as it was looked at: from its beginning.
    pub matches: u64,
    /// There are more than [`Search::matches_per_file_max`].
    pub more: bool,
    /// There was no room to collect more lines.
    full: bool,
    version: String,
    resumed: Option<At>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLine {
    /// Counted from 1.
    pub number: u64,
    /// Without its end; U+FFFD for what is not UTF-8, and `…` for what was cut off.
    pub text: String,
    /// Whether it matches.
    pub kind: LineKind,
    /// Something was cut off.
    pub cut: bool,
    mark: Mark,
}

/// Why a line is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// It matches, or a match goes through it.
    Match,
    /// It stands before a match.
    Before,
    /// It stands after a match.
    After,
}

/// Where a line begins, and how many lines before it match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    offset: u64,
    line: u64,
    matches: u64,
}

/// Where in a file a page ended. Travels inside a sealed cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    #[serde(rename = "v")]
    version: String,
    /// The first line that was not told; 0: none was.
    #[serde(rename = "n")]
    next_line: u64,
    /// From where a large file is looked at again.
    #[serde(rename = "o")]
    offset: u64,
    #[serde(rename = "l")]
    line: u64,
    #[serde(rename = "m")]
    matches: u64,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// A path below the directory.
    pub below: Vec<u8>,
    /// Where in that file; `None`: after it.
    pub at: Option<At>,
}

impl FoundFile {
    /// Where a page ends that tells only the first `told` lines of the file.
    pub fn position(&self, told: usize) -> Position {
        let told_match = self.lines[..told].iter().rev().find(|line| line.kind == LineKind::Match);
        let resumed = self.resumed.as_ref();
        let mark = match (told_match, resumed) {
            (Some(line), _) => line.mark,
            (None, Some(at)) => Mark { offset: at.offset, line: at.line, matches: at.matches },
            (None, None) => Mark { offset: 0, line: 1, matches: 0 },
        };
        let is_begun = told > 0 || resumed.is_some_and(|at| at.next_line > 0);
        let next = match (self.lines.get(told), self.lines.last()) {
            (Some(next), _) if is_begun => next.number,
            // All that was collected was told; what follows was not looked at.
            (None, Some(last)) => last.number + 1,
            _ => 0,
        };
        let at = At {
            version: self.version.clone(),
            next_line: next,
            offset: mark.offset,
            line: mark.line,
            matches: mark.matches,
        };
        Position { below: self.below.clone(), at: Some(at) }
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Files whose text was looked at, to where their search ends.
    #[serde(rename = "f")]
    pub files: u64,
    /// Files that were left out because they hold no text.
    #[serde(rename = "b")]
    pub binary: u64,
}

/// Who is told.
pub trait Taker {
    /// Takes a file in which something was found.
    ///
    /// # Errors
    /// Ends the search.
    fn take(&mut self, file: &FoundFile) -> Result<Taken, Fault>;

    /// Hears how far the search is, now and then.
    fn tell(&mut self, totals: &Totals);
}

/// What became of a file that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All of it was taken.
    All,
    /// Only so many of its lines; the next page begins with the others.
    Lines(usize),
    /// Nothing more is wanted of this file or any other.
    Enough,
}

/// How a search ended.
#[derive(Debug)]
pub struct Searched {
    /// Where the next page begins, if there is more.
    pub next: Option<Position>,
    /// How much this page looked at.
    pub totals: Totals,
    /// What could not be looked at, or not to its end.
    pub problems: Vec<Problem>,
    /// How many more of those there were.
    pub problems_omitted: usize,
}

/// Searches a file, or the files below a directory, in the order of a walk.
///
/// # Errors
/// As the gate's, for the file or directory itself; the budget's own; `Busy` when handles run out;
/// those of `taker`.
///
/// # Cancellation
/// The budget is asked for each file, each block of a large one and each look of the pattern.
pub fn search(
    permit: &Permit,
    search: &Search,
    from: Option<&Position>,
    budget: &Budget,
    taker: &mut impl Taker,
) -> Result<Searched, Fault> {
    let opened = gate::open(permit, Want::Either)?;
    let leash = Leash::new(budget);
    let mut telling = Telling::new(taker);
    if gate::kind_of(&opened.stat) != FileType::Directory {
        let outcome = one_file(permit, search, from, &leash)?;
        telling.outcome(outcome)?;
        return Ok(telling.end((Vec::new(), 0)));
    }
    let walk = match from {
        None => Walk::start(permit, None, budget)?,
        Some(Position { below, at: None }) => Walk::start(permit, Some(below), budget)?,
        Some(Position { below, at: Some(_) }) => Walk::start_at(permit, below, budget)?,
    };
    drive::directory(permit, search, from, &leash, walk, telling)
}

/// The file that the permit itself is for.
fn one_file(
    permit: &Permit,
    search: &Search,
    from: Option<&Position>,
    leash: &Leash<'_>,
) -> Result<Outcome, Fault> {
    let opened = gate::open(permit, Want::File)?;
    let (_, rules) = permit.root()?;
    let path = shown(&rules.public_of(&opened.rel));
    let source = Source {
        handle: &opened.handle,
        stat: &opened.stat,
        at: from.and_then(|from| from.at.as_ref()),
        room: leash.budget().result_bytes_max,
    };
    let mut outcome = Outcome { scanned: 1, ..Outcome::default() };
    let mut note = |what| outcome.notes.push(Note { index: 0, what });
    let scanned = Scanner::new(search, leash).scan(&source, |remark| {
        note(What::Remark(Problem { path: path.clone(), reason: remark }));
    })?;
    match scanned {
        Scanned::Binary => note(What::Binary),
        Scanned::Text(None) => {}
        Scanned::Text(Some(found)) => note(What::Found(FoundFile { path, ..found })),
    }
    Ok(outcome)
}

//! What the searcher finds in one file, line by line, as far as it is asked for.

use std::fmt;
use std::io;

use grep_matcher::Matcher as _;
use grep_searcher::{Searcher, Sink, SinkContext, SinkContextKind, SinkError, SinkMatch};

use super::line::{shown, without_end};
use super::pattern::Leashed;
use super::scan::Source;
use super::{At, FoundFile, FoundLine, LineKind, Mark, Search, Shows};
use crate::files::read::version_of;

/// What a line takes of the room besides its text, at least.
const LINE_FRAME_BYTES: usize = 20;

/// Why a file was not searched to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The pattern's leash was pulled, or the file could not be read.
    Stopped,
    /// A line, with its context, does not fit into the buffer.
    TooLong,
}

impl SinkError for Broken {
    fn error_message<T: fmt::Display>(_: T) -> Self {
        Self::Stopped
    }

    /// Reading is done by [`super::scan`], which keeps its own errors; what is left is the limit.
    fn error_io(_: io::Error) -> Self {
        Self::TooLong
    }
}

/// Collects lines until there are enough.
pub(super) struct LineSink<'a> {
    search: &'a Search,
    pattern: &'a Leashed<'a>,
    /// Where the searcher's text begins in the file.
    offset: u64,
    /// Lines above that.
    lines_above: u64,
    /// Lines below this number were shown before.
    first_line: u64,
    room: usize,
    lines: Vec<FoundLine>,
    matches: u64,
    more: bool,
    full: bool,
}

impl<'a> LineSink<'a> {
    /// `at` is where an earlier page ended; `base`, where the text begins that is looked at, if
    /// that is not the beginning of the file.
    pub(super) fn new(
        search: &'a Search,
        pattern: &'a Leashed<'a>,
        source: &Source<'_>,
        at: Option<&At>,
        base: Option<&At>,
    ) -> Self {
        Self {
            search,
            pattern,
            offset: base.map_or(0, |at| at.offset),
            lines_above: base.map_or(0, |at| at.line - 1),
            first_line: at.map_or(0, |at| at.next_line),
            room: source.room,
            lines: Vec::new(),
            matches: base.map_or(0, |at| at.matches),
            more: false,
            full: false,
        }
    }

    /// What was found, without the paths; `at` as it was given to `new`.
    pub(super) fn finish(self, source: &Source<'_>, at: Option<&At>) -> Option<FoundFile> {
        let Self { lines, matches, more, full, .. } = self;
        if lines.is_empty() && matches == 0 {
            return None;
        }
        let (path, below, resumed) = (String::new(), Vec::new(), at.cloned());
        let version = version_of(source.stat);
        Some(FoundFile { path, below, lines, matches, more, full, version, resumed })
    }

    /// Takes one line; `false` when there are enough.
    fn take(&mut self, kind: LineKind, line: &[u8], number: u64, offset: u64) -> bool {
        if self.full {
            return false;
        }
        if self.matches >= self.search.matches_per_file_max && kind != LineKind::After {
            // What would come now is the next match, or stands before it.
            self.more = true;
            return false;
        }
        let mark = Mark { offset, line: number, matches: self.matches };
        if kind == LineKind::Match {
            self.matches += 1;
        }
        if number < self.first_line {
            return true;
        }
        match self.search.shows {
            Shows::Counts => return true,
            // One match is all that was asked for.
            Shows::Files => return false,
            Shows::Lines => {}
        }
        let line = without_end(line);
        let pattern = self.pattern;
        let (text, cut) = shown(line, self.search.line_bytes_max, || {
            let is_match = kind == LineKind::Match;
            let found = is_match.then(|| pattern.find(line).ok().flatten()).flatten()?;
            Some(found.start()..found.end())
        });
        let bytes = text.len() + LINE_FRAME_BYTES;
        self.lines.push(FoundLine { number, text, kind, cut, mark });
        // One line more than there is room for, so that who takes them sees that there is more.
        self.full = bytes > self.room;
        self.room = self.room.saturating_sub(bytes);
        true
    }
}

impl Sink for LineSink<'_> {
    type Error = Broken;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Broken> {
        let mut offset = self.offset + found.absolute_byte_offset();
        let first = self.lines_above + found.line_number().unwrap_or(0);
        for (number, line) in (first..).zip(found.lines()) {
            if !self.take(LineKind::Match, line, number, offset) {
                return Ok(false);
            }
            offset += line.len() as u64;
        }
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, Broken> {
        let kind = match context.kind() {
            SinkContextKind::Before => LineKind::Before,
            _ => LineKind::After,
        };
        let offset = self.offset + context.absolute_byte_offset();
        let number = self.lines_above + context.line_number().unwrap_or(0);
        Ok(self.take(kind, context.bytes(), number, offset))
    }
}

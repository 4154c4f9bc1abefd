//! What is looked for, compiled within limits, and the lines in which it is.

use grep_matcher::Matcher;
use grep_regex::{ErrorKind, RegexMatcher, RegexMatcherBuilder};
use memchr::{memchr, memrchr};
use roothold_core::{Fault, FaultKind};

use super::super::input::Stop;
use super::super::operation::SearchOptions;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// The largest program that a pattern may become: what a byte of text costs grows with it.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// The memory of each cache of states.
const CACHE_BYTES_MAX: usize = 2 << 20;
/// How deep groups may nest.
const NEST_MAX: u32 = 100;
/// How much text is looked at between two looks at whether anybody still wants it.
const PIECE_BYTES: usize = 256 << 10;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(RegexMatcher);

impl Pattern {
    pub(super) fn new(options: &SearchOptions) -> Result<Self, Fault> {
        if options.pattern.is_empty() {
            return Err(Fault::invalid("the pattern is empty; say what to look for"));
        }
        if options.pattern.len() > PATTERN_BYTES_MAX {
            let most = format!(
                "the pattern is longer than {PATTERN_BYTES_MAX} bytes; look for a part of it"
            );
            return Err(Fault::new(FaultKind::Limit, most));
        }
        let mut builder = RegexMatcherBuilder::new();
        builder
            .multi_line(true)
            .crlf(true)
            .fixed_strings(!options.regex)
            .case_insensitive(options.ignore_case)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .nest_limit(NEST_MAX);
        builder.build(&options.pattern).map(Self).map_err(|error| refusal(error.kind()))
    }

    /// Whether a value matches.
    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(value).unwrap_or(false)
    }

    /// Tells of every line that matches, by where it begins and ends, without its terminator.
    pub(super) fn lines(
        &self,
        data: &[u8],
        stop: &Stop,
        mut found: impl FnMut(usize, usize),
    ) -> Result<(), Fault> {
        let mut start = 0;
        while start < data.len() {
            stop.check()?;
            let near = (start + PIECE_BYTES).min(data.len());
            let end = memchr(b'\n', &data[near..]).map_or(data.len(), |at| near + at + 1);
            self.piece(data, start, end, &mut found);
            start = end;
        }
        Ok(())
    }

    fn piece(&self, data: &[u8], start: usize, end: usize, found: &mut impl FnMut(usize, usize)) {
        let piece = &data[start..end];
        let mut at = 0;
        while at < piece.len() {
            let Ok(Some(hit)) = self.0.find_at(piece, at) else { return };
            if hit.start() >= piece.len() {
                return;
            }
            let begin = memrchr(b'\n', &piece[..hit.start()]).map_or(0, |at| at + 1);
            let stop =
                memchr(b'\n', &piece[hit.start()..]).map_or(piece.len(), |at| hit.start() + at);
            found(start + begin, start + stop);
            at = stop + 1;
        }
    }
}

fn refusal(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::NotAllowed(_) => {
            Fault::invalid("the pattern holds a line end, and is looked for line by line")
        }
        ErrorKind::Regex(why) if why.contains("size limit") => Fault::new(
            FaultKind::Limit,
            "the pattern is too large once compiled; count less in `{n,m}`",
        ),
        ErrorKind::Regex(why) => {
            // The engine quotes the pattern over several lines; the reason stands last.
            let reason = why.rsplit("error: ").next().unwrap_or(why).trim();
            Fault::invalid(format!(
                "the pattern is no regular expression: {reason}; mend it, or leave `regex` out"
            ))
        }
        _ => Fault::invalid("the pattern cannot be used; look for a part of it"),
    }
}

//! What is looked for: a text or a regular expression, compiled within limits.
//!
//! The engine takes time in proportion to the text; but what a byte costs grows with the size of
//! the pattern, and nothing can stop it inside of one look. So a pattern is put into a class by
//! its compiled size, and the class bounds how much text one look may be at.
//!
//! **Invariant**: between two looks at the budget the engine sees no more than
//! [`Class::whole_bytes_max`].

use std::fmt;

use grep_matcher::{ByteSet, LineMatchKind, LineTerminator, Match, Matcher, NoCaptures, NoError};
use grep_regex::{ErrorKind, RegexMatcher, RegexMatcherBuilder};

use super::leash::Leash;
use crate::fault::{Fault, FaultKind};

/// The longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// How deep its groups may nest.
const NEST_MAX: u32 = 100;
/// The memory that each thread's cache of states may take.
const CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A pattern and how it is meant.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that callers know by its name")]
pub struct PatternSpec {
    /// The text.
    pub text: String,
    /// It is what stands in the file, and no regular expression.
    pub literal: bool,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// What matches is no part of a longer word.
    pub word: bool,
    /// A match may go on in the next line, and `.` matches line ends.
    pub multiline: bool,
}

/// A compiled pattern; clones share what was compiled, and have caches of their own.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: RegexMatcher,
    multiline: bool,
    class: Class,
}

/// What a pattern of some compiled size may be at, at once. The slowest pattern that was found for
/// each class, alternatives that all stay open on a text made for it, takes about a microsecond a
/// byte for each 60 KiB of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    compiled_bytes_max: usize,
    /// The longest line.
    pub(super) line_bytes_max: usize,
    /// The largest file where matches may span lines.
    pub(super) whole_bytes_max: usize,
    /// Blocks are cut into pieces of this size, at line ends.
    piece_bytes: usize,
}

const KIB: usize = 1024;
const CLASSES: [Class; 3] = [
    Class {
        compiled_bytes_max: 64 * KIB,
        line_bytes_max: 1024 * KIB,
        whole_bytes_max: 8192 * KIB,
        piece_bytes: usize::MAX,
    },
    Class {
        compiled_bytes_max: 256 * KIB,
        line_bytes_max: 1024 * KIB,
        whole_bytes_max: 2048 * KIB,
        piece_bytes: usize::MAX,
    },
    Class {
        compiled_bytes_max: 4096 * KIB,
        line_bytes_max: 64 * KIB,
        whole_bytes_max: 128 * KIB,
        piece_bytes: 4 * KIB,
    },
];

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern of this engine; `Limit` for one that is too large.
    pub fn new(spec: &PatternSpec) -> Result<Self, Fault> {
        if spec.text.is_empty() {
            return Err(Fault::invalid("the pattern is empty; `.*` matches every line"));
        }
        if spec.text.len() > PATTERN_BYTES_MAX {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes; look for a part"),
            ));
        }
        for class in CLASSES {
            match build(spec, class) {
                Ok(regex) => return Ok(Self { regex, multiline: spec.multiline, class }),
                Err(ErrorKind::Regex(why)) if why.contains("exceeds size limit") => {}
                Err(kind) => return Err(refusal(&kind)),
            }
        }
        Err(Fault::new(
            FaultKind::Limit,
            "the pattern is too large once compiled; count less in `{n,m}`, and write \
             `[A-Za-z0-9_]` for `\\w` inside of it",
        ))
    }

    /// Whether a match may span lines.
    pub(super) fn is_multiline(&self) -> bool {
        self.multiline
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// The pattern for a thread of its own, which stops when the leash is pulled.
    pub(super) fn on<'a>(&self, leash: &'a Leash<'a>) -> Leashed<'a> {
        Leashed { regex: self.regex.clone(), leash, piece_bytes: self.class.piece_bytes }
    }
}

fn build(spec: &PatternSpec, class: Class) -> Result<RegexMatcher, ErrorKind> {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .crlf(true)
        .fixed_strings(spec.literal)
        .case_insensitive(spec.ignore_case)
        .word(spec.word)
        .size_limit(class.compiled_bytes_max)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .nest_limit(NEST_MAX);
    if spec.multiline {
        // Set after `crlf`, which sets it.
        builder.line_terminator(None).dot_matches_new_line(true);
    }
    builder.build(&spec.text).map_err(|error| error.kind().clone())
}

fn refusal(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::NotAllowed(_) => Fault::invalid(
            "the pattern holds a line end, and a match is looked for line by line; set multiline",
        ),
        ErrorKind::Regex(why) => {
            // The engine quotes the pattern over several lines; the reason stands last.
            let reason = why.rsplit("error: ").next().unwrap_or(why).trim();
            let hint = if reason.contains("look-around") || reason.contains("backreferences") {
                "this engine has neither look-around nor backreferences; match more, and filter the answer"
            } else {
                "mend it, or set literal to find it as it is written"
            };
            Fault::invalid(format!("the pattern is no regular expression: {reason}; {hint}"))
        }
        _ => Fault::invalid("the pattern cannot be used; look for a part of it"),
    }
}

/// The engine was stopped; the leash knows why.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

/// A pattern that looks at its leash before each look at the text.
#[derive(Debug)]
pub(super) struct Leashed<'a> {
    regex: RegexMatcher,
    leash: &'a Leash<'a>,
    piece_bytes: usize,
}

impl Leashed<'_> {
    fn check(&self) -> Result<(), Stopped> {
        self.leash.check().map_err(|_| Stopped)
    }
}

fn sure<T>(result: Result<T, NoError>) -> T {
    result.unwrap_or_else(|never| unreachable!("{never}"))
}

impl Matcher for Leashed<'_> {
    type Captures = NoCaptures;
    type Error = Stopped;

    fn find_at(&self, text: &[u8], at: usize) -> Result<Option<Match>, Stopped> {
        self.check()?;
        Ok(sure(self.regex.find_at(text, at)))
    }

    fn new_captures(&self) -> Result<NoCaptures, Stopped> {
        Ok(NoCaptures::new())
    }

    fn shortest_match_at(&self, text: &[u8], at: usize) -> Result<Option<usize>, Stopped> {
        self.check()?;
        Ok(sure(self.regex.shortest_match_at(text, at)))
    }

    fn non_matching_bytes(&self) -> Option<&ByteSet> {
        self.regex.non_matching_bytes()
    }

    fn line_terminator(&self) -> Option<LineTerminator> {
        self.regex.line_terminator()
    }

    /// Asked only where no match can span lines, so pieces of whole lines give the same answer.
    fn find_candidate_line(&self, text: &[u8]) -> Result<Option<LineMatchKind>, Stopped> {
        let mut start = 0;
        loop {
            self.check()?;
            let end = self.piece_end(text, start);
            let found = match sure(self.regex.find_candidate_line(&text[start..end])) {
                Some(LineMatchKind::Confirmed(at)) => Some(LineMatchKind::Confirmed(start + at)),
                Some(LineMatchKind::Candidate(at)) => Some(LineMatchKind::Candidate(start + at)),
                None => None,
            };
            // What matches nothing at the end of a piece is looked at with the next line.
            let is_past = matches!(found, Some(LineMatchKind::Confirmed(at)) if at == end);
            if end == text.len() || (found.is_some() && !is_past) {
                return Ok(found);
            }
            start = end;
        }
    }
}

impl Leashed<'_> {
    /// Where the piece that begins at `start` ends: after the last line end that still fits, or
    /// after the first.
    fn piece_end(&self, text: &[u8], start: usize) -> usize {
        let rest = &text[start..];
        if rest.len() <= self.piece_bytes {
            return text.len();
        }
        let last = memchr::memrchr(b'\n', &rest[..self.piece_bytes]);
        let end = last.or_else(|| memchr::memchr(b'\n', rest));
        end.map_or(text.len(), |at| start + at + 1)
    }
}

//! Where the text of an edit is, and what the file is with the other text in its place.
//!
//! First the text itself is looked for. If it is nowhere, its lines are, apart from the white
//! space around each: then new lines are moved as those were that they replace (`edit/shift.rs`), or
//! the edit is refused.
//!
//! **Invariant**: nothing here touches a disk; a text that is found twice is found nowhere.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memmem};

use super::Edit;
use super::nearest::{excerpt, nearest};
use super::shift::Shift;
use crate::budget::Budget;
use crate::fault::Fault;

/// How many places an error names.
const PLACES_SHOWN_MAX: usize = 5;

/// A text in the making: with plain line ends, and for each of them whether it was CRLF.
#[derive(Debug)]
pub(super) struct Draft {
    text: String,
    /// Empty if no line ends with CRLF.
    crlf: Vec<bool>,
}

impl Draft {
    pub(super) fn new(text: String) -> Self {
        if memmem::find(text.as_bytes(), b"\r\n").is_none() {
            return Self { text, crlf: Vec::new() };
        }
        let bytes = text.as_bytes();
        let is_crlf = |at: usize| at > 0 && bytes[at - 1] == b'\r';
        let crlf = memchr_iter(b'\n', bytes).map(is_crlf).collect();
        Self { text: plain(&text).into_owned(), crlf }
    }

    /// The text with plain line ends.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text with the line ends that the file has.
    pub(super) fn into_text(self) -> String {
        if self.crlf.is_empty() {
            return self.text;
        }
        let mut text = String::with_capacity(self.text.len() + self.crlf.len());
        for (line, is_crlf) in self.text.split_inclusive('\n').zip(
            // What follows the last line end has none.
            self.crlf.iter().copied().chain([false]),
        ) {
            match line.strip_suffix('\n').filter(|_| is_crlf) {
                Some(line) => text.extend([line, "\r\n"]),
                None => text.push_str(line),
            }
        }
        text
    }

    /// Puts one text in the place of another. Tells whether it was found exactly.
    ///
    /// # Errors
    /// `Invalid`, if it is there several times or not at all; the budget's own.
    pub(super) fn apply(&mut self, edit: &Edit, budget: &Budget) -> Result<bool, Fault> {
        let (old, new) = (plain(&edit.old), plain(&edit.new));
        if old.is_empty() {
            if self.text.is_empty() {
                self.replace(0, 0, &new);
                return Ok(true);
            }
            return Err(Fault::invalid(
                "oldText is empty, which is everywhere; give the text beside which newText belongs, and repeat it in newText",
            ));
        }
        let mut found = memmem::find_iter(self.text.as_bytes(), old.as_bytes());
        if let Some(at) = found.next() {
            // A second place may overlap the first.
            let after = at + self.text[at..].chars().next().map_or(1, char::len_utf8);
            if memmem::find(&self.text.as_bytes()[after..], old.as_bytes()).is_some() {
                return Err(self.several(&old));
            }
            self.replace(at, at + old.len(), &new);
            return Ok(true);
        }
        let (start, end, new) = self.find_lines(&old, &new, budget)?;
        self.replace(start, end, &new);
        Ok(false)
    }

    /// Replaces a part; new line ends are those that were there.
    fn replace(&mut self, start: usize, end: usize, new: &str) {
        if !self.crlf.is_empty() {
            let count = |text: &str| memchr_iter(b'\n', text.as_bytes()).count();
            let (before, within) = (count(&self.text[..start]), count(&self.text[start..end]));
            // The line end at the place, or else the one before it.
            let at = before.min(self.crlf.len() - 1);
            let style = self.crlf[at];
            self.crlf.splice(before..before + within, std::iter::repeat_n(style, count(new)));
        }
        self.text.replace_range(start..end, new);
    }

    /// The place of lines that are the same apart from white space, and what to put there.
    fn find_lines(
        &self,
        old: &str,
        new: &str,
        budget: &Budget,
    ) -> Result<(usize, usize, String), Fault> {
        let places = places_of_lines(&self.text, old, budget)?;
        match places[..] {
            [] => Err(nowhere(&self.text, old, budget)),
            [at] => {
                let old_lines: Vec<&str> = old.split('\n').collect();
                let start: usize = self.text.split('\n').take(at).map(|line| line.len() + 1).sum();
                let found: Vec<&str> =
                    self.text[start..].split('\n').take(old_lines.len()).collect();
                let len = found.iter().map(|line| line.len() + 1).sum::<usize>() - 1;
                let new = Shift::between(&old_lines, &found).applied(new);
                Ok((start, start + len, new.ok_or_else(|| unknown_indentation(at + 1, &found))?))
            }
            _ => Err(ambiguous(places.iter().map(|at| at + 1), " apart from white space")),
        }
    }

    fn several(&self, old: &str) -> Fault {
        let bytes = self.text.as_bytes();
        let line = |at: usize| memchr_iter(b'\n', &bytes[..at]).count() + 1;
        let places = memmem::find_iter(bytes, old.as_bytes()).take(PLACES_SHOWN_MAX + 1);
        ambiguous(places.map(line), "")
    }
}

/// The first lines, from 0, at which a text has the same lines as another apart from the white
/// space around each; a few of them. One look at both: whoever compared line by line would need
/// the product of the two.
fn places_of_lines(text: &str, old: &str, budget: &Budget) -> Result<Vec<usize>, Fault> {
    let (text, old) = (trimmed_lines(text, budget)?, trimmed_lines(old, budget)?);
    let finder = memmem::Finder::new(&old);
    let (mut places, mut from, mut line) = (Vec::new(), 0, 0);
    while let Some(at) = finder.find(&text[from..]) {
        budget.check()?;
        line += memchr_iter(b'\n', &text[from..from + at]).count();
        places.push(line);
        if places.len() > PLACES_SHOWN_MAX {
            break;
        }
        // Past the line end that the place begins with.
        (from, line) = (from + at + 1, line + 1);
    }
    Ok(places)
}

/// The lines without white space around them, with a line end before the first and after each.
fn trimmed_lines(text: &str, budget: &Budget) -> Result<Vec<u8>, Fault> {
    let mut trimmed = Vec::with_capacity(text.len() + 2);
    trimmed.push(b'\n');
    for (at, line) in text.split('\n').enumerate() {
        if at.is_multiple_of(4096) {
            budget.check()?;
        }
        trimmed.extend_from_slice(trim(line).as_bytes());
        trimmed.push(b'\n');
    }
    Ok(trimmed)
}

fn ambiguous(lines: impl Iterator<Item = usize>, apart: &str) -> Fault {
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    let more = if lines.len() > PLACES_SHOWN_MAX { " and more" } else { "" };
    let shown = lines[..lines.len().min(PLACES_SHOWN_MAX)].join(", ");
    let several = if lines.len() == 1 { "more than once, overlapping" } else { "several times" };
    Fault::invalid(format!(
        "oldText is in the file {several}{apart}, in lines {shown}{more}; add lines around it until it is there once"
    ))
}

fn unknown_indentation(line: usize, found: &[&str]) -> Fault {
    Fault::invalid(format!(
        "oldText is in the file only apart from white space, and how deep newText belongs cannot be told from it; \
         quote the lines in oldText exactly as they are, and indent newText as it is to be; they begin in line {line}:\n{}",
        excerpt(found, found.len())
    ))
}

fn nowhere(text: &str, old: &str, budget: &Budget) -> Fault {
    let nearest = match nearest(text, old, budget) {
        Ok(nearest) => nearest,
        Err(fault) => return fault,
    };
    Fault::invalid(match nearest {
        Some((line, excerpt)) => {
            format!(
                "oldText is not in the file; the nearest text begins in line {line}:\n{excerpt}"
            )
        }
        None => "oldText is not in the file, and nothing like it; read the file again".to_owned(),
    })
}

/// The white space in front of a line.
pub(super) fn leading(line: &str) -> &str {
    &line[..line.len() - trim_start(line).len()]
}

fn trim(line: &str) -> &str {
    line.trim_matches(is_space)
}

fn trim_start(line: &str) -> &str {
    line.trim_start_matches(is_space)
}

/// White space as the reference server's language has it (ECMAScript, WhiteSpace and LineTerminator).
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// The text with plain line ends.
fn plain(text: &str) -> Cow<'_, str> {
    if memchr(b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n"))
}

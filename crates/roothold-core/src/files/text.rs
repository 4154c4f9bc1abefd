//! A file as text, page by page.
//!
//! A page holds whole lines where it can, never more than the budget once it is written as
//! JSON, and says where the next one begins. Head and tail never read the middle of a file.

mod cut;
mod lines;
mod marks;
mod source;
mod span;

use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::read::{content_hash, version_of};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::{self, Opened, Want};
use crate::path::shown;
use crate::policy::Permit;
use cut::{Cut, cut};
use source::Source;
use span::{Span, span_of};

pub use cut::json_len;
pub use marks::LineMarks;
pub use source::{Content, KeptTexts};

/// Up to this size a file that is in memory is answered from where the call is: cutting a page
/// from it takes some 50 µs, and a change of threads about as long as of 4 KiB.
const AT_ONCE_BYTES_MAX: u64 = 64 * 1024;

/// Which part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextRange {
    /// All of it.
    Whole,
    /// The first lines.
    Head(u64),
    /// The last lines; a newline at the end of the file ends the last one.
    Tail(u64),
    /// Lines by number from 1, both included; `None`: to the end.
    Lines(u64, Option<u64>),
    /// Bytes from 0, the end excluded; `None`: to the end.
    Bytes(u64, Option<u64>),
}

/// Where the next page begins; travels inside a sealed cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    offset: u64,
    end: u64,
    line: Option<u64>,
    lines_left: Option<u64>,
    version: String,
}

/// One page of text.
#[derive(Debug)]
pub struct TextPage {
    /// The text.
    pub text: String,
    /// The public path, with links resolved.
    pub path: String,
    /// The content's hash, or for a part of a large file its version.
    pub hash: String,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The bytes of the file that the page stands for: start, end (excluded).
    pub bytes: (u64, u64),
    /// The numbers of its first and last line, where they are known.
    pub lines: Option<(u64, u64)>,
    /// How the text is written in the file. Windows-1252 is a guess.
    pub encoding: Encoding,
    /// Bytes that are no character of the encoding were replaced by U+FFFD.
    pub lossy: bool,
    /// Where to go on, if the budget cut the page.
    pub resume: Option<Resume>,
}

/// Reads a page of a file's text.
///
/// # Errors
/// `Unsupported` for a binary file; `Conflict` if the file changed since `resume` was made;
/// `Invalid` for a range that lies past the end; as the gate's otherwise.
pub fn read_text(
    permit: &Permit,
    range: TextRange,
    resume: Option<Resume>,
    budget: &Budget,
) -> Result<TextPage, Fault> {
    read(permit, range, resume, budget, true)
}

/// Reads a whole file as [`read_text`] does, for answers that show no hash: the page's is empty.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_unhashed(
    permit: &Permit,
    resume: Option<Resume>,
    budget: &Budget,
) -> Result<TextPage, Fault> {
    read(permit, TextRange::Whole, resume, budget, false)
}

/// Reads a page as [`read_text`] does if that takes no waiting and little time: of a small file
/// that is kept in memory, by a path that the kernel has in memory. `None` says nothing of the
/// file; [`read_text`] does.
pub fn read_text_at_once(
    permit: &Permit,
    range: TextRange,
    resume: Option<&Resume>,
    budget: &Budget,
) -> Option<Result<TextPage, Fault>> {
    let opened = gate::open_at_once(permit, Want::File)?;
    let is_small = u64::try_from(opened.stat.st_size).is_ok_and(|size| size <= AT_ONCE_BYTES_MAX);
    if !is_small || permit.texts().contents.look(&opened.stat).is_none() {
        return None;
    }
    Some(read_opened(permit, &opened, range, resume.cloned(), budget, true))
}

fn read(
    permit: &Permit,
    range: TextRange,
    resume: Option<Resume>,
    budget: &Budget,
    hashed: bool,
) -> Result<TextPage, Fault> {
    let opened = gate::open(permit, Want::File)?;
    read_opened(permit, &opened, range, resume, budget, hashed)
}

fn read_opened(
    permit: &Permit,
    opened: &Opened,
    range: TextRange,
    resume: Option<Resume>,
    budget: &Budget,
    hashed: bool,
) -> Result<TextPage, Fault> {
    let version = || version_of(&opened.stat);
    if let Some(resume) = resume.as_ref().filter(|resume| resume.version != version()) {
        return Err(changed(resume.offset));
    }
    let source = Source::open(permit, opened, budget)?;
    let span = resume.map_or_else(|| span_of(&source, range), |resume| Ok(Span::from(resume)))?;
    let mut buffer = Vec::new();
    let page = cut_page(&source, &span, &mut buffer, budget)?;

    let stop = page.start + page.raw.len() as u64;
    let hash = match source.hash() {
        _ if !hashed => String::new(),
        Some(hash) => hash,
        None if span.start == 0 && stop == source.size => {
            content_hash(&[page.encoding.mark(), page.raw].concat())
        }
        None => version(),
    };
    let newlines = page.encoding.count_line_ends(page.raw);
    let resume = page.more.then(|| Resume {
        offset: stop,
        end: span.end,
        line: span.line.map(|line| line + newlines),
        lines_left: span.lines_left.map(|left| left - newlines.min(left)),
        version: version(),
    });
    let (mut text, lossy) = page.encoding.show(page.raw);
    let lines = span.lines_of(&text, newlines);
    if span.lines_left.is_some() && resume.is_none() && text.ends_with('\n') {
        // A range of lines ends without the newline after it, as the reference server's `head` does.
        text.pop();
    }
    let (_, rules) = permit.root()?;
    Ok(TextPage {
        text,
        path: shown(&rules.public_of(&opened.rel)),
        hash,
        size: source.size,
        bytes: (span.start, stop),
        lines,
        encoding: page.encoding,
        lossy,
        resume,
    })
}

impl From<Resume> for Span {
    fn from(resume: Resume) -> Self {
        Self {
            start: resume.offset,
            end: resume.end,
            line: resume.line,
            lines_left: resume.lines_left,
        }
    }
}

/// The bytes of one page, without a mark.
struct Page<'a> {
    /// Where they begin in the file.
    start: u64,
    raw: &'a [u8],
    encoding: Encoding,
    more: bool,
}

/// Reads as much of a span as one page can hold, and cuts the page from it.
fn cut_page<'a>(
    source: &'a Source<'_>,
    span: &Span,
    buffer: &'a mut Vec<u8>,
    budget: &Budget,
) -> Result<Page<'a>, Fault> {
    let known = source.encoding();
    let start = span.start.max(known.mark().len() as u64);
    // No character takes fewer bytes in an answer than its units are in the file.
    let most = budget.result_bytes_max.saturating_mul(if known.unit() == 2 { 2 } else { 1 });
    let want = usize::try_from(span.end.saturating_sub(start)).unwrap_or(usize::MAX).min(most);
    let raw = source.block(start, want, buffer)?;
    known.refuse_binary(raw)?;
    let encoding = source.encoding_of(start, raw)?;
    let left = span.end.saturating_sub(start);
    let Cut { len, more } = cut(raw, encoding, left, span.lines_left, budget.result_bytes_max);
    Ok(Page { start, raw: &raw[..len], encoding, more })
}

fn changed(offset: u64) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!(
            "the file changed since the cursor was made; read it again without the cursor, or go on with byte_start={offset}"
        ),
    )
}

#[cfg(test)]
mod tests;

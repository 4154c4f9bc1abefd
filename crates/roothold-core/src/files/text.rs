//! A file as text, page by page.
//!
//! A page holds whole lines where it can, never more than the budget once it is written as
//! JSON, and says where the next one begins. Head and tail never read the middle of a file.

mod cut;
mod lines;
mod span;

use std::borrow::Cow;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::read::{content_hash, read_at, version_of};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::{self, Want};
use crate::path::{shown, uri};
use crate::policy::Permit;
use cut::cut;
use span::{Span, span_of};

pub use cut::json_len;

/// A NUL in the first bytes means binary: the heuristic and the figure of git and of grep.
const BINARY_PROBE_BYTES: usize = 8000;
/// Up to this size a partial read also hashes the whole file, so that it can be edited.
const HASH_WHOLE_BYTES_MAX: u64 = 256 * 1024;

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
    /// The public URI, with links resolved.
    pub uri: String,
    /// The content's hash, or for a part of a large file its version.
    pub hash: String,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The bytes of the file that the page stands for: start, end (excluded).
    pub bytes: (u64, u64),
    /// The numbers of its first and last line, where they are known.
    pub lines: Option<(u64, u64)>,
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
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

fn read(
    permit: &Permit,
    range: TextRange,
    resume: Option<Resume>,
    budget: &Budget,
    hashed: bool,
) -> Result<TextPage, Fault> {
    let opened = gate::open(permit, Want::File)?;
    let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
    let version = || version_of(&opened.stat);
    let span = match resume {
        None => span_of(&opened.handle, range, size, budget)?,
        Some(resume) if resume.version == version() => Span {
            start: resume.offset,
            end: resume.end,
            line: resume.line,
            lines_left: resume.lines_left,
        },
        Some(resume) => return Err(changed(resume.offset)),
    };
    let Loaded { mut raw, hash } = load(&opened.handle, &span, size, budget, hashed)?;
    refuse_binary(&raw)?;

    let cut = cut(&raw, &span, budget.result_bytes_max);
    raw.truncate(cut.len);
    let hash = match hash {
        _ if !hashed => String::new(),
        Some(hash) => hash,
        None if span.start == 0 && raw.len() as u64 == size => content_hash(&raw),
        None => version(),
    };
    let newlines = memchr::memchr_iter(b'\n', &raw).count() as u64;
    let stop = span.start + raw.len() as u64;
    let resume = cut.more.then(|| Resume {
        offset: stop,
        end: span.end,
        line: span.line.map(|line| line + newlines),
        lines_left: span.lines_left.map(|left| left - newlines.min(left)),
        version: version(),
    });
    let lines = span.lines_of(&raw, newlines);
    if span.lines_left.is_some() && !cut.more && raw.last() == Some(&b'\n') {
        // A range of lines ends without the newline after it, as the reference server's `head` does.
        raw.pop();
    }
    let (text, lossy) = match String::from_utf8(raw) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    };
    let (_, rules) = permit.root()?;
    let public = rules.public_of(&opened.rel);
    Ok(TextPage {
        text,
        path: shown(&public),
        uri: uri(&public),
        hash,
        size,
        bytes: (span.start, stop),
        lines,
        lossy,
        resume,
    })
}

/// The bytes that a page is cut from.
struct Loaded {
    raw: Vec<u8>,
    /// The content's hash, where the whole file was read.
    hash: Option<String>,
}

/// Reads as much of a span as one page can hold. A small file is read as a whole, once, so that
/// its hash is that of the bytes the page is cut from.
fn load(
    file: impl AsFd,
    span: &Span,
    size: u64,
    budget: &Budget,
    hashed: bool,
) -> Result<Loaded, Fault> {
    let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let want = count(span.end.saturating_sub(span.start)).min(budget.result_bytes_max);
    let mut raw = Vec::new();
    if !hashed || size > HASH_WHOLE_BYTES_MAX {
        read_at(file, span.start, want, &mut raw, budget)?;
        return Ok(Loaded { raw, hash: None });
    }
    read_at(file, 0, count(size), &mut raw, budget)?;
    let hash = Some(content_hash(&raw));
    raw.drain(..count(span.start).min(raw.len()));
    raw.truncate(want);
    Ok(Loaded { raw, hash })
}

fn refuse_binary(raw: &[u8]) -> Result<(), Fault> {
    let probe = &raw[..raw.len().min(BINARY_PROBE_BYTES)];
    if memchr::memchr(0, probe).is_none() {
        return Ok(());
    }
    let what: Cow<'_, str> = if raw.starts_with(&[0xff, 0xfe]) || raw.starts_with(&[0xfe, 0xff]) {
        "the file is UTF-16, which is not read as text; use read_media_file for its bytes".into()
    } else {
        "the file is binary; use read_media_file".into()
    };
    Err(Fault::new(FaultKind::Unsupported, what))
}

fn changed(offset: u64) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!(
            "the file changed since the cursor was made; read it again without the cursor, or go on with byte_start={offset}"
        ),
    )
}

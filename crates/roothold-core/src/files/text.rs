//! A file as text, page by page.
//!
//! A page holds whole lines where it can, never more than the budget once it is written as
//! JSON, and says where the next one begins. Head and tail never read the middle of a file.

use std::borrow::Cow;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::read::{content_hash, read_at, version_of};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::{self, Want};
use crate::path::{shown, uri};
use crate::policy::Permit;

/// A NUL in the first bytes means binary: the heuristic and the figure of git and of grep.
const BINARY_PROBE_BYTES: usize = 8000;
/// Up to this size a partial read also hashes the whole file, so that it can be edited.
const HASH_WHOLE_BYTES_MAX: u64 = 256 * 1024;
const SCAN_BLOCK_BYTES: usize = 256 * 1024;

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

/// What is left to read.
struct Span {
    start: u64,
    end: u64,
    line: Option<u64>,
    lines_left: Option<u64>,
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

impl Span {
    /// The numbers of the first and last line of a page that begins where the span does.
    fn lines_of(&self, page: &[u8], newlines: u64) -> Option<(u64, u64)> {
        let unfinished = u64::from(page.last().is_some_and(|byte| *byte != b'\n'));
        let first = self.line.filter(|_| !page.is_empty())?;
        Some((first, first + newlines + unfinished - 1))
    }
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

fn span_of(file: impl AsFd, range: TextRange, size: u64, budget: &Budget) -> Result<Span, Fault> {
    let whole = Span { start: 0, end: size, line: Some(1), lines_left: None };
    match range {
        TextRange::Head(0) | TextRange::Tail(0) | TextRange::Lines(0, _) => {
            Err(Fault::invalid("lines are counted from 1; ask for 1 or more"))
        }
        TextRange::Lines(first, Some(last)) if last < first => {
            Err(Fault::invalid("the range of lines ends before it begins; swap its ends"))
        }
        TextRange::Whole => Ok(whole),
        TextRange::Head(lines) => Ok(Span { lines_left: Some(lines), ..whole }),
        TextRange::Tail(lines) => {
            Ok(Span { start: tail_offset(file, size, lines, budget)?, line: None, ..whole })
        }
        TextRange::Lines(first, last) => {
            let start = line_offset(file, size, first, budget)?;
            let lines_left = last.map(|last| (last - first).saturating_add(1));
            Ok(Span { start, line: Some(first), lines_left, ..whole })
        }
        TextRange::Bytes(start, end) => {
            if start > size {
                return Err(Fault::invalid(format!(
                    "the file has {size} bytes; the range begins at {start}"
                )));
            }
            Ok(Span { start, end: end.unwrap_or(size).min(size), line: None, lines_left: None })
        }
    }
}

/// The offset at which line `number` (from 1, never 0) begins.
fn line_offset(file: impl AsFd, size: u64, number: u64, budget: &Budget) -> Result<u64, Fault> {
    let (mut offset, mut missing) = (0, number - 1);
    let mut block = Vec::with_capacity(SCAN_BLOCK_BYTES);
    while missing > 0 && offset < size {
        block.clear();
        read_at(file.as_fd(), offset, SCAN_BLOCK_BYTES, &mut block, budget)?;
        if block.is_empty() {
            break;
        }
        let found = memchr::memchr_iter(b'\n', &block).count() as u64;
        if found < missing {
            missing -= found;
            offset += block.len() as u64;
            continue;
        }
        let nth = usize::try_from(missing - 1).unwrap_or(usize::MAX);
        let at = memchr::memchr_iter(b'\n', &block).nth(nth).unwrap_or(block.len() - 1);
        offset += at as u64 + 1;
        missing = 0;
    }
    if missing > 0 || (offset >= size && number > 1) {
        let lines = number - missing - 1;
        return Err(Fault::invalid(format!(
            "the file has {lines} lines; line {number} is past its end"
        )));
    }
    Ok(offset)
}

/// The offset at which the last `lines` lines (never 0) begin; reads from the end only.
fn tail_offset(file: impl AsFd, size: u64, lines: u64, budget: &Budget) -> Result<u64, Fault> {
    const BLOCK: u64 = 64 * 1024;
    let (mut end, mut missing) = (size, lines);
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        read_at(
            file.as_fd(),
            start,
            usize::try_from(end - start).unwrap_or(0),
            &mut block,
            budget,
        )?;
        // The newline that ends the file ends its last line; it begins no other.
        let body = if end == size { block.strip_suffix(b"\n").unwrap_or(&block) } else { &block };
        for at in memchr::memrchr_iter(b'\n', body) {
            missing -= 1;
            if missing == 0 {
                return Ok(start + at as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

struct Cut {
    len: usize,
    more: bool,
}

/// How much of `raw` is one page: to the last wanted line, within the budget, at a line's end
/// where there is one and at a character's end otherwise.
fn cut(raw: &[u8], span: &Span, bytes_max: usize) -> Cut {
    let (raw, last_line) = match span.lines_left {
        None => (raw, false),
        Some(left) => {
            let nth = usize::try_from(left.max(1) - 1).unwrap_or(usize::MAX);
            match memchr::memchr_iter(b'\n', raw).nth(nth) {
                Some(at) => (&raw[..=at], true),
                None => (raw, false),
            }
        }
    };
    let fits = fitting(raw, bytes_max);
    let complete = fits == raw.len() && (last_line || span.start + raw.len() as u64 >= span.end);
    if complete {
        return Cut { len: fits, more: false };
    }
    let len = match memchr::memrchr(b'\n', &raw[..fits]) {
        Some(at) => at + 1,
        None => char_end(raw, fits),
    };
    // A file that shrank while it was read yields nothing more, and must not be asked for again.
    Cut { len, more: len > 0 }
}

/// The longest prefix whose JSON form has at most `bytes_max` bytes.
fn fitting(raw: &[u8], bytes_max: usize) -> usize {
    const WORST: usize = 6;
    /// What a bad sequence is shown as, U+FFFD, has three bytes.
    const REPLACEMENT: usize = 3;
    if raw.len().saturating_mul(WORST) <= bytes_max {
        return raw.len();
    }
    let (mut at, mut used) = (0, 0);
    for chunk in raw.utf8_chunks() {
        let text = chunk.valid();
        let whole = used + json_len(text);
        if whole > bytes_max {
            let fits = |byte: &u8| {
                used += json_byte_len(*byte);
                used <= bytes_max
            };
            return at + text.bytes().take_while(fits).count();
        }
        used = whole;
        at += text.len();
        if !chunk.invalid().is_empty() {
            used += REPLACEMENT;
            if used > bytes_max {
                return at;
            }
            at += chunk.invalid().len();
        }
    }
    raw.len()
}

/// The bytes that a text takes inside a JSON string.
pub fn json_len(text: &str) -> usize {
    text.len() + escapes_len(text.as_bytes())
}

/// The bytes that escapes add. Counted in short runs of one byte each, which the compiler turns
/// into vector instructions: this looks at every byte of every answer.
fn escapes_len(bytes: &[u8]) -> usize {
    /// The counts of a run fit into a byte.
    const RUN: usize = 255;
    let mut added = 0;
    for run in bytes.chunks(RUN) {
        let (mut marks, mut controls, mut short) = (0_u8, 0_u8, 0_u8);
        for byte in run {
            marks += u8::from(*byte == b'"' || *byte == b'\\');
            controls += u8::from(*byte < 0x20);
            // \b, \t, \n, \f and \r: 8, 9, 10, 12, 13.
            short += u8::from(byte.wrapping_sub(8) < 6 && *byte != 11);
        }
        added += usize::from(marks) + 5 * usize::from(controls) - 4 * usize::from(short);
    }
    added
}

fn json_byte_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// `at`, or the beginning of the character that it splits. A character at the very beginning is
/// split rather than left for a next page that would begin there again.
fn char_end(raw: &[u8], at: usize) -> usize {
    const CHAR_BYTES_MAX: usize = 4;
    let is_start = |at: &usize| raw[*at] & 0xc0 != 0x80;
    let Some(start) = (at.saturating_sub(CHAR_BYTES_MAX)..at).rev().find(is_start) else {
        return at;
    };
    match std::str::from_utf8(&raw[start..at]) {
        Err(error) if error.error_len().is_none() && start > 0 => start,
        _ => at,
    }
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

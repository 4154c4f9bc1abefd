//! Where a page ends.
//!
//! **Invariant**: what was cut off fits the budget once it is written as JSON.

use super::span::Span;

pub(super) struct Cut {
    pub(super) len: usize,
    pub(super) more: bool,
}

/// How much of `raw` is one page: to the last wanted line, within the budget, at a line's end
/// where there is one and at a character's end otherwise.
pub(super) fn cut(raw: &[u8], span: &Span, bytes_max: usize) -> Cut {
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

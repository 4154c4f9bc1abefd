//! Where a page ends.
//!
//! **Invariant**: what was cut off fits the budget once it is written as JSON.

use crate::files::encoding::{Encoding, next_shown};

pub(super) struct Cut {
    pub(super) len: usize,
    pub(super) more: bool,
}

/// How much of `raw` is one page: to the last wanted line, within the budget, at a line's end
/// where there is one and at a character's end otherwise. `left` is how many bytes are wanted.
pub(super) fn cut(
    raw: &[u8],
    encoding: Encoding,
    left: u64,
    lines_left: Option<u64>,
    bytes_max: usize,
) -> Cut {
    let last_line = lines_left.and_then(|lines| {
        let nth = usize::try_from(lines.max(1) - 1).unwrap_or(usize::MAX);
        encoding.line_ends(raw).nth(nth)
    });
    let raw = &raw[..last_line.unwrap_or(raw.len())];
    let fits = fitting(raw, encoding, bytes_max);
    if fits == raw.len() && (last_line.is_some() || raw.len() as u64 >= left) {
        return Cut { len: fits, more: false };
    }
    let len = encoding
        .line_ends(&raw[..fits])
        .next_back()
        .unwrap_or_else(|| encoding.char_end(raw, fits));
    // A file that shrank while it was read yields nothing more, and must not be asked for again.
    Cut { len, more: len > 0 }
}

/// The longest prefix whose JSON form has at most `bytes_max` bytes.
fn fitting(raw: &[u8], encoding: Encoding, bytes_max: usize) -> usize {
    const WORST: usize = 6;
    /// What a bad sequence is shown as, U+FFFD, has three bytes.
    const REPLACEMENT: usize = 3;
    if raw.len().saturating_mul(WORST) <= bytes_max {
        return raw.len();
    }
    if !matches!(encoding, Encoding::Utf8 | Encoding::Utf8Bom) {
        return fitting_by_char(raw, encoding, bytes_max);
    }
    let (mut at, mut room) = (0, bytes_max);
    while at < raw.len() {
        // Not `utf8_chunks`, which goes byte by byte.
        let (valid, bad) = match str::from_utf8(&raw[at..]) {
            Ok(text) => (text.len(), 0),
            Err(error) => (error.valid_up_to(), error.error_len().unwrap_or(usize::MAX)),
        };
        let (fits, used) = fitting_in(&raw[at..at + valid], room);
        at += fits;
        room -= used;
        if fits < valid || (bad > 0 && room < REPLACEMENT) {
            break;
        }
        if bad > 0 {
            room -= REPLACEMENT;
            at = at.saturating_add(bad).min(raw.len());
        }
    }
    at
}

/// How much of a text fits, and the bytes that it takes.
fn fitting_in(text: &[u8], room: usize) -> (usize, usize) {
    let (mut at, mut used) = (0, 0);
    for run in text.chunks(RUN_BYTES) {
        let whole = used + run.len() + escapes_len(run);
        if whole <= room {
            (at, used) = (at + run.len(), whole);
            continue;
        }
        for byte in run {
            let more = used + json_byte_len(*byte);
            if more > room {
                break;
            }
            (at, used) = (at + 1, more);
        }
        break;
    }
    (at, used)
}

fn fitting_by_char(raw: &[u8], encoding: Encoding, bytes_max: usize) -> usize {
    let (mut at, mut used) = (0, 0);
    while let Some(shown) = next_shown(encoding, &raw[at..]) {
        let char = shown.char.unwrap_or(char::REPLACEMENT_CHARACTER);
        used += u8::try_from(u32::from(char))
            .ok()
            .filter(u8::is_ascii)
            .map_or(char.len_utf8(), json_byte_len);
        if used > bytes_max {
            return at;
        }
        at += shown.bytes;
    }
    at
}

/// The bytes that a text takes inside a JSON string.
pub fn json_len(text: &str) -> usize {
    text.len() + escapes_len(text.as_bytes())
}

/// The counts of a run fit into a byte.
const RUN_BYTES: usize = 255;

/// The bytes that escapes add. Counted in short runs of one byte each, which the compiler turns
/// into vector instructions: this looks at every byte of every answer.
fn escapes_len(bytes: &[u8]) -> usize {
    let mut added = 0;
    for run in bytes.chunks(RUN_BYTES) {
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

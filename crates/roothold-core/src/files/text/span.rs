//! Which bytes of a file a range stands for.

use super::TextRange;
use super::lines::{line_offset, tail_offset};
use super::source::Source;
use crate::fault::Fault;

/// What is left to read.
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) line: Option<u64>,
    pub(super) lines_left: Option<u64>,
}

impl Span {
    /// The numbers of the first and last line of a page that begins where the span does.
    pub(super) fn lines_of(&self, page: &str, newlines: u64) -> Option<(u64, u64)> {
        let unfinished = u64::from(!page.ends_with('\n'));
        let first = self.line.filter(|_| !page.is_empty())?;
        Some((first, first + newlines + unfinished - 1))
    }
}

pub(super) fn span_of(source: &Source<'_>, range: TextRange) -> Result<Span, Fault> {
    let size = source.size;
    let whole = Span { start: 0, end: size, line: Some(1), lines_left: None };
    match range {
        TextRange::Head(0) | TextRange::Tail(0) | TextRange::Lines(0, _) => {
            Err(Fault::invalid("lines are counted from 1; ask for 1 or more"))
        }
        TextRange::Lines(first, Some(last)) if last < first => {
            Err(Fault::invalid("the range of lines ends before it begins; swap its ends"))
        }
        TextRange::Bytes(start, Some(end)) if end < start => {
            Err(Fault::invalid("the range of bytes ends before it begins; swap its ends"))
        }
        TextRange::Whole => Ok(whole),
        TextRange::Head(lines) => Ok(Span { lines_left: Some(lines), ..whole }),
        TextRange::Tail(lines) => {
            Ok(Span { start: tail_offset(source, lines)?, line: None, ..whole })
        }
        TextRange::Lines(first, last) => {
            let start = line_offset(source, first)?;
            let lines_left = last.map(|last| (last - first).saturating_add(1));
            Ok(Span { start, line: Some(first), lines_left, ..whole })
        }
        TextRange::Bytes(start, end) => {
            if start > size {
                return Err(Fault::invalid(format!(
                    "the file has {size} bytes; the range begins at {start}"
                )));
            }
            let unit = source.encoding().unit();
            // A range that begins or ends within a unit of UTF-16 has all of it.
            let start = start / unit * unit;
            let end = end.map_or(size, |end| end.div_ceil(unit).saturating_mul(unit)).min(size);
            Ok(Span { start, end, line: None, lines_left: None })
        }
    }
}

//! Where lines begin. The tail never reads the middle of a file.

use std::sync::Arc;

use super::marks::LineMarks;
use super::source::Source;
use crate::fault::Fault;

/// A multiple of what a character takes in any encoding, as is [`TAIL_BLOCK_BYTES`].
pub(super) const SCAN_BLOCK_BYTES: usize = 256 * 1024;
const TAIL_BLOCK_BYTES: u64 = 64 * 1024;

/// The offset at which line `number` (from 1, never 0) begins.
pub(super) fn line_offset(source: &Source<'_>, number: u64) -> Result<u64, Fault> {
    if number == 1 {
        return Ok(0);
    }
    let mut marks = source.marks();
    let found = scan(source, &mut marks, number - 1);
    // What was passed is of use even if the call ran out of time: the next one goes on from it.
    source.keep_marks(marks);
    found
}

/// The offset at which the line `wanted`, never 0, ends and another begins.
fn scan(source: &Source<'_>, marks: &mut Arc<LineMarks>, wanted: u64) -> Result<u64, Fault> {
    let encoding = source.encoding();
    let (mut offset, mut ends) = marks.before(wanted);
    let mut unfinished = 0;
    let mut buffer = Vec::new();
    while offset < source.size {
        source.check()?;
        let block = source.block(offset, SCAN_BLOCK_BYTES, &mut buffer)?;
        if block.is_empty() {
            break;
        }
        let found = encoding.count_line_ends(block);
        if ends + found >= wanted {
            let nth = usize::try_from(wanted - ends - 1).unwrap_or(usize::MAX);
            let end = encoding.line_ends(block).nth(nth).unwrap_or(block.len());
            offset += end as u64;
            return if offset < source.size { Ok(offset) } else { Err(past_end(wanted, wanted)) };
        }
        ends += found;
        offset += block.len() as u64;
        unfinished = u64::from(encoding.line_ends(block).next_back() != Some(block.len()));
        if offset < source.size {
            LineMarks::pass(marks, offset, ends);
        }
    }
    Err(past_end(ends + unfinished, wanted))
}

fn past_end(lines: u64, wanted: u64) -> Fault {
    let number = wanted.saturating_add(1);
    Fault::invalid(format!("the file has {lines} lines; line {number} is past its end"))
}

/// The offset at which the last `lines` lines (never 0) begin; reads from the end only.
pub(super) fn tail_offset(source: &Source<'_>, lines: u64) -> Result<u64, Fault> {
    let (size, encoding) = (source.size, source.encoding());
    let (mut end, mut missing) = (size, lines);
    let mut buffer = Vec::new();
    while end > 0 {
        source.check()?;
        let start = end.saturating_sub(TAIL_BLOCK_BYTES) / encoding.unit() * encoding.unit();
        let len = usize::try_from(end - start).unwrap_or(0);
        let block = source.block(start, len, &mut buffer)?;
        for at in encoding.line_ends(block).rev().map(|at| start + at as u64) {
            // The newline that ends the file ends its last line; it begins no other.
            if at == size {
                continue;
            }
            missing -= 1;
            if missing == 0 {
                return Ok(at);
            }
        }
        end = start;
    }
    Ok(0)
}

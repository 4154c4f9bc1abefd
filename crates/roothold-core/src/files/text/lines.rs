//! Where lines begin. The tail never reads the middle of a file.

use std::os::fd::AsFd;

use crate::budget::Budget;
use crate::fault::Fault;
use crate::files::read::read_at;

const SCAN_BLOCK_BYTES: usize = 256 * 1024;

/// The offset at which line `number` (from 1, never 0) begins.
pub(super) fn line_offset(
    file: impl AsFd,
    size: u64,
    number: u64,
    budget: &Budget,
) -> Result<u64, Fault> {
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
pub(super) fn tail_offset(
    file: impl AsFd,
    size: u64,
    lines: u64,
    budget: &Budget,
) -> Result<u64, Fault> {
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

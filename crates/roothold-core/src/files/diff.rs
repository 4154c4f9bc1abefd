//! What is different between two texts, as a unified diff that fits into an answer.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::json_len;

/// How many lines are shown around what is different: as many as the reference server shows.
const CONTEXT_LINES: usize = 4;
/// After that the diff is a coarser one: still right, not the shortest.
const SEARCH_TIME: Duration = Duration::from_millis(200);

/// A unified diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Its text; whole lines.
    pub text: String,
    /// How many of its lines were left out because they did not fit.
    pub omitted_lines: usize,
}

/// The diff of two texts with plain line ends, of at most `bytes_max` bytes as JSON.
pub(super) fn unified(
    path: &str,
    old: &str,
    new: &str,
    bytes_max: usize,
    deadline: Instant,
) -> Diff {
    let mut out = Out { text: String::new(), bytes: 0, bytes_max, omitted: 0 };
    out.line(&format!("Index: {path}\n"));
    out.line(&format!("{}\n", "=".repeat(67)));
    out.line(&format!("--- {path}\toriginal\n"));
    out.line(&format!("+++ {path}\tmodified\n"));
    let (skipped, old, new) = middle(old, new);
    let deadline = deadline.min(Instant::now() + SEARCH_TIME);
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    if ops.iter().all(|op| matches!(op, DiffOp::Equal { .. })) {
        return out.finish();
    }
    for hunk in group_diff_ops(ops, CONTEXT_LINES) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let range = |first: std::ops::Range<usize>, last: std::ops::Range<usize>| {
            let len = last.end - first.start;
            // A range without lines stands after the line that it names.
            (skipped + first.start + usize::from(len > 0), len)
        };
        let (old_start, old_len) = range(first.old_range(), last.old_range());
        let (new_start, new_len) = range(first.new_range(), last.new_range());
        out.line(&format!("@@ -{old_start},{old_len} +{new_start},{new_len} @@\n"));
        for op in hunk {
            let (removed, added) = (op.old_range(), op.new_range());
            if matches!(op, DiffOp::Equal { .. }) {
                out.lines(' ', &old[removed]);
                continue;
            }
            out.lines('-', &old[removed]);
            out.lines('+', &new[added]);
        }
    }
    out.finish()
}

/// The lines between what both texts begin and end with, with some of those around them; and how
/// many lines come before.
fn middle<'a>(old: &'a str, new: &'a str) -> (usize, Vec<&'a str>, Vec<&'a str>) {
    let start = line_start(old, common_prefix(old.as_bytes(), new.as_bytes()), CONTEXT_LINES);
    let (rest_old, rest_new) = (&old[start..], &new[start..]);
    let same = common_suffix(rest_old.as_bytes(), rest_new.as_bytes());
    let keep = line_end(rest_old, rest_old.len() - same, CONTEXT_LINES);
    let after = rest_old.len() - keep;
    let skipped = memchr::memchr_iter(b'\n', &old.as_bytes()[..start]).count();
    let lines = |text: &'a str| text.split_inclusive('\n').collect();
    (skipped, lines(&rest_old[..keep]), lines(&rest_new[..rest_new.len() - after]))
}

/// How many bytes two texts have in common at their beginning.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    /// Compared as memory, before the bytes of the block that differs are.
    const BLOCK: usize = 4096;
    let blocks = one.chunks_exact(BLOCK).zip(other.chunks_exact(BLOCK));
    let same = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    same + one[same..].iter().zip(&other[same..]).take_while(|(a, b)| a == b).count()
}

/// The same for their end.
fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let blocks = one.rchunks_exact(BLOCK).zip(other.rchunks_exact(BLOCK));
    let same = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    let (one, other) = (&one[..one.len() - same], &other[..other.len() - same]);
    same + one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// Where the line begins that is `lines` before the one at `at`.
fn line_start(text: &str, at: usize, lines: usize) -> usize {
    let newlines = memchr::memrchr_iter(b'\n', &text.as_bytes()[..at]);
    newlines.take(lines + 1).nth(lines).map_or(0, |newline| newline + 1)
}

/// Where the line ends that is `lines` after the one at `at`.
fn line_end(text: &str, at: usize, lines: usize) -> usize {
    let newlines = memchr::memchr_iter(b'\n', &text.as_bytes()[at..]);
    newlines.take(lines + 1).nth(lines).map_or(text.len(), |newline| at + newline + 1)
}

/// Lines as long as they fit.
struct Out {
    text: String,
    bytes: usize,
    bytes_max: usize,
    omitted: usize,
}

impl Out {
    fn lines(&mut self, sign: char, lines: &[&str]) {
        for line in lines {
            let mut whole = String::with_capacity(line.len() + 1);
            whole.push(sign);
            whole.push_str(line);
            if !line.ends_with('\n') {
                let _ = writeln!(whole, "\n\\ No newline at end of file");
            }
            self.line(&whole);
        }
    }

    fn line(&mut self, line: &str) {
        let bytes = json_len(line);
        // After the first that does not fit, none does: a diff with a hole would mislead.
        if self.omitted > 0 || self.bytes + bytes > self.bytes_max {
            self.omitted += 1;
            return;
        }
        self.bytes += bytes;
        self.text.push_str(line);
    }

    fn finish(self) -> Diff {
        Diff { text: self.text, omitted_lines: self.omitted }
    }
}

#[cfg(test)]
mod tests;

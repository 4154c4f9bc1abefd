//! Where some lines of a large file begin: one mark in each step of bytes, found by whoever asks
//! first and kept for the next.
//!
//! A search for a line begins at the mark before it, or at the last one where the file has not
//! been looked through so far, and adds those that it passes. So lines that were found once are
//! found again by reading one step, wherever they are.

use std::sync::Arc;

/// A multiple of a block that a scan reads. Looking through one takes a fraction of a millisecond.
const STEP_BYTES: u64 = 1024 * 1024;
/// The most marks of one file, 128 KiB; beyond it, 16 GiB, each second one is dropped.
const MARKS_MAX: usize = 16 * 1024;

/// The marks of one file.
#[derive(Debug, Clone)]
pub struct LineMarks {
    /// The bytes from mark to mark.
    step: u64,
    /// How many lines end before the first, the second, … multiple of the step.
    ends: Vec<u64>,
}

impl LineMarks {
    /// Files up to this size have no mark.
    pub(super) const FILE_BYTES_MIN: u64 = STEP_BYTES;

    /// Before the end of the line `wanted`, never 0: the offset of the last mark, and how many
    /// lines end before that.
    pub(super) fn before(&self, wanted: u64) -> (u64, u64) {
        let marks = self.ends.partition_point(|ends| *ends < wanted);
        let ends = marks.checked_sub(1).map_or(0, |last| self.ends[last]);
        (marks as u64 * self.step, ends)
    }

    /// Notes that `ends` lines end before `offset`, if a mark is due there.
    pub(super) fn pass(marks: &mut Arc<Self>, offset: u64, ends: u64) {
        if offset != marks.end() + marks.step {
            return;
        }
        let marks = Arc::make_mut(marks);
        marks.ends.push(ends);
        if marks.ends.len() < MARKS_MAX {
            return;
        }
        // Of two steps that become one, the end of the second is the mark.
        let mut at = 0;
        marks.ends.retain(|_| {
            at += 1;
            at % 2 == 0
        });
        marks.step *= 2;
    }

    /// The offset up to which lines have been counted.
    pub(super) fn end(&self) -> u64 {
        self.ends.len() as u64 * self.step
    }

    pub(super) fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u64>()
    }

    /// Without the room for more.
    pub(super) fn shrink(marks: &mut Arc<Self>) {
        if marks.ends.capacity() > marks.ends.len() {
            Arc::make_mut(marks).ends.shrink_to_fit();
        }
    }
}

impl Default for LineMarks {
    fn default() -> Self {
        Self { step: STEP_BYTES, ends: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks of a file whose every line has ten bytes, up to `end`.
    fn passed(end: u64) -> LineMarks {
        let mut marks = Arc::new(LineMarks::default());
        let block = STEP_BYTES / 4;
        for at in 1..=end / block {
            LineMarks::pass(&mut marks, at * block, at * block / 10);
        }
        Arc::unwrap_or_clone(marks)
    }

    #[test]
    fn a_search_begins_within_a_step_of_its_line() {
        let marks = passed(10 * STEP_BYTES + 5);
        assert_eq!((marks.ends.len(), marks.end()), (10, 10 * STEP_BYTES));
        for wanted in 1..=STEP_BYTES {
            let (offset, ends) = marks.before(wanted);
            assert_eq!(ends, offset / 10);
            assert!(ends < wanted && offset <= 10 * STEP_BYTES);
            assert!(offset == 10 * STEP_BYTES || wanted * 10 <= offset + STEP_BYTES + 10);
        }
        assert_eq!(LineMarks::default().before(1), (0, 0));
        assert_eq!(marks.before(u64::MAX).0, 10 * STEP_BYTES);
    }

    #[test]
    fn marks_of_a_huge_file_are_few_and_still_right() {
        let marks = passed(5 * MARKS_MAX as u64 * STEP_BYTES);
        assert!(marks.ends.len() < MARKS_MAX && marks.step == 8 * STEP_BYTES);
        assert_eq!(marks.end(), 5 * MARKS_MAX as u64 * STEP_BYTES);
        for (at, ends) in marks.ends.iter().enumerate() {
            assert_eq!(*ends, (at as u64 + 1) * marks.step / 10);
        }
    }

    #[test]
    fn a_scan_that_began_later_adds_nothing() {
        let mut marks = Arc::new(LineMarks::default());
        LineMarks::pass(&mut marks, 3 * STEP_BYTES, 7);
        assert_eq!(marks.end(), 0);
    }
}

//! How a process is bounded, and what its steps come to.

use serde::{Deserialize, Serialize};

/// The limits of one process. A checkpoint keeps them, since chunks are cut by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// About how many bytes of text, or of row groups, one chunk has.
    pub chunk_bytes: usize,
    /// How many chunks are worked on at the same time.
    pub chunks_concurrent: usize,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// The most columns that are looked at.
    pub columns_max: usize,
    /// The most groups of an aggregation.
    pub groups_max: usize,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            chunk_bytes: 2 << 20,
            chunks_concurrent: 2,
            record_bytes_max: 8 << 20,
            columns_max: 1_000,
            groups_max: 500_000,
        }
    }
}

/// How far a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of the files that are behind it.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Rows that were taken in.
    pub rows: u64,
    /// Rows that were left out because they could not be read.
    pub bad_rows: u64,
}

/// What one step came to.
#[derive(Debug)]
pub enum Step {
    /// One more chunk is in the result.
    Chunk(Chunk),
    /// All chunks are, and this is the result.
    Done(Report),
}

/// A chunk that was folded into the result.
#[derive(Debug)]
pub struct Chunk {
    /// How many chunks are in the result now.
    pub next: u64,
    /// How far that is.
    pub progress: Progress,
    /// The same in words, beginning with `Processed: `.
    pub message: String,
    /// What of the result belongs to this chunk alone, such as its matches.
    pub part: Option<serde_json::Value>,
}

/// The result.
#[derive(Debug)]
pub struct Report {
    /// The result: an object.
    pub value: serde_json::Value,
    /// How far it went.
    pub progress: Progress,
}

impl Progress {
    /// In words, for the progress of a call; they begin with `Processed: `.
    pub fn message(&self) -> String {
        let permille =
            self.bytes_done.saturating_mul(1000).checked_div(self.bytes_total).unwrap_or(1000);
        let (done, total) = (size(self.bytes_done), size(self.bytes_total));
        let share = format!("{}.{} %", permille / 10, permille % 10);
        let bad = match self.bad_rows {
            0 => String::new(),
            bad => format!(", {bad} bad"),
        };
        format!("Processed: {done} of {total} ({share}), {} rows{bad}", self.rows)
    }
}

/// Bytes in the unit that suits them, with one digit behind the point.
fn size(bytes: u64) -> String {
    let (mut unit, mut names) = (1, ["kB", "MB", "GB", "TB"].iter());
    let mut name = "B";
    while bytes / unit >= 1000
        && let Some(larger) = names.next()
    {
        (unit, name) = (unit * 1000, larger);
    }
    match unit {
        1 => format!("{bytes} B"),
        _ => format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let progress = Progress {
            bytes_done: 8_388_608,
            bytes_total: 1_000_000_000,
            rows: 76_123,
            bad_rows: 2,
        };
        assert_eq!(progress.message(), "Processed: 8.3 MB of 1.0 GB (0.8 %), 76123 rows, 2 bad");
        assert_eq!(Progress::default().message(), "Processed: 0 B of 0 B (100.0 %), 0 rows");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(u64::MAX), "18446744.0 TB");
    }
}

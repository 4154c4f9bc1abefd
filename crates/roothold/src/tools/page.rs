//! What all paged answers have in common.

use roothold_core::files::Problem;
use schemars::JsonSchema;
use serde::Serialize;

/// Room in a page, taken up record by record.
pub(super) struct Room {
    bytes: usize,
    entries: usize,
}

impl Room {
    /// The room of a budget, less what the frame of the answer takes.
    pub(super) fn of(budget: &roothold_core::Budget) -> Self {
        /// Path, cursor, problems: what stands around the records.
        const FRAME_BYTES: usize = 512;
        Self {
            bytes: budget.result_bytes_max.saturating_sub(FRAME_BYTES),
            entries: budget.entries_max,
        }
    }

    /// Takes room for one record, if there is any. An empty page takes any record.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes || self.entries == 0 {
            return false;
        }
        self.bytes -= bytes;
        self.entries -= 1;
        true
    }
}

/// Something below that could not be looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Unreadable {
    /// The path.
    path: String,
    /// Why.
    reason: String,
}

pub(super) fn unreadable(problems: Vec<Problem>) -> Vec<Unreadable> {
    problems
        .into_iter()
        .map(|problem| Unreadable { path: problem.path, reason: problem.reason.to_owned() })
        .collect()
}

/// The second block of a text form: what the records leave open.
pub(super) fn note(
    next_cursor: Option<&str>,
    problems: &[Unreadable],
    omitted: usize,
) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(cursor) = next_cursor {
        lines.push(format!("truncated=true next_cursor={cursor}"));
    }
    for problem in problems {
        lines.push(format!("problem: {} {}", problem.path, problem.reason));
    }
    if omitted > 0 {
        lines.push(format!("problems_omitted: {omitted}"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

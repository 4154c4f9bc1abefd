//! Rows that could not be read: the first of them by line, all of them counted.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reason::Reason;
use super::values::brief;
use crate::remedy::{self, Remedy};

/// How many bad rows are listed.
pub(super) const LISTED_MAX: usize = 50;
/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 240;

/// One row that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BadRow {
    /// Its file, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// The line on which it begins, counted from 1; for Parquet, the row.
    pub(super) line: u64,
    /// What is wrong with it.
    pub(super) reason: String,
    /// With which option it could be read, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<Remedy>,
}

/// Bad rows: the first, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BadRows {
    /// How many rows are bad.
    pub(super) count: u64,
    /// The first of them, in order.
    pub(super) first: Vec<BadRow>,
}

impl BadRows {
    /// Notes one more. `what` finds its line and what is wrong with it, for those that are listed;
    /// the reason may quote what is in the file.
    pub(super) fn push(&mut self, what: impl FnOnce() -> (u64, Reason)) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            let (line, Reason { text, remedy }) = what();
            let reason = brief(&text, REASON_BYTES_MAX);
            self.first.push(BadRow { file: None, line, reason, remedy });
        }
    }

    /// Those that are listed, as they are told.
    pub(super) fn told(&self) -> Vec<Value> {
        let told = self.first.iter().map(|row| {
            let mut told = json!({ "line": row.line, "reason": row.reason });
            if let Some(file) = &row.file {
                told["file"] = file.as_str().into();
            }
            told
        });
        told.collect()
    }

    /// The options with which those that are listed can be read, as far as options help.
    pub(super) fn options(&self) -> Option<Value> {
        remedy::options(self.first.iter().filter_map(|row| row.remedy.as_ref()))
    }

    /// Adds those of the next chunk.
    pub(super) fn merge(&mut self, next: Self) {
        self.count += next.count;
        let room = LISTED_MAX - self.first.len();
        self.first.extend(next.first.into_iter().take(room));
    }

    /// Adds others of the same chunk.
    pub(super) fn merge_by_line(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.sort_by_key(|row| row.line);
        self.first.truncate(LISTED_MAX);
    }

    /// Says which file they are in.
    pub(super) fn name_file(&mut self, name: &str) {
        for row in &mut self.first {
            row.file = Some(name.to_owned());
        }
    }
}

//! Matches of all chunks so far, and what of their surroundings the next chunk still has.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Match {
    /// Its file, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// Its line, counted from 1; for Parquet, its row.
    pub(super) line: u64,
    /// The line, if lines were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// The values that match, by column, if columns were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Map<String, Value>>,
    /// The lines before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) before: Vec<String>,
    /// The lines behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) after: Vec<String>,
}

/// What was found in one chunk.
#[derive(Debug, Default)]
pub(in super::super) struct Part {
    pub(super) file: usize,
    pub(super) total: u64,
    /// The first matches, with what is around them in the chunk.
    pub(super) matches: Vec<Match>,
    /// Its first lines and its last, as many as may be around a match.
    pub(super) head: Vec<String>,
    pub(super) tail: Vec<String>,
}

/// What was found so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    files: Vec<String>,
    context: usize,
    matches_max: usize,
    total: u64,
    matches: Vec<Match>,
    /// How many of them have all lines that are around them.
    complete: usize,
    file: usize,
    tail: Vec<String>,
}

impl Found {
    pub(super) fn new(files: Vec<String>, context: usize, matches_max: usize) -> Self {
        Self { files, context, matches_max, ..Self::default() }
    }

    /// Adds a chunk, and returns the matches that lack nothing any more.
    pub(super) fn add(&mut self, part: Part) -> Vec<Match> {
        let emitted = self.complete;
        if part.file != self.file {
            (self.file, self.tail) = (part.file, Vec::new());
            self.complete = self.matches.len();
        }
        for open in &mut self.matches[self.complete..] {
            let missing = self.context - open.after.len().min(self.context);
            open.after.extend(part.head.iter().take(missing).cloned());
        }
        self.total += part.total;
        let room = self.matches_max - self.matches.len().min(self.matches_max);
        for mut found in part.matches.into_iter().take(room) {
            let missing = self.context - found.before.len().min(self.context);
            let reach = self.tail.len() - missing.min(self.tail.len());
            found.before.splice(0..0, self.tail[reach..].iter().cloned());
            if self.files.len() > 1 {
                found.file = Some(self.files[part.file].clone());
            }
            self.matches.push(found);
        }
        self.tail.extend(part.tail);
        let surplus = self.tail.len() - self.tail.len().min(self.context);
        self.tail.drain(..surplus);
        while self.complete < self.matches.len()
            && self.matches[self.complete].after.len() >= self.context
        {
            self.complete += 1;
        }
        self.matches[emitted..self.complete].to_vec()
    }

    pub(super) fn report(&self) -> Value {
        json!({
            "total": self.total,
            "truncated": self.total > self.matches.len() as u64,
            "matches": self.matches,
        })
    }
}

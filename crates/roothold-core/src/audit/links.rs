//! What the files of a log say of each other. A file that goes on from another names it and the line
//! that it had come to; later lines name the last line of each file that is not written any more; and a
//! stop line names the file after it. So a file that was taken away, cut off or put in the place of
//! another is noticed, though none at the end of all: for that, compare with heads that were kept elsewhere.
//!
//! What it does not do: it finds no files; whoever has them hands them over, the newest first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;

use serde::{Deserialize, Serialize};

use super::chain::Head;
use super::verify::{Broken, BrokenReason, Summary, verify_against};

/// Another file of the same log, and a line that is on the disk in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Link {
    /// The name of the file.
    pub log: String,
    /// The number of the line.
    pub seq: u64,
    /// Its hash in hexadecimal.
    pub head: String,
}

/// A file that another one names and that was not handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The name of the file.
    pub log: String,
    /// The file that names it.
    pub named_by: String,
    /// Whether two hashes are known for one of its lines, so that somebody lies.
    pub is_contradicted: bool,
}

/// Checks files that name each other.
#[derive(Debug, Default)]
pub struct Series {
    /// What the file of a name must hold.
    heads: HashMap<String, Vec<Head>>,
    /// Each file that is named, and by which.
    named: BTreeMap<String, String>,
    /// Each file that was handed over.
    seen: HashSet<String>,
    /// What the first line of each whole one names.
    after: HashMap<String, Option<String>>,
}

impl Series {
    /// With heads that were kept elsewhere, by the name of their file.
    pub fn new(kept: impl IntoIterator<Item = (String, Head)>) -> Self {
        let mut series = Self::default();
        for (log, head) in kept {
            series.heads.entry(log).or_default().push(head);
        }
        series
    }

    /// What is known of the file of this name, by heads that were kept and files after it.
    pub fn heads(&self, log: &str) -> &[Head] {
        self.heads.get(log).map_or(&[], Vec::as_slice)
    }

    /// Checks the file of this name, which is older than those that were checked before.
    ///
    /// # Errors
    /// [`Broken`] names the first line that is wrong, by itself or by what other files say of it.
    pub fn verify(&mut self, log: &str, input: impl BufRead) -> Result<Summary, Broken> {
        self.seen.insert(log.to_owned());
        let summary = verify_against(input, self.heads(log))?;
        let after = summary.before.first().filter(|(line, _)| *line == 1);
        self.after.insert(log.to_owned(), after.map(|(_, link)| link.log.clone()));
        for (line, Link { log: before, seq, head }) in &summary.before {
            if self.seen.contains(before) {
                return Err(Broken {
                    line: *line,
                    reason: BrokenReason::NotBefore(before.clone()),
                });
            }
            let head = Head { seq: *seq, hash: head.clone() };
            self.heads.entry(before.clone()).or_default().push(head);
            self.named.entry(before.clone()).or_insert_with(|| log.to_owned());
        }
        if let Some(next) = &summary.next {
            if self.after.get(next).is_some_and(|after| after.as_deref() != Some(log)) {
                let reason = BrokenReason::NotAfter(next.clone());
                return Err(Broken { line: summary.lines, reason });
            }
            self.named.entry(next.clone()).or_insert_with(|| log.to_owned());
        }
        Ok(summary)
    }

    /// The files that were named and not checked: the operator may have moved them away.
    pub fn absent(&self) -> impl Iterator<Item = Absent> {
        let absent = self.named.iter().filter(|(log, _)| !self.seen.contains(*log));
        absent.map(|(log, named_by)| Absent {
            log: log.clone(),
            named_by: named_by.clone(),
            is_contradicted: self.is_contradicted(log),
        })
    }

    fn is_contradicted(&self, log: &str) -> bool {
        let heads = self.heads(log);
        let mut by_seq: HashMap<u64, &str> = HashMap::new();
        heads.iter().any(|head| *by_seq.entry(head.seq).or_insert(&head.hash) != head.hash)
    }
}

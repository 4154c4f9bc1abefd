//! Checking a log: is this what was written, line for line?
//!
//! A changed, removed, moved or added line breaks the chain and is named. What the chain cannot
//! show is that the whole file was made anew, or that whole lines are missing at its end: for
//! that, compare with heads that were kept elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead};

use super::chain::{FORMAT, HASH_FIELD, HASH_HEX, Head, LINE_END, digest};
use super::links::Link;
use super::read::{Event, Line, Record, next_line};

/// What an intact log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The random id of the boot, as checkpoints of this log repeat it.
    pub boot: String,
    /// All lines.
    pub lines: u64,
    /// Calls that were decided.
    pub intents: u64,
    /// Calls that ended.
    pub outcomes: u64,
    /// Requests that were refused for their credentials.
    pub auth_failures: u64,
    /// Allowed calls without an outcome: cut off by a crash, or still running.
    pub unfinished: u64,
    /// Outcomes whose call has no intent, which no server of this kind writes.
    pub unannounced: u64,
    /// Whether the log ends with a stop line.
    pub stopped: bool,
    /// The files before it that it names, each with the number of the line that does.
    pub before: Vec<(u64, Link)>,
    /// The file after it that its stop line names.
    pub next: Option<String>,
    /// The boot line's time.
    pub first_ts: String,
    /// The last line's time.
    pub last_ts: String,
    /// The last line's number and hash.
    pub head: Head,
}

/// The first line that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Broken {
    /// The number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: BrokenReason,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum BrokenReason {
    /// The input itself failed.
    #[error("the log could not be read: {0}")]
    Io(#[from] io::Error),
    /// The log is empty or begins with another line.
    #[error("the boot line is missing")]
    MissingBoot,
    /// The input ends within the line.
    #[error("the last line is cut off")]
    TruncatedLastLine,
    /// The line is not a record of this format.
    #[error("this is not an audit record: {0}")]
    NotARecord(String),
    /// The line's bytes are not those that were hashed.
    #[error("the line was changed: its hash does not match its bytes")]
    HashMismatch,
    /// The numbers are not consecutive.
    #[error("lines are missing, repeated or moved: expected number {expected}, found {found}")]
    SeqGap {
        /// The number that comes next.
        expected: u64,
        /// The number of this line.
        found: u64,
    },
    /// The line does not continue the one before.
    #[error("the line does not follow the one before: its previous hash does not match")]
    PrevMismatch,
    /// A boot line within the log.
    #[error("a second boot line")]
    SecondBoot,
    /// Something follows the stop line.
    #[error("a line after the stop line")]
    AfterStop,
    /// A head that was kept elsewhere has another hash for this line.
    #[error("the log was rewritten: this line's hash is not the one that was kept")]
    HeadMismatch,
    /// A head that was kept elsewhere lies beyond the end.
    #[error("lines were removed at the end: line {0} was kept as a head")]
    HeadMissing(u64),
    /// The line names, as one before this file, a file that is not before it.
    #[error("{0} is named as a file before this one, and is not")]
    NotBefore(String),
    /// The stop line names a file that does not go on from this one.
    #[error("the log is said to go on in {0}, which does not go on from it")]
    NotAfter(String),
}

/// Checks a whole log.
///
/// # Errors
/// [`Broken`] names the first line that is wrong.
pub fn verify(input: impl BufRead) -> Result<Summary, Broken> {
    verify_against(input, &[])
}

/// Checks a whole log, and that it still holds each of the heads that were kept elsewhere.
///
/// # Errors
/// [`Broken`] names the first line that is wrong.
pub fn verify_against(mut input: impl BufRead, heads: &[Head]) -> Result<Summary, Broken> {
    let mut check = Check::new(heads);
    let mut buffer = Vec::new();
    loop {
        let line = check.lines + 1;
        let broken = |reason| Broken { line, reason };
        match next_line(&mut input, &mut buffer).map_err(|error| broken(error.into()))? {
            Line::Whole => check.line(&buffer).map_err(broken)?,
            Line::Partial => return Err(broken(BrokenReason::TruncatedLastLine)),
            Line::TooLong => {
                return Err(broken(BrokenReason::NotARecord("it is too long".to_owned())));
            }
            Line::End => return check.finish().map_err(broken),
        }
    }
}

/// What is known after the lines so far.
struct Check {
    lines: u64,
    boot: String,
    heads: BTreeMap<u64, Vec<String>>,
    open_calls: HashSet<u64>,
    counts: [u64; 4],
    first_ts: Option<String>,
    last: Option<(String, String)>,
    stopped: bool,
    before: Vec<(u64, Link)>,
    next: Option<String>,
}

const INTENTS: usize = 0;
const OUTCOMES: usize = 1;
const AUTH_FAILURES: usize = 2;
const UNANNOUNCED: usize = 3;

impl Check {
    fn new(heads: &[Head]) -> Self {
        let mut by_seq: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for head in heads {
            by_seq.entry(head.seq).or_default().push(head.hash.clone());
        }
        Self {
            lines: 0,
            boot: String::new(),
            heads: by_seq,
            open_calls: HashSet::new(),
            counts: [0; 4],
            first_ts: None,
            last: None,
            stopped: false,
            before: Vec::new(),
            next: None,
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), BrokenReason> {
        let record = hashed_record(line)?;
        self.in_order(&record)?;
        let kept = self.heads.remove(&record.seq).unwrap_or_default();
        if kept.iter().any(|kept| *kept != record.hash) {
            return Err(BrokenReason::HeadMismatch);
        }
        self.lines += 1;
        self.count(&record.event);
        self.first_ts.get_or_insert_with(|| record.ts.clone());
        self.last = Some((record.hash, record.ts));
        Ok(())
    }

    /// Whether the record is the one that comes next.
    fn in_order(&self, record: &Record) -> Result<(), BrokenReason> {
        let boots = matches!(record.event, Event::Boot { .. });
        let expected = self.lines + 1;
        let last_hash = self.last.as_ref().map(|(hash, _)| hash);
        if last_hash.is_none() && !boots {
            return Err(BrokenReason::MissingBoot);
        }
        if record.seq != expected {
            return Err(BrokenReason::SeqGap { expected, found: record.seq });
        }
        if record.prev.as_ref() != last_hash {
            return Err(BrokenReason::PrevMismatch);
        }
        if self.stopped {
            return Err(BrokenReason::AfterStop);
        }
        if boots && last_hash.is_some() {
            return Err(BrokenReason::SecondBoot);
        }
        Ok(())
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Boot { boot, after, .. } => {
                self.boot.clone_from(boot);
                self.before.extend(after.clone().map(|link| (self.lines, link)));
            }
            Event::Closed { file } => self.before.push((self.lines, file.clone())),
            Event::Intent { call, decision, .. } => {
                self.counts[INTENTS] += 1;
                if decision == "allow" {
                    self.open_calls.insert(*call);
                }
            }
            Event::Outcome { call, ok, .. } => {
                self.counts[OUTCOMES] += 1;
                // A denied call may have an outcome too, and that one is never a success.
                if !self.open_calls.remove(call) && *ok {
                    self.counts[UNANNOUNCED] += 1;
                }
            }
            Event::AuthFailure { .. } => self.counts[AUTH_FAILURES] += 1,
            Event::Stop { next } => {
                self.stopped = true;
                self.next.clone_from(next);
            }
        }
    }

    fn finish(mut self) -> Result<Summary, BrokenReason> {
        let (Some((hash, last_ts)), Some(first_ts)) = (self.last, self.first_ts) else {
            return Err(BrokenReason::MissingBoot);
        };
        if let Some((seq, _)) = self.heads.pop_first() {
            return Err(BrokenReason::HeadMissing(seq));
        }
        Ok(Summary {
            boot: self.boot,
            lines: self.lines,
            intents: self.counts[INTENTS],
            outcomes: self.counts[OUTCOMES],
            auth_failures: self.counts[AUTH_FAILURES],
            unfinished: self.open_calls.len() as u64,
            unannounced: self.counts[UNANNOUNCED],
            stopped: self.stopped,
            before: self.before,
            next: self.next,
            first_ts,
            last_ts,
            head: Head { seq: self.lines, hash },
        })
    }
}

/// The record of a line whose hash is that of its bytes.
fn hashed_record(line: &[u8]) -> Result<Record, BrokenReason> {
    let not_a_record = |reason: String| BrokenReason::NotARecord(reason);
    let no_hash = || not_a_record("it does not end with its hash".to_owned());
    let rest = line.strip_suffix(LINE_END).ok_or_else(no_hash)?;
    let (rest, hash) = rest.split_last_chunk::<HASH_HEX>().ok_or_else(no_hash)?;
    let body = rest.strip_suffix(HASH_FIELD).ok_or_else(no_hash)?;
    if digest(body) != *hash {
        return Err(BrokenReason::HashMismatch);
    }
    let record: Record =
        serde_json::from_slice(line).map_err(|error| not_a_record(error.to_string()))?;
    if !(1..=FORMAT).contains(&record.v) {
        return Err(not_a_record(format!("format version {} is not known", record.v)));
    }
    Ok(record)
}

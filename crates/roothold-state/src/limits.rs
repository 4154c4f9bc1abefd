//! How much a store keeps, and how long anything may take.

use std::time::Duration;

use crate::error::{OpenError, StateError};
use crate::job::{Commit, Failure, Job, JobPage, NewJob, Outcome};
use crate::time::millis;

/// The longest lease. A lease that ends later than this from now is from before the store's clock
/// was set back, and counts as over.
pub const LEASE_MAX: Duration = Duration::from_mins(5);

/// How often a job may be claimed in all, chunks or not.
pub(crate) const EPOCH_MAX: i64 = 10_000;
/// The longest deadline and retention.
const SPAN_MAX: Duration = Duration::from_hours(366 * 24);
const NAME_BYTES_MAX: usize = 256;
const MESSAGE_BYTES_MAX: usize = 1024;
const KINDS_MAX: usize = 32;
const ATTEMPTS_MAX: u32 = 1000;
/// The most rows of one answer, and the bytes after which it ends.
pub(crate) const PAGE_MAX: u32 = 1000;
pub(crate) const PAGE_BYTES_MAX: usize = 4 << 20;
/// How many of an owner's oldest jobs one submission deletes at most.
pub(crate) const FORGET_MAX: i64 = 10;
/// How many rows one transaction deletes at most.
pub(crate) const DELETE_MAX: i64 = 200;

/// The limits of a store. They must be the same in all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Jobs of one owner that have not ended.
    pub live_per_owner_max: u32,
    /// Jobs of one owner that run at once, over all replicas.
    pub running_per_owner_max: u32,
    /// Ended jobs of one owner that are kept; the oldest go first.
    pub kept_per_owner_max: u32,
    /// Jobs in all that have not ended.
    pub live_max: u32,
    /// Bytes of an input.
    pub input_bytes_max: u64,
    /// Bytes of a checkpoint's folded state.
    pub checkpoint_bytes_max: u64,
    /// Bytes of a partial result, and of a result.
    pub result_bytes_max: u64,
    /// Bytes of one part of a result.
    pub part_bytes_max: u64,
    /// Bytes of all parts of one job.
    pub parts_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            live_per_owner_max: 32,
            running_per_owner_max: 4,
            kept_per_owner_max: 500,
            live_max: 10_000,
            input_bytes_max: 1 << 20,
            checkpoint_bytes_max: 32 << 20,
            result_bytes_max: 4 << 20,
            part_bytes_max: 1 << 20,
            parts_bytes_max: 64 << 20,
        }
    }
}

impl Limits {
    /// Refuses what no store can keep.
    ///
    /// # Errors
    /// [`OpenError::Limit`] names the first limit that is out of its bounds.
    pub fn check(&self) -> Result<(), OpenError> {
        const GIB: u64 = 1 << 30;
        let bounds = [
            ("live_per_owner_max", u64::from(self.live_per_owner_max), 1, 100_000),
            ("running_per_owner_max", u64::from(self.running_per_owner_max), 1, 10_000),
            ("kept_per_owner_max", u64::from(self.kept_per_owner_max), 1, 1_000_000),
            ("live_max", u64::from(self.live_max), 1, 1_000_000),
            ("input_bytes_max", self.input_bytes_max, 1, GIB / 2),
            ("checkpoint_bytes_max", self.checkpoint_bytes_max, 1, GIB / 2),
            ("result_bytes_max", self.result_bytes_max, 1, GIB / 2),
            ("part_bytes_max", self.part_bytes_max, 1, GIB / 2),
            ("parts_bytes_max", self.parts_bytes_max, 1, 64 * GIB),
        ];
        for (name, is, min, max) in bounds {
            if is < min || is > max {
                return Err(OpenError::Limit { name, min, max, is });
            }
        }
        Ok(())
    }

    pub(crate) fn check_job(&self, job: &NewJob) -> Result<(), StateError> {
        if !named(&job.owner) || !named(&job.kind) {
            return Err(StateError::Invalid("owner and kind are names of 1 to 256 bytes"));
        }
        if job.attempts_max == 0 || job.attempts_max > ATTEMPTS_MAX {
            return Err(StateError::Invalid("attempts_max is from 1 to 1000"));
        }
        let wrong =
            |about: &String| about.len() > MESSAGE_BYTES_MAX || about.contains(char::is_control);
        if job.about.as_ref().is_some_and(wrong) {
            return Err(StateError::Invalid(
                "what a job is about is one line of at most 1024 bytes",
            ));
        }
        if job.deadline.is_zero() || job.deadline > SPAN_MAX || job.retention > SPAN_MAX {
            return Err(StateError::Invalid("deadline and retention are at most 366 days"));
        }
        fits("the job's input", job.input.len(), self.input_bytes_max)
    }

    /// Whether one who has this many live jobs may have another.
    pub(crate) fn check_live_of_owner(&self, live: u64) -> Result<(), StateError> {
        let limit = u64::from(self.live_per_owner_max);
        let (what, hint) = ("your jobs that have not ended", "wait for one, or cancel one");
        if live < limit { Ok(()) } else { Err(StateError::Quota { what, limit, hint }) }
    }

    /// Whether this many live jobs of everybody leave room for another.
    pub(crate) fn check_live(&self, live: u64) -> Result<(), StateError> {
        let limit = u64::from(self.live_max);
        let (what, hint) = ("the jobs of all that have not ended", "try again later");
        if live < limit { Ok(()) } else { Err(StateError::Quota { what, limit, hint }) }
    }

    pub(crate) fn check_commit(&self, commit: &Commit) -> Result<(), StateError> {
        if commit.next <= commit.from || i64::try_from(commit.next).is_err() {
            return Err(StateError::Invalid("a chunk ends after it begins, below 2^63"));
        }
        let wrong = |message: &String| message.len() > MESSAGE_BYTES_MAX || message.contains('\0');
        if commit.message.as_ref().is_some_and(wrong) {
            return Err(StateError::Invalid(
                "a chunk's message is at most 1024 bytes without a NUL",
            ));
        }
        fits("the checkpoint", commit.state.len(), self.checkpoint_bytes_max)?;
        let partial = commit.partial.as_ref().map_or(0, Vec::len);
        fits("the partial result", partial, self.result_bytes_max)?;
        let part = commit.part.as_ref().map_or(0, Vec::len);
        fits("a part of the result", part, self.part_bytes_max)
    }

    /// Whether `part` more bytes fit behind the `kept` bytes of a job's parts.
    pub(crate) fn check_parts(&self, kept: i64, part: usize) -> Result<(), StateError> {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        fits("the result in parts", kept.saturating_add(part), self.parts_bytes_max)
    }

    pub(crate) fn check_outcome(&self, outcome: &Outcome) -> Result<(), StateError> {
        match outcome {
            Outcome::Completed(result) => fits("the result", result.len(), self.result_bytes_max),
            Outcome::Failed(_) | Outcome::Cancelled => Ok(()),
        }
    }
}

/// A page of `limit` jobs out of up to one more.
pub(crate) fn page(mut jobs: Vec<Job>, limit: u32) -> JobPage {
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let before = jobs.last().filter(|_| more).map(|job| job.seq);
    JobPage { jobs, before }
}

/// How long a job waits for its next attempt: no longer than a lease, so that a clock that was set
/// back is noticed.
pub(crate) fn retry_millis(after: Duration) -> i64 {
    millis(after.min(LEASE_MAX))
}

/// A failure's text as it is stored: a long one is cut, and no NUL is in it, which PostgreSQL refuses.
pub(crate) fn failure_text(failure: &Failure) -> String {
    let text = &failure.public;
    let end =
        (0..=text.len().min(4 * MESSAGE_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].replace('\0', " ")
}

pub(crate) fn check_lease(worker: &str, lease: Duration) -> Result<(), StateError> {
    if !named(worker) {
        return Err(StateError::Invalid("a worker's name has 1 to 256 bytes"));
    }
    check_extension(lease)
}

pub(crate) fn check_kinds(kinds: usize) -> Result<(), StateError> {
    if kinds == 0 || kinds > KINDS_MAX {
        return Err(StateError::Invalid("a worker knows 1 to 32 kinds of work"));
    }
    Ok(())
}

pub(crate) fn check_extension(lease: Duration) -> Result<(), StateError> {
    if lease.is_zero() || lease > LEASE_MAX {
        return Err(StateError::Invalid("a lease is at most 300 seconds"));
    }
    Ok(())
}

fn named(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0')
}

fn fits(what: &'static str, bytes: usize, limit: u64) -> Result<(), StateError> {
    let bytes = bytes as u64;
    if bytes > limit { Err(StateError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

/// What an owner reads of a job that was claimed in vain too often.
pub(crate) const POISON_TEXT: &str = "the job was started as often as allowed and never got further: \
     the process that ran it ended, hung or lost touch each time; try smaller input, or ask \
     the operator, whose log says what happened";
/// What an owner reads of a job whose deadline passed.
pub(crate) const DEADLINE_TEXT: &str = "the job's deadline passed before it was done; what it had by then can be read as its \
     partial result; submit it again with a later deadline or less input";

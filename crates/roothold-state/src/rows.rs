//! What both stores need between rows and the types of this crate.

use roothold_core::FaultKind;

use crate::error::StateError;
use crate::job::{Directive, JobState, Lease};
use crate::limits::LEASE_MAX;
use crate::time::millis;

/// The columns of a job as its owner sees it, in the order in which both stores read them.
pub(crate) const JOB: &str = "id, seq, owner, kind, state, cancel_asked, epoch, attempts, \
     attempts_max, worker, next, chunks, parts, bytes_done, bytes_total, rows_done, message, \
     fault_kind, fault_public, submitted_at, started_at, updated_at, deadline_at, ended_at, expires_at, about";

/// A number that is never negative here.
pub(crate) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A number as it is stored; what does not fit stays at the largest.
pub(crate) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A small number that is never negative here.
pub(crate) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A lease that ends later than this counts as over, since no lease is that long: the clock was set back.
pub(crate) fn horizon(now: i64) -> i64 {
    now.saturating_add(millis(LEASE_MAX))
}

/// The kind of a code. One that this program does not know was written by another version.
pub(crate) fn fault_kind(code: &str) -> FaultKind {
    FaultKind::ALL.into_iter().find(|kind| kind.code() == code).unwrap_or(FaultKind::Internal)
}

/// What the holder of a lease is checked against.
pub(crate) struct Held {
    pub(crate) seq: i64,
    pub(crate) epoch: u64,
    pub(crate) state: JobState,
    pub(crate) next: u64,
    pub(crate) parts: i64,
    pub(crate) parts_bytes: i64,
    pub(crate) cancel_asked: bool,
    pub(crate) deadline_at: i64,
}

impl Held {
    /// The same, if `lease` is the newest and the job runs.
    pub(crate) fn by(self, lease: Lease) -> Option<Self> {
        (self.epoch == lease.epoch && self.state == JobState::Running).then_some(self)
    }

    /// What its holder is to do.
    pub(crate) fn directive(&self, now: i64) -> Directive {
        match (self.cancel_asked, self.deadline_at <= now) {
            (true, _) => Directive::Cancel,
            (false, true) => Directive::Expire,
            (false, false) => Directive::Go,
        }
    }

    /// Whether a chunk is still to be committed: not if it was before, since its holder alone can
    /// have brought the job there.
    pub(crate) fn is_ahead(&self, from: u64, next: u64) -> Result<bool, StateError> {
        if self.next == next {
            return Ok(false);
        }
        if self.next == from { Ok(true) } else { Err(StateError::Gap { from, stands: self.next }) }
    }
}

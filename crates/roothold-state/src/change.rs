//! Wake-ups: that something changed, as a hint to look.
//!
//! A hint may be missed, and says so ([`What::Unknown`]); nothing depends on one. Whoever waits
//! also looks from time to time.

use tokio::sync::broadcast;

use crate::JobId;

/// How many wake-ups a slow listener may lie behind before it is told that it missed some.
const BEHIND_MAX: usize = 256;

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which job, if it is one and known.
    pub job: Option<JobId>,
    /// What of it.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A job waits for a worker.
    Queued,
    /// A worker claimed it, or committed a chunk.
    Progress,
    /// Its owner wants it to stop.
    CancelAsked,
    /// It has ended.
    Ended,
    /// Anything: some wake-ups may have been missed.
    Unknown,
}

impl Change {
    pub(crate) const UNKNOWN: Self = Self { job: None, what: What::Unknown };

    pub(crate) const fn of(job: JobId, what: What) -> Self {
        Self { job: Some(job), what }
    }

    /// Whether this may be about `job`.
    pub fn concerns(&self, job: JobId) -> bool {
        self.job.is_none_or(|changed| changed == job)
    }
}

/// The wake-ups of one store, from when it was asked for them.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// The next one, or `None` when the store is closed.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::UNKNOWN),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// What tells all listeners.
#[derive(Debug, Clone)]
pub(crate) struct Bell(broadcast::Sender<Change>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }

    pub(crate) fn ring(&self, change: Change) {
        // Nobody listening is not an error.
        let _ = self.0.send(change);
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn listen(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

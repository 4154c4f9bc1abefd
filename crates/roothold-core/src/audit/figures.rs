//! How the log is doing, in numbers, for whoever watches over it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a log is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFigures {
    /// Lines that have a place in the log.
    pub lines: u64,
    /// Those among them that are not known to be on the disk.
    pub unsynced: u64,
    /// How old the oldest of these is.
    pub lag: Duration,
    /// How often the file was synced.
    pub syncs: u64,
    /// How long that took in all.
    pub sync_time: Duration,
    /// Bytes that were written to the file.
    pub file_bytes: u64,
}

/// Since when lines wait, at each step on their way to the disk: in microseconds since 1970, or 0.
///
/// Each step has its own number, since the next may hang.
#[derive(Debug, Default)]
pub(super) struct Lag {
    pending: AtomicU64,
    written: AtomicU64,
    syncing: AtomicU64,
}

impl Lag {
    /// The first line was appended to none.
    pub(super) fn pending(&self, now_us: u64) {
        self.pending.store(now_us, Ordering::Relaxed);
    }

    /// What is pending is about to be written.
    pub(super) fn writing(&self) {
        older(&self.written, self.pending.swap(0, Ordering::Relaxed));
    }

    /// What was written is about to be synced.
    pub(super) fn syncing(&self) {
        older(&self.syncing, self.written.swap(0, Ordering::Relaxed));
    }

    /// What was to be synced is.
    pub(super) fn synced(&self) {
        self.syncing.store(0, Ordering::Relaxed);
    }

    /// How long the oldest line waits.
    pub(super) fn at(&self, now_us: u64) -> Duration {
        let since =
            [&self.pending, &self.written, &self.syncing].map(|at| at.load(Ordering::Relaxed));
        let oldest = since.into_iter().filter(|since| *since > 0).min();
        Duration::from_micros(oldest.map_or(0, |oldest| now_us.saturating_sub(oldest)))
    }
}

/// Keeps the earlier of two times, of which 0 is none.
fn older(kept: &AtomicU64, other: u64) {
    if other == 0 {
        return;
    }
    let older = |kept: u64| (kept == 0 || other < kept).then_some(other);
    // Where the one that is kept is older, nothing is to be done.
    let _ = kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, older);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_line_counts_at_whichever_step_it_is() {
        let lag = Lag::default();
        let at = |us| lag.at(us).as_micros();
        assert_eq!(at(1_000), 0);
        lag.pending(100);
        assert_eq!(at(150), 50);
        lag.writing();
        lag.pending(200);
        assert_eq!(at(250), 150, "written, not synced");
        lag.syncing();
        lag.writing();
        assert_eq!(at(300), 200, "the sync hangs");
        lag.synced();
        assert_eq!(at(300), 100, "what was written during the sync");
        lag.syncing();
        lag.synced();
        assert_eq!(at(400), 0);
    }
}

//! When something that was read from disk may be used again without reading it again.
//!
//! **Invariant**: what was kept under a stamp is served only while the stamp is the same, and is
//! kept only if the stamp was quiet before the reading began (the guard that git's index has
//! against racy timestamps).

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// What changed less than this ago may change again within the same tick of its
/// clock; the coarsest one in use counts in 2 s.
pub(super) const QUIET_SECONDS: i64 = 3;

/// Identity, size and times of a file or directory, as `fstat` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    identity: (u64, u64),
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            identity: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether any later change will show in the stamp. `now` is in seconds since 1970-01-01 UTC,
    /// taken before what is to be kept was read. Some file systems keep no times for some
    /// directories and call them 0.
    pub(super) fn is_quiet(&self, now: i64) -> bool {
        let latest = self.modified.0.max(self.changed.0);
        self.modified.0 > 0 && now.saturating_sub(latest) >= QUIET_SECONDS
    }
}

/// Seconds since 1970-01-01 UTC.
pub(super) fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(0)
}

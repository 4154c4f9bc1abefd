//! Listings of large directories, kept for as long as their directory stays as it was, so that
//! the pages of one listing are cut from one reading.
//!
//! A kept listing belongs to one root and the rules that filtered it. It holds names and kinds
//! only: what belongs to a file itself is asked for each time.
//!
//! **Invariant**: a listing is given again only if the directory's identity and times are those
//! from before it was read, and they were old enough then that any later change shows in them.

use std::sync::{Arc, Mutex, PoisonError};

use super::stamp::{Stamp, seconds};
use crate::fault::Fault;
use crate::gate::Opened;
use crate::gate::entries::Entries;

/// Smaller directories are read again as fast.
const ENTRIES_MIN: usize = 256;
/// The most that one root keeps; the listing that was not used for the longest time goes first.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The listings that one root keeps.
#[derive(Debug, Default)]
pub(crate) struct KeptListings(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    rel: Vec<u8>,
    stamp: Stamp,
    entries: Arc<Entries>,
}

impl KeptListings {
    /// What was read of a directory, if it is still that.
    pub(super) fn get(&self, opened: &Opened) -> Option<Arc<Entries>> {
        let stamp = Stamp::of(&opened.stat);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.stamp == stamp && kept.rel == opened.rel)?;
        let found = kept.remove(at);
        let entries = Arc::clone(&found.entries);
        kept.push(found);
        Some(entries)
    }

    /// Reads a directory, and keeps what was read for the next one who asks.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read(
        &self,
        opened: &Opened,
        read: impl FnOnce() -> Result<Entries, Fault>,
    ) -> Result<Arc<Entries>, Fault> {
        self.read_by(opened, seconds, read)
    }

    fn read_by(
        &self,
        opened: &Opened,
        clock: impl FnOnce() -> i64,
        read: impl FnOnce() -> Result<Entries, Fault>,
    ) -> Result<Arc<Entries>, Fault> {
        let stamp = Stamp::of(&opened.stat);
        // Before the reading: a change during a slow one could fall into the tick of the stamp.
        let is_quiet = stamp.is_quiet(clock());
        let entries = Arc::new(read()?);
        if is_quiet {
            self.keep(opened, stamp, &entries);
        }
        Ok(entries)
    }

    fn keep(&self, opened: &Opened, stamp: Stamp, entries: &Arc<Entries>) {
        if entries.len() < ENTRIES_MIN || entries.bytes() > KEPT_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.rel != opened.rel);
        kept.push(Kept { rel: opened.rel.clone(), stamp, entries: Arc::clone(entries) });
        let mut bytes: usize = kept.iter().map(|kept| kept.entries.bytes()).sum();
        while bytes > KEPT_BYTES_MAX {
            bytes -= kept.remove(0).entries.bytes();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::fstat;

    use super::*;
    use crate::files::stamp::QUIET_SECONDS;
    use crate::testing::budget;

    fn open(path: &Path) -> Opened {
        let handle = OwnedFd::from(fs::File::open(path).unwrap());
        Opened { stat: fstat(&handle).unwrap(), handle, rel: b"a".to_vec() }
    }

    fn read(opened: &Opened) -> Result<Entries, Fault> {
        Entries::read(&opened.handle, &budget(), |_, _| true)
    }

    fn read_at(kept: &KeptListings, opened: &Opened, now: i64) {
        kept.read_by(opened, || now, || read(opened)).unwrap();
    }

    fn large() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in 0..ENTRIES_MIN {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        dir
    }

    #[test]
    fn a_listing_is_kept_until_its_directory_changes() {
        let dir = large();
        let (kept, opened) = (KeptListings::default(), open(dir.path()));
        let later = opened.stat.st_ctime + QUIET_SECONDS;
        read_at(&kept, &opened, later);
        assert_eq!(kept.get(&opened).unwrap().len(), ENTRIES_MIN);
        let moved = Opened { rel: b"b".to_vec(), ..open(dir.path()) };
        assert!(kept.get(&moved).is_none());
        fs::remove_file(dir.path().join("7")).unwrap();
        // The clock of a file system moves in ticks of some milliseconds.
        let mut changed = open(dir.path());
        changed.stat.st_mtime_nsec += 1;
        assert!(kept.get(&changed).is_none());
    }

    #[test]
    fn a_directory_that_just_changed_is_not_trusted() {
        let dir = large();
        let (kept, opened) = (KeptListings::default(), open(dir.path()));
        read_at(&kept, &opened, opened.stat.st_ctime + QUIET_SECONDS - 1);
        assert!(kept.get(&opened).is_none());
        let mut timeless = open(dir.path());
        timeless.stat.st_mtime = 0;
        read_at(&kept, &timeless, opened.stat.st_ctime + 1000);
        assert!(kept.get(&timeless).is_none());
    }

    #[test]
    fn a_slow_reading_does_not_age_the_directory() {
        let dir = large();
        let (kept, opened) = (KeptListings::default(), open(dir.path()));
        let now = std::cell::Cell::new(opened.stat.st_ctime);
        let slow = || {
            now.set(now.get() + 10 * QUIET_SECONDS);
            read(&opened)
        };
        kept.read_by(&opened, || now.get(), slow).unwrap();
        assert!(kept.get(&opened).is_none());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let dir = large();
        let kept = KeptListings::default();
        let entries = Arc::new(read(&open(dir.path())).unwrap());
        for at in 0..KEPT_BYTES_MAX / entries.bytes() + 10 {
            let opened = Opened { rel: at.to_string().into_bytes(), ..open(dir.path()) };
            kept.keep(&opened, Stamp::of(&opened.stat), &entries);
        }
        assert_eq!(kept.0.lock().unwrap().len(), KEPT_BYTES_MAX / entries.bytes());
    }
}

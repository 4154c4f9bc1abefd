//! What directories held when they were read, kept for all roots together, so that a listing, a
//! tree, a search or a later page of one reads no directory again that has not changed.
//!
//! **What is kept** are the names and kinds of *all* entries, as the kernel gave them. No rule of
//! a policy is in it: whoever answers from it decides on each entry anew. Nothing watches the
//! disk: an answer is right without it.
//!
//! **By identity, not by path.** A directory is kept under its device and inode number. Whoever
//! asks has just reached it below a root, without links, and holds a handle of it: what that
//! directory holds does not depend on the way to it. So a directory that was renamed is at most
//! read once more (most file systems change its `ctime`), and two that were swapped are never
//! taken for each other, where a path would name the one and hold the other. A number
//! that was freed and given to a new directory comes with a later `ctime` than any that was quiet
//! before. A path says nothing besides, so it is not kept.
//!
//! **What it does not do**: it opens nothing, and follows no path. That the caller may see a directory,
//! and can still open it, is decided before each use, by policy and by the kernel; a change of
//! mode or owner changes the `ctime`, and the directory is opened for reading again.
//!
//! **Invariant**: entries are given only for a stamp (identity, size and times) that is that of
//! their directory from before they were read, and was quiet then, on a file system whose times
//! are of this machine's clock.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Stat;

use super::stamp::{Stamp, seconds, times_are_of_this_machine};
use super::store::CacheFigures;
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::entries::Entries;

/// What the index takes besides names, for each directory: about.
const FRAME_BYTES: usize = 256;
/// File systems whose kind is remembered; of more the kind is asked each time.
const DEVICES_MAX: usize = 64;
/// A directory that takes more than this part of the whole is not kept: it would push out the rest.
const PART_MAX: usize = 2;

/// Entries of directories, as they were read; bounded, and dropped when they are not used.
#[derive(Debug)]
pub struct Index {
    held: Mutex<Held>,
    bytes_max: AtomicUsize,
    idle_seconds_max: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    began: Instant,
    /// Seconds since 1970-01-01 UTC.
    clock: fn() -> i64,
}

#[derive(Debug, Default)]
struct Held {
    directories: HashMap<(u64, u64), Kept>,
    bytes: usize,
    /// Whether the times of a device can be trusted.
    devices: HashMap<u64, bool>,
}

#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    entries: Arc<Entries>,
    /// When it was used last, since the index began. Coarse: what was used within one second is
    /// equally new, so a walk over more than fits finds a part of it again, and not nothing.
    used_seconds: u64,
}

impl Index {
    /// The most bytes that an index holds unless it is told otherwise: about a million names.
    pub const BYTES_MAX_DEFAULT: usize = 32 * 1024 * 1024;
    /// How long a directory is kept that nobody asks for, unless it is told otherwise.
    pub const IDLE_MAX_DEFAULT: Duration = Duration::from_mins(5);

    /// Holds at most so many bytes from now on; 0 switches it off.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.lock().make_room(bytes_max);
    }

    /// Keeps a directory that nobody asks for for so long, to the second, from now on.
    pub fn set_idle_max(&self, idle_max: Duration) {
        self.idle_seconds_max.store(idle_max.as_secs(), Ordering::Relaxed);
    }

    /// What it has done and what it holds.
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.lock().bytes as u64,
        }
    }

    /// Drops what was not used for as long as it is kept at most; to be called now and then. Tells whether
    /// there was anything to drop.
    pub fn drop_idle(&self) -> bool {
        self.drop_unused(self.began.elapsed())
    }

    fn drop_unused(&self, now: Duration) -> bool {
        let idle_max = self.idle_seconds_max.load(Ordering::Relaxed);
        let Some(oldest) = now.as_secs().checked_sub(idle_max) else { return false };
        let mut held = self.lock();
        let before = held.directories.len();
        let Held { directories, bytes, .. } = &mut *held;
        directories.retain(|_, kept| {
            let stays = kept.used_seconds > oldest;
            *bytes -= if stays { 0 } else { kept.bytes() };
            stays
        });
        let dropped = before - directories.len();
        if dropped > directories.len() {
            directories.shrink_to_fit();
        }
        dropped > 0
    }

    /// What a directory held, if it holds it still. `stat` is that of an open handle of it.
    pub(crate) fn get(&self, stat: &Stat) -> Option<Arc<Entries>> {
        if self.is_off() {
            return None;
        }
        let stamp = Stamp::of(stat);
        let used_seconds = self.began.elapsed().as_secs();
        let mut held = self.lock();
        let kept = held.directories.get_mut(&stamp.identity());
        let found = kept.filter(|kept| kept.stamp == stamp).map(|kept| {
            kept.used_seconds = used_seconds;
            Arc::clone(&kept.entries)
        });
        drop(held);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Reads a directory that has just been opened for reading, and keeps what it holds for the next one who
    /// asks. `stat` was taken from a handle of it, before.
    ///
    /// # Errors
    /// Those of [`Entries::read`].
    pub(crate) fn read(
        &self,
        directory: impl AsFd,
        stat: &Stat,
        budget: &Budget,
    ) -> Result<Arc<Entries>, Fault> {
        self.read_by(self.clock, directory, stat, budget)
    }

    fn read_by(
        &self,
        clock: impl FnOnce() -> i64,
        directory: impl AsFd,
        stat: &Stat,
        budget: &Budget,
    ) -> Result<Arc<Entries>, Fault> {
        let stamp = Stamp::of(stat);
        // Before the reading: a change during a slow one could fall into the tick of the stamp.
        let may_keep = !self.is_off()
            && stamp.is_quiet(clock())
            && self.trusts_times(directory.as_fd(), stat.st_dev);
        let mut entries = Entries::read(&directory, budget)?;
        if !may_keep || !entries.is_whole() {
            return Ok(Arc::new(entries));
        }
        entries.shrink();
        let entries = Arc::new(entries);
        self.keep(stamp, &entries, self.began.elapsed().as_secs());
        Ok(entries)
    }

    fn keep(&self, stamp: Stamp, entries: &Arc<Entries>, used_seconds: u64) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let kept = Kept { stamp, entries: Arc::clone(entries), used_seconds };
        if kept.bytes() > bytes_max / PART_MAX {
            return;
        }
        let mut held = self.lock();
        held.bytes += kept.bytes();
        if let Some(old) = held.directories.insert(stamp.identity(), kept) {
            held.bytes -= old.bytes();
        }
        held.make_room(bytes_max);
    }

    fn trusts_times(&self, directory: impl AsFd, device: u64) -> bool {
        if let Some(known) = self.lock().devices.get(&device) {
            return *known;
        }
        let trusted = times_are_of_this_machine(directory);
        let mut held = self.lock();
        if held.devices.len() < DEVICES_MAX {
            held.devices.insert(device, trusted);
        }
        trusted
    }

    fn is_off(&self) -> bool {
        self.bytes_max.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            bytes_max: AtomicUsize::new(Self::BYTES_MAX_DEFAULT),
            idle_seconds_max: AtomicU64::new(Self::IDLE_MAX_DEFAULT.as_secs()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            began: Instant::now(),
            clock: seconds,
        }
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        FRAME_BYTES + self.entries.bytes()
    }
}

impl Held {
    /// Drops what was not used for the longest time, until an eighth is free: to look for it
    /// takes a look at everything, so it is not done for each directory.
    fn make_room(&mut self, bytes_max: usize) {
        if self.bytes <= bytes_max {
            return;
        }
        let mut by_use: Vec<_> =
            self.directories.iter().map(|(key, kept)| (kept.used_seconds, *key)).collect();
        by_use.sort_unstable();
        for (_, key) in by_use {
            if self.bytes <= bytes_max - bytes_max / 8 {
                break;
            }
            if let Some(kept) = self.directories.remove(&key) {
                self.bytes -= kept.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What was read of files, kept in memory for as long as they stay as they were.
//!
//! By identity, not by path: whoever asks has just opened the file through the gate, so policy
//! and the kernel have decided on it, and what it holds does not depend on the way to it. Nothing
//! watches the disk. What is saved is the reading and what is made of it; nothing is opened, and
//! nothing is decided, here.
//!
//! A file that grew is another one: its stamp differs, and that its beginning is as it was cannot
//! be known without reading it.
//!
//! **Invariant**: a value is given only for a stamp (identity, size and times) that is that of the
//! file from before it was read, and was quiet then.
//!
//! What no stamp can show is a change through a shared memory map: the kernel sets the times at the
//! first of them and then only once the page was written back. Whoever serves files that are
//! written so switches the keeping off.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Stat;

use super::stamp::{Stamp, seconds, times_are_of_this_machine};

/// What a value takes besides itself: about.
pub(super) const FRAME_BYTES: usize = 256;
/// File systems whose kind is remembered; of more the kind is asked each time.
const DEVICES_MAX: usize = 64;
/// What takes more than this part of the whole is not kept: it would push out the rest.
const PART_MAX: usize = 2;

/// Values of one kind, one for a file; bounded, and dropped when they are not used.
#[derive(Debug)]
pub struct Store<T> {
    held: Mutex<Held<T>>,
    bytes_max: AtomicUsize,
    idle_seconds_max: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    began: Instant,
    /// Seconds since 1970-01-01 UTC.
    clock: fn() -> i64,
}

#[derive(Debug)]
struct Held<T> {
    files: HashMap<(u64, u64), Kept<T>>,
    bytes: usize,
    /// Whether the times of a device can be trusted.
    devices: HashMap<u64, bool>,
}

#[derive(Debug)]
struct Kept<T> {
    stamp: Stamp,
    value: Arc<T>,
    bytes: usize,
    /// When it was used last, since the store began. Coarse: what was used within one second is
    /// equally new, so a walk over more than fits finds a part of it again, and not nothing.
    used_seconds: u64,
}

/// What a cache has done since it was made, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheFigures {
    /// Requests that were answered from it.
    pub hits: u64,
    /// Requests that went to the disk.
    pub misses: u64,
    /// The memory that it takes, in bytes, about.
    pub bytes: u64,
}

/// The right to keep what is read after this was given.
pub(super) struct Keeping(Stamp);

impl<T> Store<T> {
    /// How long a value is kept that nobody asks for, unless it is told otherwise.
    pub const IDLE_MAX: Duration = Duration::from_mins(5);

    /// Holds at most so many bytes; 0 switches it off.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            held: Mutex::new(Held { files: HashMap::new(), bytes: 0, devices: HashMap::new() }),
            bytes_max: AtomicUsize::new(bytes_max),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            idle_seconds_max: AtomicU64::new(Self::IDLE_MAX.as_secs()),
            began: Instant::now(),
            clock: seconds,
        }
    }

    /// Holds at most so many bytes from now on; 0 switches it off.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.lock().make_room(bytes_max);
    }

    /// What it has done and what it holds.
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.lock().bytes as u64,
        }
    }

    /// Keeps a value that nobody asks for for so long, to the second, from now on.
    pub fn set_idle_max(&self, idle_max: Duration) {
        self.idle_seconds_max.store(idle_max.as_secs(), Ordering::Relaxed);
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
        let before = held.files.len();
        held.retain(|kept| kept.used_seconds > oldest);
        let dropped = before - held.files.len();
        if dropped > held.files.len() {
            held.files.shrink_to_fit();
        }
        dropped > 0
    }

    /// What is kept of a file, if the file is still that; counted as asked for.
    pub(super) fn get(&self, stat: impl Into<Stamp>) -> Option<Arc<T>> {
        if self.is_off() {
            return None;
        }
        let found = self.look(stat);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The same if it serves, and counted only then.
    pub(super) fn get_if(
        &self,
        stat: impl Into<Stamp>,
        serves: impl FnOnce(&T) -> bool,
    ) -> Option<Arc<T>> {
        let found = self.look(stat).filter(|found| serves(found))?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// The same without a count.
    pub(super) fn look(&self, stat: impl Into<Stamp>) -> Option<Arc<T>> {
        let stamp = stat.into();
        let used_seconds = self.began.elapsed().as_secs();
        let mut held = self.lock();
        let kept = held.files.get_mut(&stamp.identity()).filter(|kept| kept.stamp == stamp)?;
        kept.used_seconds = used_seconds;
        Some(Arc::clone(&kept.value))
    }

    /// Whether what is read of a file from now on may be kept. To be asked before the reading: a
    /// change during a slow one could fall into the tick of the stamp.
    pub(super) fn keeping(&self, handle: impl AsFd, stat: &Stat) -> Option<Keeping> {
        self.keeping_by(self.clock, handle, stat)
    }

    pub(super) fn keeping_by(
        &self,
        clock: impl FnOnce() -> i64,
        handle: impl AsFd,
        stat: &Stat,
    ) -> Option<Keeping> {
        let stamp = Stamp::from(stat);
        let may_keep =
            !self.is_off() && stamp.is_quiet(clock()) && self.trusts_times(handle, stat.st_dev);
        may_keep.then_some(Keeping(stamp))
    }

    /// Keeps a value that takes about so many bytes.
    pub(super) fn keep(&self, keeping: &Keeping, value: Arc<T>, bytes: usize) {
        self.keep_since(self.began.elapsed().as_secs(), keeping, value, bytes);
    }

    fn keep_since(&self, used_seconds: u64, keeping: &Keeping, value: Arc<T>, bytes: usize) {
        let Keeping(stamp) = keeping;
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let bytes = bytes + FRAME_BYTES;
        if bytes > bytes_max / PART_MAX {
            return;
        }
        let mut held = self.lock();
        held.bytes += bytes;
        let kept = Kept { stamp: *stamp, value, bytes, used_seconds };
        if let Some(old) = held.files.insert(stamp.identity(), kept) {
            held.bytes -= old.bytes;
        }
        held.make_room(bytes_max);
    }

    fn trusts_times(&self, handle: impl AsFd, device: u64) -> bool {
        if let Some(known) = self.lock().devices.get(&device) {
            return *known;
        }
        let trusted = times_are_of_this_machine(handle);
        let mut held = self.lock();
        if held.devices.len() < DEVICES_MAX {
            held.devices.insert(device, trusted);
        }
        trusted
    }

    fn is_off(&self) -> bool {
        self.bytes_max.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    fn retain(&mut self, stays: impl Fn(&Kept<T>) -> bool) {
        let Self { files, bytes, .. } = self;
        files.retain(|_, kept| {
            let stays = stays(kept);
            *bytes -= if stays { 0 } else { kept.bytes };
            stays
        });
    }

    /// Drops what was not used for the longest time, until an eighth is free: to look for it
    /// takes a look at everything, so it is not done for each file.
    fn make_room(&mut self, bytes_max: usize) {
        if self.bytes <= bytes_max {
            return;
        }
        let mut by_use: Vec<_> =
            self.files.iter().map(|(key, kept)| (kept.used_seconds, *key)).collect();
        by_use.sort_unstable();
        for (_, key) in by_use {
            if self.bytes <= bytes_max - bytes_max / 8 {
                break;
            }
            if let Some(kept) = self.files.remove(&key) {
                self.bytes -= kept.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;

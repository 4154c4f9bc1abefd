//! What directories held when they were read, kept for all roots together, so that a listing, a
//! tree, a search or a later page of one reads no directory again that has not changed.
//!
//! **What is kept** are the names and kinds of *all* entries, as the kernel gave them. No rule of
//! a policy is in it: whoever answers from it decides on each entry anew. Nothing watches the
//! disk: an answer is right without it.
//!
//! **By identity, not by path.** A directory is kept under its device and inode number. Whoever
//! asks has just reached it below a root, without links, by a handle of it or of the directory that
//! it is in: what that directory holds does not depend on the way to it. So a directory that was renamed is at most
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

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Stat;

use super::stamp::Stamp;
use super::store::{CacheFigures, Keeping, Store};
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::entries::Entries;

/// Entries of directories, as they were read; bounded, and dropped when they are not used.
#[derive(Debug)]
pub struct Index(Store<Entries>);

impl Index {
    /// The most bytes that an index holds unless it is told otherwise: about a million names.
    pub const BYTES_MAX_DEFAULT: usize = 32 * 1024 * 1024;
    /// How long a directory is kept that nobody asks for, unless it is told otherwise.
    pub const IDLE_MAX_DEFAULT: Duration = Store::<Entries>::IDLE_MAX;

    /// Holds at most so many bytes from now on; 0 switches it off.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.0.set_bytes_max(bytes_max);
    }

    /// Keeps a directory that nobody asks for for so long, to the second, from now on.
    pub fn set_idle_max(&self, idle_max: Duration) {
        self.0.set_idle_max(idle_max);
    }

    /// What it has done and what it holds.
    pub fn figures(&self) -> CacheFigures {
        self.0.figures()
    }

    /// Drops what was not used for as long as it is kept at most; to be called now and then. Tells whether
    /// there was anything to drop.
    pub fn drop_idle(&self) -> bool {
        self.0.drop_idle()
    }

    /// What a directory held, if it holds it still. `stat` is that of an open handle of it.
    pub(crate) fn get(&self, stat: &Stat) -> Option<Arc<Entries>> {
        self.0.get(stat)
    }

    /// The same, counted as asked for only if it is there.
    pub(crate) fn get_if_kept(&self, stat: &Stat) -> Option<Arc<Entries>> {
        self.0.get_if(stat, |_| true)
    }

    /// The same, only for a directory that holds none: nothing will be looked for below it.
    pub(crate) fn get_leaf(&self, stat: impl Into<Stamp>) -> Option<Arc<Entries>> {
        self.0.get_if(stat, |entries| !entries.has_directories())
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
        let keeping = || self.0.keeping(&directory, stat);
        self.read_and_keep(keeping, &directory, stat.st_size, budget)
    }

    fn read_and_keep(
        &self,
        keeping: impl FnOnce() -> Option<Keeping>,
        directory: impl AsFd,
        size: i64,
        budget: &Budget,
    ) -> Result<Arc<Entries>, Fault> {
        // Before the reading: a change during a slow one could fall into the tick of the stamp.
        let keeping = keeping();
        let mut entries = Entries::read(&directory, size, budget)?;
        let Some(keeping) = keeping.filter(|_| entries.is_whole()) else {
            return Ok(Arc::new(entries));
        };
        entries.shrink();
        let (bytes, entries) = (entries.bytes(), Arc::new(entries));
        self.0.keep(&keeping, Arc::clone(&entries), bytes);
        Ok(entries)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self(Store::new(Self::BYTES_MAX_DEFAULT))
    }
}

#[cfg(test)]
mod tests;

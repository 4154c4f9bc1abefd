//! Files that are read at any place, for as long as somebody holds them: what datasets are made of.
//!
//! A source file is opened through the gate once and is its handle from then on; it is read with
//! `pread`, never mapped, so that one which shrinks is a short read and not a signal.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, pread};

use super::Timestamp;
use super::read::version_anywhere;
use super::stamp::Stamp;
use super::walk::{Problem, Visit, Walk};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::entries::EntryKind;
use crate::gate::{self, Unserved, Want};
use crate::path::{shown, uri};
use crate::pattern::PathGlobs;
use crate::policy::Permit;

/// A file that policy allowed to be read and that stays open.
#[derive(Debug)]
pub struct SourceFile {
    handle: OwnedFd,
    /// The public path, without its leading slash.
    public: Vec<u8>,
    stat: Stat,
}

/// What became of a file since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// It is as it was.
    Same,
    /// It is longer, as a log is that is written to; what was there may be as it was.
    Grown,
    /// It is shorter, or was written to without getting longer.
    Changed,
}

impl SourceFile {
    /// Opens the file of a permit.
    ///
    /// # Errors
    /// As the gate's: a directory, a FIFO or a device is refused.
    pub fn open(permit: &Permit) -> Result<Self, Fault> {
        let opened = gate::open(permit, Want::File)?;
        let (_, rules) = permit.root()?;
        let public = rules.public_of(&opened.rel);
        Ok(Self { handle: opened.handle, public, stat: opened.stat })
    }

    /// The public path, with links resolved.
    pub fn path(&self) -> String {
        shown(&self.public)
    }

    /// The public URI, with links resolved.
    pub fn uri(&self) -> String {
        uri(&self.public)
    }

    /// Size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// When its content had changed last when it was opened.
    pub fn modified(&self) -> Timestamp {
        (self.stat.st_mtime, u32::try_from(self.stat.st_mtime_nsec).unwrap_or(0))
    }

    /// Stands for the content: another one whenever identity, size or times are others. It is the
    /// same on all machines that share the file.
    pub fn revision(&self) -> String {
        version_anywhere(&self.stat)
    }

    /// Reads from `offset` into `buffer`, and tells how many bytes that were: less than it has
    /// room for only at the end of the file.
    ///
    /// # Errors
    /// `Unavailable`, if the disk cannot be read.
    ///
    /// # Cancellation
    /// None; ask the budget before each call.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match pread(&self.handle, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Fault::new(
                        FaultKind::Unavailable,
                        "the disk does not give the file's content; tell the operator",
                    )
                    .with_source(errno));
                }
            }
        }
        Ok(filled)
    }

    /// What became of it since it was opened.
    ///
    /// # Errors
    /// `Internal`, if the kernel does not tell.
    pub fn drift(&self) -> Result<Drift, Fault> {
        let now = fstat(&self.handle).map_err(Fault::internal)?;
        let is_same = now.st_size == self.stat.st_size
            && now.st_mtime == self.stat.st_mtime
            && now.st_mtime_nsec == self.stat.st_mtime_nsec;
        if is_same {
            return Ok(Drift::Same);
        }
        Ok(if now.st_size > self.stat.st_size { Drift::Grown } else { Drift::Changed })
    }

    fn identity(&self) -> (u64, u64) {
        Stamp::from(&self.stat).identity()
    }
}

/// The files of a glob.
#[derive(Debug, Default)]
pub struct FoundSources {
    /// In the order of a walk: that of the names' bytes.
    pub files: Vec<SourceFile>,
    /// There are more than were asked for.
    pub more: bool,
    /// What could not be looked at.
    pub problems: Vec<Problem>,
    /// How many more of those there were.
    pub problems_omitted: usize,
}

/// Opens up to `files_max` files below a directory whose paths below it match: only those that the
/// walk shows and that can be read, each by the rules of the gate. Each is open until it is
/// dropped.
///
/// # Errors
/// As the gate's for the directory; the budget's own; `Busy` when handles run out.
pub fn find_sources(
    permit: &Permit,
    globs: &PathGlobs,
    files_max: usize,
    budget: &Budget,
) -> Result<FoundSources, Fault> {
    let (root, _) = permit.root()?;
    let hardlinks = root.hardlinks();
    let mut found = FoundSources::default();
    let mut walk = Walk::start(permit, None, budget)?;
    walk.run(|entry| {
        if entry.kind == EntryKind::Directory {
            let may_hold = globs.depth_max().is_none_or(|most| entry.depth + 1 < most);
            return Ok(if may_hold { Visit::Into } else { Visit::Past });
        }
        // An entry may show because it can be written, and only that.
        let is_wanted = entry.kind == EntryKind::File && entry.is_readable();
        if !is_wanted || !globs.matches(entry.below) {
            return Ok(Visit::Past);
        }
        if found.files.len() >= files_max {
            found.more = true;
            return Ok(Visit::Stop);
        }
        match gate::open_file_entry(entry.directory()?.as_fd(), entry.name, hardlinks) {
            Ok((handle, stat)) => {
                let file = SourceFile { handle, public: entry.public.to_vec(), stat };
                // The same file under a second name would be counted twice.
                if found.files.iter().all(|known| known.identity() != file.identity()) {
                    found.files.push(file);
                }
            }
            Err(unserved) => {
                let reason = reason(unserved)?;
                found.problems.push(Problem { path: shown(entry.public), reason });
            }
        }
        Ok(Visit::Past)
    })?;
    let (problems, omitted) = walk.problems();
    found.problems.extend(problems);
    found.problems_omitted = omitted + found.problems.len().saturating_sub(PROBLEMS_MAX);
    found.problems.truncate(PROBLEMS_MAX);
    Ok(found)
}

/// How many problems are listed; the others are counted.
const PROBLEMS_MAX: usize = 20;

/// Why a file that policy shows is not served.
pub(super) fn reason(unserved: Unserved) -> Result<&'static str, Fault> {
    match unserved {
        Unserved::Linked => Ok("has several names, one of which may be excluded"),
        Unserved::Errno(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            Err(Fault::new(FaultKind::Busy, "too many files are open just now; try again"))
        }
        Unserved::Errno(Errno::XDEV) => Ok("is a mount point, which is not entered"),
        Unserved::Errno(Errno::ACCESS | Errno::PERM) => {
            Ok("cannot be read by the user that runs the server")
        }
        Unserved::Errno(_) => Ok("changed while it was looked at"),
    }
}

#[cfg(test)]
mod tests;

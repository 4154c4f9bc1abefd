//! A file that is written piece by piece, for as long as that takes, and then stands at its name all
//! at once.
//!
//! Until then it is a temporary file beside its target, as [`write`](super::write) makes one. That of
//! a call ends with the call. That of a job is *kept*: it outlasts the process, so that whoever goes
//! on with the job, on any machine with the same file system, can go on with the file
//! ([`OutputFile::take_over`]). They do so in a copy, since a process that is believed dead may only
//! be asleep, and still have the old one open.
//!
//! A kept file is known again by the hash of what was written, never by its name alone. Its name
//! says until when it may be needed; no sweep touches it before ([`super::sweep`]).
//!
//! **Invariant**: nothing but a rename of the finished file, under the lock of a directory that
//! policy was asked about, changes what the target's name stands for.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, fsync, ftruncate, statat, unlinkat};
use rustix::io::{Errno, pwrite};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fresh::Fresh;
use super::read::{hex, read_into};
use super::sweep::sweep_strangers;
use super::write::{Written, remarks};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::lock::lock;
use crate::gate::place::{Last, Place, locate};
use crate::gate::replace::{Lost, create, keep, put, sync_directory};
use crate::gate::{kind_of, open_file_entry, refusal};
use crate::path::shown;
use crate::policy::{Permit, TempName};

mod target;

use target::{find, occupied, refuse_directory, refuse_existing};

/// A block that keeps the check of the budget rare.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Clocks of machines differ, but not by more.
const CLOCKS_DIFFER_SECONDS: u64 = 60 * 60;

/// How an output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputOptions {
    /// Whether it may replace a file.
    pub overwrite: bool,
    /// The most bytes that it may have.
    pub bytes_max: u64,
}

/// The name of a temporary file that outlasts the process which writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeptName(TempName);

impl TryFrom<String> for KeptName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let name = TempName::parse(name.as_bytes()).filter(|name| name.until().is_some());
        name.map(Self).ok_or("no name of a temporary file that is kept")
    }
}

impl From<KeptName> for String {
    fn from(name: KeptName) -> Self {
        name.0.as_str().to_owned()
    }
}

impl KeptName {
    /// A name for the output of a job that has ended by `until`. It is the permit's own, so that
    /// the audit intent names it; nothing is made.
    ///
    /// # Errors
    /// `Internal`, if the permit is not one to write a file.
    pub fn new(permit: &Permit, until: SystemTime) -> Result<Self, Fault> {
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Self(temp(permit)?.kept_until(until.saturating_add(CLOCKS_DIFFER_SECONDS))))
    }

    /// Removes the file of this name beside the permit's target, if there is one. It is for those who
    /// know that nobody will go on with it.
    ///
    /// # Errors
    /// As the gate's.
    pub fn remove(&self, permit: &Permit) -> Result<bool, Fault> {
        let place = locate(permit, Last::Follow)?;
        match statat(&place.parent, self.0.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if kind_of(&stat) == FileType::RegularFile => {
                unlinkat(&place.parent, self.0.as_str(), AtFlags::empty())
                    .map(|()| true)
                    .map_err(|errno| refusal(errno, permit))
            }
            _ => Ok(false),
        }
    }
}

/// What is known of a kept file at some point, from which others can go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputMark {
    /// Its name.
    pub name: KeptName,
    /// How many bytes it had.
    pub bytes: u64,
    /// Their hash: the first 128 bits of SHA-256, as a read gives it.
    pub hash: String,
}

/// What becomes of the temporary file when its writer is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    Kept,
    /// It has none any more.
    Gone,
}

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile {
    permit: Permit,
    place: Place,
    name: TempName,
    handle: OwnedFd,
    options: OutputOptions,
    bytes: u64,
    hasher: Sha256,
    fate: Fate,
    /// Made for it. Dropped after the temporary file was removed: then they are empty, and go as well.
    fresh: Fresh,
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.fate == Fate::Removed {
            // A leftover is hidden from callers, and swept later.
            let _ = unlinkat(&self.place.parent, self.name.as_str(), AtFlags::empty());
        }
    }
}

impl OutputFile {
    /// Looks whether [`Self::begin`] would be refused now, and makes nothing: for who begins later, and
    /// rather hears it at once.
    ///
    /// # Errors
    /// As [`Self::begin`]'s, as far as looking tells.
    pub fn look_ahead(
        permit: &Permit,
        options: OutputOptions,
        budget: &Budget,
    ) -> Result<(), Fault> {
        target::look_ahead(permit, options, budget)
    }

    /// Begins a file, with the directories above it that are missing. It is gone when it is dropped,
    /// unless it was published.
    ///
    /// # Errors
    /// `Conflict` if the target exists and may not be replaced; `Unsupported` for a directory; as the
    /// gate's and the disk's otherwise.
    pub fn begin(permit: &Permit, options: OutputOptions, budget: &Budget) -> Result<Self, Fault> {
        let name = temp(permit)?.clone();
        let found = find(permit, budget)?;
        Self::make(permit, found, (name, Fate::Removed), options, Exists::Refused, budget)
    }

    /// Begins a file that is kept when it is dropped. The name should be on record before, since
    /// nobody would find the file again after a crash.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_kept(
        permit: &Permit,
        name: &KeptName,
        options: OutputOptions,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let found = find(permit, budget)?;
        let name = (name.0.clone(), Fate::Kept);
        Self::make(permit, found, name, options, Exists::Refused, budget)
    }

    /// Goes on with a kept file under a new name, in a copy of what it had at `mark`. Who wrote it
    /// can do no harm to the copy, and the old file stays until somebody removes it. If it was
    /// published meanwhile, its copy is taken from where it is.
    ///
    /// # Errors
    /// `Conflict` if what was written is nowhere any more; and as [`Self::begin`].
    ///
    /// # Cancellation
    /// The budget is asked between two blocks; the copy is gone then.
    pub fn take_over(
        permit: &Permit,
        mark: &OutputMark,
        name: &KeptName,
        options: OutputOptions,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let (place, fresh) = find(permit, budget)?;
        let (root, _) = permit.root()?;
        let named = mark.name.0.as_str().as_bytes();
        let old = open_file_entry(place.parent.as_fd(), named, root.hardlinks()).ok();
        let published = place.found.and_then(|_| place.open(permit).ok());
        let name = (name.0.clone(), Fate::Kept);
        let found = (place, fresh);
        let mut new = Self::make(permit, found, name, options, Exists::SeenLater, budget)?;
        // Half a copy is of no use to anybody.
        new.fate = Fate::Removed;
        for (from, stat) in old.into_iter().chain(published) {
            if u64::try_from(stat.st_size).is_ok_and(|size| size >= mark.bytes) {
                new.copy(&from, mark.bytes, budget)?;
                if new.hash() == mark.hash {
                    new.fate = Fate::Kept;
                    return Ok(new);
                }
                new.truncate(0)?;
            }
        }
        Err(Fault::new(
            FaultKind::Conflict,
            "what was written of the output before is gone; start again",
        ))
    }

    fn make(
        permit: &Permit,
        (mut place, fresh): (Place, Fresh),
        (name, fate): (TempName, Fate),
        options: OutputOptions,
        exists: Exists,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let parent = place.parent.try_clone().map_err(Fault::internal)?;
        let locked = lock(parent.as_fd(), budget)?;
        place.look_again(permit, Last::Follow)?;
        refuse_directory(&place)?;
        if exists == Exists::Refused && place.found.is_some() {
            refuse_existing(permit, &place, options)?;
        }
        // Nobody may read in it what the file that it replaces does not show them.
        let mode = place.found.as_ref().map_or(0o666, |old| old.st_mode & 0o666);
        let handle = create(&place, &name, mode).map_err(|errno| refusal(errno, permit))?;
        drop(locked);
        let (bytes, hasher) = (0, Sha256::new());
        let permit = permit.clone();
        let new = Self { permit, place, name, handle, options, bytes, hasher, fate, fresh };
        if fate == Fate::Kept {
            sync_directory(&new.place.parent)?;
        }
        sweep_strangers(&new.place.parent, budget);
        Ok(new)
    }

    fn refuse(&self, errno: Errno) -> Fault {
        refusal(errno, &self.permit)
    }

    fn copy(&mut self, from: &OwnedFd, bytes: u64, budget: &Budget) -> Result<(), Fault> {
        let mut block = vec![0; BLOCK_BYTES];
        while self.bytes < bytes {
            let want = usize::try_from(bytes - self.bytes).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let got = read_into(from, self.bytes, &mut block[..want], budget)?;
            if got == 0 {
                return Ok(());
            }
            self.append(&block[..got])?;
        }
        Ok(())
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes at its end.
    ///
    /// # Errors
    /// `Limit` if it would be larger than it may be, by its options or by the disk's quota;
    /// `Unavailable` if the disk is full.
    ///
    /// # Cancellation
    /// None; ask the budget before each call.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let max = self.options.bytes_max;
        if self.bytes.saturating_add(bytes.len() as u64) > max {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("the output would be larger than {max} bytes; write less, or in parts"),
            ));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            // By place: nothing depends on where another handle of the file is.
            match pwrite(&self.handle, rest, self.bytes) {
                Ok(written) => {
                    self.hasher.update(&rest[..written]);
                    self.bytes += written as u64;
                    rest = &rest[written..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.refuse(errno)),
            }
        }
        Ok(())
    }

    /// Cuts it to so many bytes.
    ///
    /// # Errors
    /// `Conflict` if it has fewer.
    pub fn truncate(&mut self, bytes: u64) -> Result<(), Fault> {
        if bytes > self.bytes {
            return Err(Fault::new(
                FaultKind::Conflict,
                "the output is shorter than it was; start again",
            ));
        }
        if bytes == self.bytes {
            return Ok(());
        }
        ftruncate(&self.handle, bytes).map_err(|errno| self.refuse(errno))?;
        let (mut hasher, mut at, mut block) = (Sha256::new(), 0, vec![0; BLOCK_BYTES]);
        while at < bytes {
            let want = usize::try_from(bytes - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let got = rustix::io::pread(&self.handle, &mut block[..want], at);
            let got = got.map_err(|errno| self.refuse(errno))?;
            if got == 0 {
                return Err(Fault::internal("an output is shorter than what was written"));
            }
            hasher.update(&block[..got]);
            at += got as u64;
        }
        (self.hasher, self.bytes) = (hasher, bytes);
        Ok(())
    }

    /// Returns once everything that was added is durable.
    ///
    /// # Errors
    /// The disk's own.
    pub fn sync(&self) -> Result<(), Fault> {
        fsync(&self.handle).map_err(|errno| self.refuse(errno))
    }

    /// From what others can go on with it, once it is synced; none for one that is not kept.
    pub fn mark(&self) -> Option<OutputMark> {
        let name = (self.fate == Fate::Kept).then(|| KeptName(self.name.clone()))?;
        Some(OutputMark { name, bytes: self.bytes, hash: self.hash() })
    }

    fn hash(&self) -> String {
        hex(&self.hasher.clone().finalize()[..16])
    }

    /// Puts it at its name, durably: in place of an older file if it may replace one, which gives it
    /// its permission bits, its owner and the like.
    ///
    /// # Errors
    /// `Conflict` if something is there that it may not replace, or the file that it would replace
    /// changes just now; `Busy` if the directory was moved; the disk's own. What is there stays.
    ///
    /// # Cancellation
    /// The budget is asked until right before the rename.
    pub fn publish(mut self, budget: &Budget) -> Result<Written, Fault> {
        self.sync()?;
        let parent = self.place.parent.try_clone().map_err(Fault::internal)?;
        let _locked = lock(parent.as_fd(), budget)?;
        self.place.look_again(&self.permit, Last::Follow)?;
        refuse_directory(&self.place)?;
        let mut lost = Lost::default();
        if self.place.found.is_some() {
            if !self.options.overwrite && self.is_there_already(budget) {
                // Whoever wrote it could not tell that it had.
                let written = self.written(true, &lost)?;
                self.discard();
                return Ok(written);
            }
            refuse_existing(&self.permit, &self.place, self.options)?;
            lost = self.take_after()?;
        }
        budget.check()?;
        self.place.stays(&self.permit)?;
        let replaces = self.place.found.is_some();
        self.refuse_if_not_there()?;
        let is_gone = put(&self.place, &self.name, replaces).map_err(|errno| match errno {
            Errno::EXIST => occupied(),
            errno => self.refuse(errno),
        })?;
        self.fate = if is_gone { Fate::Gone } else { Fate::Removed };
        self.fresh.keep();
        budget.note_effect();
        sync_directory(&self.place.parent)?;
        self.written(!replaces, &lost)
    }

    /// Whether the target is a kept file of the same content: then it is this one, published before
    /// a crash.
    fn is_there_already(&self, budget: &Budget) -> bool {
        if self.fate != Fate::Kept {
            return false;
        }
        let Ok((handle, stat)) = self.place.open(&self.permit) else { return false };
        u64::try_from(stat.st_size).is_ok_and(|size| size == self.bytes)
            && super::precondition::hash_open(&handle, budget).is_ok_and(|hash| hash == self.hash())
    }

    /// Gives it what the file has that it replaces.
    fn take_after(&self) -> Result<Lost, Fault> {
        let Some(found) = self.place.found else { return Ok(Lost::default()) };
        // A file that the server's user cannot read is replaced all the same, without its attributes.
        let (stat, handle) = match self.place.open(&self.permit) {
            Ok((handle, stat)) => (stat, Some(handle)),
            Err(fault) if fault.rule().is_some_and(|rule| rule.name == "file_mode") => {
                (found, None)
            }
            Err(fault) => return Err(fault),
        };
        let lost =
            keep(&self.handle, &stat, handle.as_ref()).map_err(|errno| self.refuse(errno))?;
        self.sync()?;
        if self.place.is_still(&stat) {
            Ok(lost)
        } else {
            Err(crate::gate::place::changed_meanwhile())
        }
    }

    /// A kept file can be removed by whoever went on with its job.
    fn refuse_if_not_there(&self) -> Result<(), Fault> {
        let own = rustix::fs::fstat(&self.handle).map_err(|errno| self.refuse(errno))?;
        let named = statat(&self.place.parent, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)) {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Conflict,
            "the output was taken away before it was finished; start again",
        ))
    }

    /// Removes it.
    pub fn discard(mut self) {
        self.fate = Fate::Removed;
    }

    fn written(&self, created: bool, lost: &Lost) -> Result<Written, Fault> {
        let (_, rules) = self.permit.root()?;
        let path = shown(&rules.public_of(&self.place.rel));
        let (hash, bytes) = (self.hash(), self.bytes);
        Ok(Written { path, hash, bytes, created, remarks: remarks(lost) })
    }
}

/// Whether a target that exists already is refused at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exists {
    Refused,
    SeenLater,
}

fn temp(permit: &Permit) -> Result<&TempName, Fault> {
    permit.temp().ok_or_else(|| Fault::internal("a write without a temporary name"))
}

#[cfg(test)]
mod tests;

//! Whole files put in place: new ones, and ones that replace what was there.

use std::os::fd::AsFd;

use super::fresh::Fresh;
use super::make::make_missing;
use super::precondition::{Precondition, exists};
use super::read::content_hash;
use super::sweep::sweep_strangers;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::lock::lock;
use crate::gate::place::{Last, Place, locate};
use crate::gate::replace::{Lost, replace};
use crate::gate::unsupported;
use crate::path::shown;
use crate::policy::Permit;

/// What a write left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The public path, with links resolved.
    pub path: String,
    /// The hash of the new content.
    pub hash: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether there was no such file before.
    pub created: bool,
    /// What of the old file could not be kept, in words.
    pub remarks: Vec<&'static str>,
}

/// How a file is written.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// What must be there.
    pub precondition: Precondition,
    /// Says what would happen, and changes nothing.
    pub dry_run: bool,
}

/// Writes a whole file, with the directories above it that are missing. `read` is the permit to
/// read the same file, which a precondition on its content needs.
///
/// # Errors
/// `Conflict` if the precondition does not hold; `Unsupported` for a directory; as the gate's
/// and the disk's otherwise. Whatever fails, the old content is whole, and directories
/// that were made for the file are gone again, or the error names what stays of them.
///
/// # Cancellation
/// The budget is asked until the new content is durable beside the old; from there it goes to its end.
pub fn write(
    permit: &Permit,
    read: Option<&Permit>,
    content: &[u8],
    options: &WriteOptions,
    budget: &Budget,
) -> Result<Written, Fault> {
    budget.check()?;
    let hash = content_hash(content);
    let mut fresh = Fresh::default();
    let mut place = match locate(permit, Last::Follow) {
        Err(fault) if fault.kind() == FaultKind::NotFound && !permit.wants_directory() => {
            options.precondition.check_absent()?;
            if let Some(made) = make_missing(permit, options.dry_run, budget)? {
                if options.dry_run {
                    return written(permit, permit.rel(), hash, content, (true, Lost::default()));
                }
                fresh = made;
            }
            locate(permit, Last::Follow).map_err(|fault| fresh.undo(permit, budget, fault))?
        }
        located => located?,
    };
    if permit.wants_directory() {
        return Err(Fault::invalid("the path of a file does not end in a slash"));
    }
    let parent = place.parent.try_clone().map_err(Fault::internal)?;
    let locked = if options.dry_run { Ok(None) } else { lock(parent.as_fd(), budget).map(Some) };
    let done = match &locked {
        Ok(_) => put(permit, read, &mut place, content, options, budget),
        Err(fault) => Err(fault.again()),
    };
    // Still locked: who waits to write here finds the directory there or gone, and not half.
    let lost =
        done.map_err(
            |fault| {
                if budget.had_effect() { fault } else { fresh.undo(permit, budget, fault) }
            },
        )?;
    fresh.keep();
    if !options.dry_run {
        sweep_strangers(&place.parent, budget);
    }
    let created = place.found.is_none();
    written(permit, &place.rel, hash, content, (created, lost))
}

/// Puts the content at its place, which is locked.
fn put(
    permit: &Permit,
    read: Option<&Permit>,
    place: &mut Place,
    content: &[u8],
    options: &WriteOptions,
    budget: &Budget,
) -> Result<Lost, Fault> {
    place.look_again(permit, Last::Follow)?;
    if place.is_directory() {
        return Err(unsupported("it is a directory; give the path of a file"));
    }
    if place.found.is_some() {
        return overwrite(permit, read, place, content, options, budget);
    }
    options.precondition.check_absent()?;
    if options.dry_run {
        return Ok(Lost::default());
    }
    replace(permit, place, None, content, budget)
}

fn overwrite(
    permit: &Permit,
    read: Option<&Permit>,
    place: &Place,
    content: &[u8],
    options: &WriteOptions,
    budget: &Budget,
) -> Result<Lost, Fault> {
    if options.precondition == Precondition::Absent {
        return Err(exists());
    }
    refuse_protected(permit, place)?;
    let Some(found) = place.found else { return Ok(Lost::default()) };
    // A file that the server's user cannot read can be replaced all the same, without its attributes.
    let opened = place.open(permit);
    if options.precondition.needs_read() {
        may_read(permit, read, place)?;
        let (handle, stat) = opened.as_ref().map_err(Fault::again)?;
        options.precondition.check_open(handle, stat, budget)?;
    }
    if options.dry_run {
        return Ok(Lost::default());
    }
    let (stat, handle) = match &opened {
        Ok((handle, stat)) => (stat, Some(handle)),
        Err(fault) if fault.rule().is_some_and(|rule| rule.name == "file_mode") => (&found, None),
        Err(fault) => return Err(fault.again()),
    };
    replace(permit, place, Some((stat, handle)), content, budget)
}

/// A file whose permission bits forbid writing is not replaced, although its directory would allow it.
pub(super) fn refuse_protected(permit: &Permit, place: &Place) -> Result<(), Fault> {
    use rustix::fs::{Access, AtFlags, accessat};
    use rustix::io::Errno;
    let name = place.name.as_slice();
    match accessat(&place.parent, name, Access::WRITE_OK, AtFlags::EACCESS) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(crate::gate::refusal(errno, permit)),
    }
}

/// Whether policy lets the caller read what is at a place, by a permit for the same target.
pub(super) fn may_read(permit: &Permit, read: Option<&Permit>, place: &Place) -> Result<(), Fault> {
    let read = read.filter(|read| read.same_target(permit));
    let read = read.ok_or_else(|| Fault::internal("a permit to read the same file is missing"))?;
    read.decide_again(&place.rel, false)
}

fn written(
    permit: &Permit,
    rel: &[u8],
    hash: String,
    content: &[u8],
    (created, lost): (bool, Lost),
) -> Result<Written, Fault> {
    let (_, rules) = permit.root()?;
    Ok(Written {
        path: shown(&rules.public_of(rel)),
        hash,
        bytes: content.len() as u64,
        created,
        remarks: remarks(&lost),
    })
}

pub(super) fn remarks(lost: &Lost) -> Vec<&'static str> {
    let said = [
        (lost.owner, "the owner could not be kept: the file belongs to the server's user now"),
        (lost.group, "the group could not be kept: the file has the server's group now"),
        (lost.attributes, "access control list and extended attributes could not all be kept"),
    ];
    said.into_iter().filter(|(is_lost, _)| *is_lost).map(|(_, words)| words).collect()
}

#[cfg(test)]
mod tests;

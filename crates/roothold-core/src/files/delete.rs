//! Deleting a file.
//!
//! Directories are not deleted: whether the system calls one empty would tell of what is excluded in it.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, unlinkat};

use super::precondition::Precondition;
use super::write::{WriteOptions, may_read, refuse_protected};
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::lock::lock;
use crate::gate::place::{Last, changed_meanwhile, locate};
use crate::gate::replace::sync_directory;
use crate::gate::{not_found, refusal, unsupported};
use crate::path::shown;
use crate::policy::Permit;

/// Deletes a file, or a symbolic link, which is itself meant. Answers with its public path.
///
/// # Errors
/// `Conflict` if the precondition does not hold; `Unsupported` for a directory; as the gate's
/// otherwise. Nothing was changed then.
///
/// # Cancellation
/// The budget is asked until the file was looked at; deleting is one step.
pub fn delete(
    permit: &Permit,
    read: Option<&Permit>,
    options: &WriteOptions,
    budget: &Budget,
) -> Result<String, Fault> {
    if options.precondition == Precondition::Absent {
        return Err(Fault::invalid(
            "if_match \"none\" makes no sense here; give the hash of the file",
        ));
    }
    let mut place = locate(permit, Last::Itself)?;
    let parent = place.parent.try_clone().map_err(Fault::internal)?;
    let _locked = lock(parent.as_fd(), budget)?;
    place.look_again(permit, Last::Itself)?;
    if place.is_directory() {
        return Err(unsupported("it is a directory; only files are deleted"));
    }
    if place.found.is_none() {
        options.precondition.check_absent()?;
        return Err(not_found(permit));
    }
    if !place.is_link() {
        refuse_protected(permit, &place)?;
    }
    if options.precondition.needs_read() {
        if place.is_link() {
            return Err(Fault::invalid("a symbolic link has no hash; leave if_match out"));
        }
        may_read(permit, read, &place)?;
        let (handle, stat) = place.open(permit)?;
        options.precondition.check_open(&handle, &stat, budget)?;
        if !place.is_still(&stat) {
            return Err(changed_meanwhile());
        }
    }
    if !options.dry_run {
        budget.check()?;
        unlinkat(&place.parent, place.name.as_slice(), AtFlags::empty())
            .map_err(|errno| refusal(errno, permit))?;
        budget.note_effect();
        sync_directory(&place.parent)?;
    }
    let (_, rules) = permit.root()?;
    Ok(shown(&rules.public_of(&place.rel)))
}

//! Directories, with those above them.

use std::os::fd::AsFd;

use rustix::fs::{Mode, fsync, mkdirat};
use rustix::io::Errno;

use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::lock::claim_below;
use crate::gate::place::{Deepest, deepest, in_the_way};
use crate::gate::{open_entry, refusal};
use crate::path::shown;
use crate::policy::{Permit, join};

use super::fresh::Fresh;
use super::precondition::{Precondition, exists};
use super::write::WriteOptions;

/// What became of a directory that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The public path, with links resolved.
    pub path: String,
    /// How many directories were made; none if it was there.
    pub created: usize,
}

/// Makes a directory and those above it that are missing; one that is there is left as it is. If one
/// cannot be made, those that were made for it are removed, or the error names what stays.
///
/// # Errors
/// `Conflict` if a file is in the way, or the directory must not be there and is; `Denied` where
/// one of the directories may not be made; the disk's own.
pub fn make_directory(
    permit: &Permit,
    options: &WriteOptions,
    budget: &Budget,
) -> Result<Made, Fault> {
    if options.precondition.needs_read() {
        return Err(Fault::invalid("a directory has no hash; if_match can only be \"none\" here"));
    }
    let there = deepest(permit)?;
    let (_, rules) = permit.root()?;
    if there.missing.is_empty() {
        permit.decide_again(&there.rel, true)?;
        if options.precondition == Precondition::Absent {
            return Err(exists());
        }
        return Ok(Made { path: shown(&rules.public_of(&there.rel)), created: 0 });
    }
    let created = there.missing.len();
    let (made, mut fresh) = make(permit, there, options.dry_run, budget)?;
    fresh.keep();
    if !options.dry_run {
        budget.note_effect();
    }
    Ok(Made { path: shown(&rules.public_of(&made)), created })
}

/// Makes the missing directories above a file that is to be written, if any is missing. They are
/// gone again when what it returns is dropped, unless something is in them by then.
pub(super) fn make_missing(
    permit: &Permit,
    dry_run: bool,
    budget: &Budget,
) -> Result<Option<Fresh>, Fault> {
    let mut there = deepest(permit)?;
    // The last name is the file's.
    if there.missing.pop().is_none() || there.missing.is_empty() {
        return Ok(None);
    }
    make(permit, there, dry_run, budget).map(|(_, fresh)| Some(fresh))
}

/// The path that was asked for is covered, so its own message would mislead.
fn on_the_way(fault: Fault) -> Fault {
    match fault.rule() {
        Some(rule) if rule.name == "write" => Fault::denied(
            rule.clone(),
            "a directory on the way is missing, and no write pattern covers making it; choose another path, or ask the operator to make it or to cover it",
        ),
        _ => fault,
    }
}

/// Makes the missing directories, one below the other, and answers with the path of the last. If one
/// cannot be made, those before it are gone again.
fn make(
    permit: &Permit,
    there: Deepest,
    dry_run: bool,
    budget: &Budget,
) -> Result<(Vec<u8>, Fresh), Fault> {
    let mut last = there.rel.clone();
    for name in &there.missing {
        last = join(&last, name);
        // All are decided on before the first is made.
        permit.decide_again(&last, true).map_err(on_the_way)?;
    }
    if dry_run {
        return Ok((last, Fresh::default()));
    }
    let _claimed = claim_below(&there.handle, &there.missing, budget)?;
    there.stays(permit)?;
    let mut fresh = Fresh::below(&there.handle, &there.rel)?;
    match make_each(permit, there, &mut fresh, budget) {
        Ok(()) => Ok((last, fresh)),
        Err(fault) => Err(fresh.undo(permit, budget, fault)),
    }
}

fn make_each(
    permit: &Permit,
    there: Deepest,
    fresh: &mut Fresh,
    budget: &Budget,
) -> Result<(), Fault> {
    let mut above = there.handle;
    for name in &there.missing {
        budget.check()?;
        match mkdirat(&above, name.as_slice(), Mode::from_raw_mode(0o777)) {
            Ok(()) => {
                fresh.add(&above, name, true);
                if let Err(errno) = fsync(&above) {
                    // Some disks never confirm it: what is there then must not go each time.
                    fresh.keep();
                    budget.note_effect();
                    return Err(unconfirmed(errno));
                }
            }
            // Somebody else was faster.
            Err(Errno::EXIST) => fresh.add(&above, name, false),
            Err(errno) => return Err(refusal(errno, permit)),
        }
        above = open_entry(above.as_fd(), name).map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => in_the_way(),
            errno => refusal(errno, permit),
        })?;
    }
    Ok(())
}

fn unconfirmed(errno: Errno) -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        "a directory was made, but the disk did not confirm that it would outlive a power cut, so nothing else \
         was done; try again, look whether it is still there before you rely on it, and tell the operator",
    )
    .with_source(errno)
}

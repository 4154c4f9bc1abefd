//! Moving a file or a directory, never over something that is there.
//!
//! **Invariant**: nothing becomes readable or writable by being moved: whoever moves it may read
//! and write all of it where it is, and write all of it where it comes to lie.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::precondition::Precondition;
use super::write::{WriteOptions, refuse_protected};
use crate::action::Verb;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind, Rule};
use crate::gate::entries::{Entries, EntryKind};
use crate::gate::lock::lock_both;
use crate::gate::place::{Last, Place, changed_meanwhile, locate};
use crate::gate::replace::sync_directory;
use crate::gate::{not_found, open_below, refusal, unsupported};
use crate::path::shown;
use crate::policy::{Permit, RootRules, join};
use crate::roots::below;

/// The most entries below a directory that are looked at before it is moved.
const ENTRIES_MAX: usize = 1_000_000;

/// Where something was and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The public path where it was.
    pub source: String,
    /// The public path where it is.
    pub destination: String,
}

/// Moves a file or a directory. `look` is the permit to look at the source, `from` and `to` are
/// those to write at both ends.
///
/// # Errors
/// `Conflict` if something is at the destination, or the precondition does not hold; `Denied` for
/// a directory below which something may not be moved; `Unsupported` for links, and between file
/// systems; as the gate's otherwise. Nothing was changed then.
///
/// # Cancellation
/// The budget is asked until everything was looked at; the move itself is one step.
pub fn move_entry(
    look: &Permit,
    from: &Permit,
    to: &Permit,
    options: &WriteOptions,
    budget: &Budget,
) -> Result<Moved, Fault> {
    if !look.same_target(from) {
        return Err(Fault::internal("a permit to look at the source is missing"));
    }
    if options.precondition == Precondition::Absent {
        return Err(Fault::invalid(
            "if_match \"none\" makes no sense here; give the hash of the source",
        ));
    }
    let mut source = locate(from, Last::Itself).map_err(|fault| hide(look, look.rel(), fault))?;
    let mut target = locate(to, Last::Itself).map_err(|fault| match fault.kind() {
        FaultKind::NotFound => Fault::not_found(
            "the directory above the destination is not there; make it with create_directory",
        ),
        _ => fault,
    })?;
    let (here, there) = (
        source.parent.try_clone().map_err(Fault::internal)?,
        target.parent.try_clone().map_err(Fault::internal)?,
    );
    let moved = source.is_directory().then_some(&source.name[..]);
    let _held = lock_both(here.as_fd(), there.as_fd(), moved, budget)?;
    let was_directory = moved.is_some();
    source.look_again(from, Last::Itself)?;
    target.look_again(to, Last::Itself)?;
    if source.is_directory() && !was_directory {
        return Err(changed_meanwhile());
    }
    check_source(look, from, &source, options, budget)?;
    if target.found.is_some() {
        return Err(occupied());
    }
    if source.is_directory() {
        check_below(from, to, &source, &target, budget)?;
    }
    if !options.dry_run {
        budget.check()?;
        source.stays(from)?;
        target.stays(to)?;
        rename(&source, &target).map_err(|errno| refuse(errno, from))?;
        budget.note_effect();
        sync_directory(&target.parent)?;
        sync_directory(&source.parent)?;
    }
    let public = |permit: &Permit, rel: &[u8]| permit.root().map(|(_, r)| shown(&r.public_of(rel)));
    Ok(Moved { source: public(from, &source.rel)?, destination: public(to, &target.rel)? })
}

/// What may not be read must answer the same whether it is there.
fn hide(look: &Permit, rel: &[u8], fault: Fault) -> Fault {
    if fault.kind() != FaultKind::NotFound {
        return fault;
    }
    may_read(look, rel).err().unwrap_or(fault)
}

fn may_read(look: &Permit, rel: &[u8]) -> Result<(), Fault> {
    let (_, rules) = look.root()?;
    rules.decide(Verb::Read, rel, Some(false))
}

fn check_source(
    look: &Permit,
    from: &Permit,
    source: &Place,
    options: &WriteOptions,
    budget: &Budget,
) -> Result<(), Fault> {
    if !source.is_directory() {
        may_read(look, &source.rel)?;
    }
    if source.found.is_none() {
        options.precondition.check_absent()?;
        return Err(not_found(from));
    }
    if source.is_link() {
        return Err(unsupported(
            "the source is a symbolic link, which is not moved; move what it leads to",
        ));
    }
    if source.is_directory() {
        if options.precondition.needs_read() {
            return Err(Fault::invalid("a directory has no hash; leave if_match out"));
        }
        return Ok(());
    }
    refuse_protected(from, source)?;
    if options.precondition.needs_read() {
        let (handle, stat) = source.open(from)?;
        options.precondition.check_open(&handle, &stat, budget)?;
    }
    Ok(())
}

fn occupied() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "something is at the destination already; nothing was changed; choose another name, or delete it first",
    )
}

/// Whether everything below a directory may be moved. Excluded entries go with it, and are not
/// looked at: whether they exist must not be told.
fn check_below(
    from: &Permit,
    to: &Permit,
    source: &Place,
    target: &Place,
    budget: &Budget,
) -> Result<(), Fault> {
    let ((root, rules), (target_root, target_rules)) = (from.root()?, to.root()?);
    let is_same_root = std::ptr::eq(root, target_root);
    if is_same_root && below(&source.rel, &target.rel).is_some() {
        return Err(Fault::invalid("a directory cannot be moved into itself"));
    }
    if root.has_mount_below(&source.rel) {
        return Err(fixed());
    }
    rules.refuse_uncovering(&source.rel, target_rules)?;
    let (mut todo, mut seen) = (vec![Vec::new()], 0);
    while let Some(inner) = todo.pop() {
        budget.check()?;
        let rel = join(&source.rel, &inner);
        let handle = open_below(root, &rel).map_err(|_| fixed())?;
        let entries = Entries::read(&handle, 0, budget)?;
        seen += entries.len();
        if seen > ENTRIES_MAX {
            return Err(Fault::new(
                FaultKind::Limit,
                "the directory holds more than can be looked at before it is moved; move its parts",
            ));
        }
        let mut may_move = entries.is_whole();
        for (name, kind) in (0..entries.len()).filter_map(|at| entries.get(at)) {
            let here = join(&rel, name);
            if rules.refuse_excluded(&here).is_err() {
                continue;
            }
            let there = join(&join(&target.rel, &inner), name);
            let is_directory = kind == EntryKind::Directory;
            let allows = |rules: &RootRules, verb, rel: &[u8]| {
                rules.decide(verb, rel, Some(is_directory)).is_ok()
            };
            may_move &= is_directory || allows(rules, Verb::Read, &here);
            may_move &= allows(rules, Verb::Write, &here);
            may_move &= allows(target_rules, Verb::Write, &there);
            if is_directory {
                todo.push(join(&inner, name));
            }
        }
        if !may_move {
            return Err(fixed());
        }
    }
    Ok(())
}

/// Says nothing of what it is, since that may not be seen.
fn fixed() -> Fault {
    Fault::denied(
        Rule { name: "subtree", detail: None },
        "something below the directory may not be read and written here and at the destination; move what may be moved one by one",
    )
}

fn refuse(errno: Errno, from: &Permit) -> Fault {
    match errno {
        Errno::EXIST | Errno::NOTEMPTY => occupied(),
        Errno::XDEV => unsupported(
            "source and destination lie on different file systems; write the file at the destination, then delete the source",
        ),
        errno => refusal(errno, from),
    }
}

fn rename(source: &Place, target: &Place) -> Result<(), Errno> {
    let (old, new) = (source.name.as_slice(), target.name.as_slice());
    match renameat_with(&source.parent, old, &target.parent, new, RenameFlags::NOREPLACE) {
        // Some file systems cannot; a second name for a file fails where one is already, too.
        Err(Errno::INVAL | Errno::NOSYS) if !source.is_directory() => {
            linkat(&source.parent, old, &target.parent, new, AtFlags::empty())?;
            unlinkat(&source.parent, old, AtFlags::empty())
        }
        // Nothing was there a moment ago, and a directory replaces nothing but an empty one.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(&source.parent, old, &target.parent, new),
        result => result,
    }
}

#[cfg(test)]
mod tests;

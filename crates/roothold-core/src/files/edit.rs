//! Edits of a text file: each finds a text and puts another in its place, all of them or none.
//!
//! What is found and what is put in its place is text with plain line ends; the file keeps its
//! encoding, its mark and the line ends of every line that is not replaced, and new lines end
//! as the ones that they replace.
//!
//! **Invariant**: an edit that could mean several places, or none, changes nothing.

mod matching;
mod nearest;
mod shift;

use std::os::fd::AsFd;

use super::diff::{Diff, unified};
use super::encoding::Encoding;
use super::read::{content_hash, read_at};
use super::sweep::sweep_strangers;
use super::write::{WriteOptions, may_read, refuse_protected, remarks};
use super::{Precondition, precondition};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::lock::lock;
use crate::gate::place::{Last, Place, locate};
use crate::gate::replace::{Lost, replace};
use crate::gate::{not_found, unsupported};
use crate::path::shown;
use crate::policy::Permit;

use matching::Draft;

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The text that is replaced.
    pub old: String,
    /// What takes its place.
    pub new: String,
}

/// What is to be done to a file.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// One after the other: each sees what those before it left.
    pub edits: Vec<Edit>,
    /// What must be there, and whether anything is changed.
    pub options: WriteOptions,
    /// The largest file that is edited, before and after, in bytes.
    pub bytes_max: u64,
    /// The largest difference that is told, in bytes as JSON.
    pub diff_bytes_max: usize,
}

/// What edits left.
#[derive(Debug)]
pub struct Edited {
    /// The public path, with links resolved.
    pub path: String,
    /// The hash of the new content.
    pub hash: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether anything is different now.
    pub changed: bool,
    /// What is different, as a unified diff.
    pub diff: Diff,
    /// Which edits, counted from 1, matched only apart from white space.
    pub tolerant: Vec<usize>,
    /// What of the old file could not be kept, in words.
    pub remarks: Vec<&'static str>,
}

/// The content before and after, while the directory is locked.
struct Done {
    rel: Vec<u8>,
    before: String,
    after: String,
    tolerant: Vec<usize>,
    hash: String,
    bytes: u64,
    lost: Lost,
}

/// Edits a text file. `read` is the permit to read the same file.
///
/// # Errors
/// `Conflict` if the precondition does not hold, or somebody changed the file meanwhile;
/// `Invalid` for an edit whose text is not in the file exactly once, with the nearest text;
/// `Unsupported` for what is no text; `Limit` for a file that is too large; as the gate's and the
/// disk's otherwise. Whatever fails, the old content is whole.
///
/// # Cancellation
/// As [`super::write`].
pub fn edit(
    permit: &Permit,
    read: &Permit,
    request: &EditRequest,
    budget: &Budget,
) -> Result<Edited, Fault> {
    budget.check()?;
    let mut place = locate(permit, Last::Follow)?;
    let done = {
        let parent = place.parent.try_clone().map_err(Fault::internal)?;
        let dry_run = request.options.dry_run;
        let _locked = if dry_run { None } else { Some(lock(parent.as_fd(), budget)?) };
        place.look_again(permit, Last::Follow)?;
        edit_at(permit, read, &place, request, budget)?
    };
    let (_, rules) = permit.root()?;
    let path = shown(&rules.public_of(&done.rel));
    let diff = unified(&path, &done.before, &done.after, request.diff_bytes_max, budget.deadline());
    Ok(Edited {
        path,
        hash: done.hash,
        bytes: done.bytes,
        changed: done.before != done.after,
        diff,
        tolerant: done.tolerant,
        remarks: remarks(&done.lost),
    })
}

fn edit_at(
    permit: &Permit,
    read: &Permit,
    place: &Place,
    request: &EditRequest,
    budget: &Budget,
) -> Result<Done, Fault> {
    may_read(permit, Some(read), place)?;
    if place.is_directory() {
        return Err(unsupported("it is a directory; give the path of a file"));
    }
    if place.found.is_none() {
        request.options.precondition.check_absent()?;
        return Err(not_found(permit));
    }
    if request.options.precondition == Precondition::Absent {
        return Err(precondition::exists());
    }
    refuse_protected(permit, place)?;
    let (handle, stat) = place.open(permit)?;
    let too_large = |bytes: u64| {
        let max = request.bytes_max;
        Fault::new(
            FaultKind::Limit,
            format!(
                "the file has, or would have, {bytes} bytes; the largest that is edited here has {max}; nothing was changed; edit a smaller file, or ask the operator to raise limits.write_bytes_max"
            ),
        )
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > request.bytes_max {
        return Err(too_large(size));
    }
    let limit = usize::try_from(request.bytes_max).unwrap_or(usize::MAX).saturating_add(1);
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    read_at(&handle, 0, limit, &mut content, budget)?;
    if content.len() == limit {
        return Err(too_large(content.len() as u64));
    }
    request.options.precondition.check_content(&stat, &content)?;
    let encoding = Encoding::detect(&content)?;
    let mut draft = Draft::new(encoding.decode(&content)?);
    drop(content);
    let before = draft.text().to_owned();
    let tolerant = apply_all(&mut draft, &request.edits, budget)?;
    let after = draft.text().to_owned();
    let content = encoding.encode(&draft.into_text())?;
    let bytes = content.len() as u64;
    if bytes > request.bytes_max {
        return Err(too_large(bytes));
    }
    let hash = content_hash(&content);
    let is_same = before == after;
    let lost = if request.options.dry_run || is_same {
        Lost::default()
    } else {
        let lost = replace(permit, place, Some((&stat, Some(&handle))), &content, budget)?;
        sweep_strangers(&place.parent, budget);
        lost
    };
    Ok(Done { rel: place.rel.clone(), before, after, tolerant, hash, bytes, lost })
}

/// Applies the edits in order; tells which matched apart from white space only.
fn apply_all(draft: &mut Draft, edits: &[Edit], budget: &Budget) -> Result<Vec<usize>, Fault> {
    let mut tolerant = Vec::new();
    for (at, edit) in edits.iter().enumerate() {
        budget.check()?;
        let is_exact = draft.apply(edit, budget).map_err(|fault| {
            let which = match edits.len() {
                1 => "nothing was changed".to_owned(),
                count => format!("edit {} of {count}; nothing was changed", at + 1),
            };
            match fault.kind() {
                FaultKind::Invalid => Fault::invalid(format!("{which}: {}", fault.public())),
                _ => fault,
            }
        })?;
        if !is_exact {
            tolerant.push(at + 1);
        }
    }
    Ok(tolerant)
}

#[cfg(test)]
mod tests;

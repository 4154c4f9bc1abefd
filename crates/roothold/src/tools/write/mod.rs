//! Tools that change files, and what they have in common.

mod create_directory;
mod delete_file;
mod edit_file;
mod move_file;
mod write_file;

use roothold_core::files::{Precondition, WriteOptions};
use roothold_core::{Action, Actions, Fault, FaultKind, FilePath, Permit, Verb};

use crate::call::Call;
use crate::tool::Permits;

pub(super) use create_directory::CreateDirectory;
pub(super) use delete_file::DeleteFile;
pub(super) use edit_file::EditFile;
pub(super) use move_file::MoveFile;
pub(super) use write_file::WriteFile;

/// The actions of a change to one file: it is also read where the answer, or an error, tells of
/// what it holds.
fn change(path: &str, reads: bool) -> Result<Actions, Fault> {
    let path = FilePath::parse(path)?;
    if !reads {
        return Ok(Actions::one(Action::file(Verb::Write, path)));
    }
    let read = Action::file(Verb::Read, path.clone());
    Ok(Actions::many(Action::file(Verb::Write, path), [read]))
}

/// The permit to write, and the one to read where [`change`] asked for it.
fn permits(permits: Permits) -> Result<(Permit, Option<Permit>), Fault> {
    let mut each = permits.each();
    let write = each.next().ok_or_else(|| Fault::internal("a call without actions"))??;
    Ok((write, each.next().transpose()?))
}

fn options(if_match: Option<&str>, dry_run: Option<bool>) -> Result<WriteOptions, Fault> {
    let precondition = Precondition::parse(if_match)?;
    Ok(WriteOptions { precondition, dry_run: dry_run.unwrap_or(false) })
}

/// Refuses more content than may be written.
fn fits(call: &Call, bytes: usize) -> Result<(), Fault> {
    let max = call.limits().write_bytes_max;
    if bytes as u64 <= max {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Limit,
        format!(
            "the content has {bytes} bytes; the largest file that is written here has {max}; write it in parts, to several files"
        ),
    ))
}

/// What stands after the text of an answer that changed nothing.
const DRY_RUN: &str = " (dry run: nothing was changed)";

//! What the file system knows of a file or directory.

use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp, statx};

use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::entries::EntryKind;
use crate::gate::{self, Want};
use crate::path::shown;
use crate::policy::Permit;

/// Seconds and nanoseconds since 1970-01-01 UTC.
pub type Timestamp = (i64, u32);

/// Size, times and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The public path, with links resolved.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was made, where the file system says so.
    pub created: Option<Timestamp>,
    /// When its content changed last.
    pub modified: Timestamp,
    /// When it was read last, as far as the mount records it.
    pub accessed: Timestamp,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
}

/// Tells what the file system knows of a file or directory.
///
/// # Errors
/// As the gate's; `Unsupported` for what is neither.
pub fn info(permit: &Permit, budget: &Budget) -> Result<FileInfo, Fault> {
    budget.check()?;
    let opened = gate::open(permit, Want::Either)?;
    let (_, rules) = permit.root()?;
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(&opened.handle, "", AtFlags::EMPTY_PATH, mask).map_err(Fault::internal)?;
    let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    Ok(FileInfo {
        path: shown(&rules.public_of(&opened.rel)),
        size: stat.stx_size,
        created: has_birth.then(|| timestamp(stat.stx_btime)),
        modified: timestamp(stat.stx_mtime),
        accessed: timestamp(stat.stx_atime),
        kind: EntryKind::of(gate::kind_of(&opened.stat)),
        mode: u32::from(stat.stx_mode) & 0o777,
    })
}

fn timestamp(at: StatxTimestamp) -> Timestamp {
    (at.tv_sec, at.tv_nsec)
}

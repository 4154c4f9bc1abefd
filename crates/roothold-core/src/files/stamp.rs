//! When something that was read from disk may be used again without reading it again.
//!
//! **Invariant**: what was kept under a stamp is served only while the stamp is the same, and is
//! kept only if the stamp was quiet before the reading began (the guard that git's index has
//! against racy timestamps).

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Stat, Statx, fstatfs, makedev};

/// What changed less than this ago may change again within the same tick of its
/// clock; the coarsest one in use counts in 2 s.
pub(super) const QUIET_SECONDS: i64 = 3;

/// Identity, size and times of a file or directory, as `fstat` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    identity: (u64, u64),
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl From<&Stat> for Stamp {
    fn from(stat: &Stat) -> Self {
        Self {
            identity: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl From<&Statx> for Stamp {
    fn from(stat: &Statx) -> Self {
        Self {
            identity: (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino),
            // A size that no file has is no file's stamp.
            size: i64::try_from(stat.stx_size).unwrap_or(-1),
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec.into()),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec.into()),
        }
    }
}

impl Stamp {
    /// Device and inode number.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether any later change will show in the stamp. `now` is in seconds since 1970-01-01 UTC,
    /// taken before what is to be kept was read. Some file systems keep no times for some
    /// directories and call them 0.
    pub(super) fn is_quiet(&self, now: i64) -> bool {
        let latest = self.modified.0.max(self.changed.0);
        self.modified.0 > 0 && now.saturating_sub(latest) >= QUIET_SECONDS
    }
}

/// Seconds since 1970-01-01 UTC.
pub(super) fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(0)
}

/// Whether the file system of an open file or directory takes its times from this machine's own
/// clock, and changes a directory's with each of its entries. Only then can a stamp be compared
/// with [`seconds`]: a server's clock that is slow by some seconds would call quiet what has just
/// changed, and what a network client has of the times may be old itself.
pub(crate) fn times_are_of_this_machine(handle: impl AsFd) -> bool {
    fstatfs(handle).is_ok_and(|stat| {
        let kind = u64::try_from(stat.f_type).unwrap_or_default();
        LOCAL_FILE_SYSTEMS.contains(&kind)
    })
}

/// ext2 to ext4, XFS, Btrfs, tmpfs, ramfs, overlayfs, F2FS, ZFS, bcachefs, JFS, NILFS2, SquashFS,
/// EROFS and ISO 9660 (linux/magic.h, and their own headers).
const LOCAL_FILE_SYSTEMS: [u64; 14] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x3153_464a,
    0x3434,
    0x7371_7368,
    0xe0f5_e1e2,
    0x9660,
];

//! A folder for what is written and synced all the time.

use std::path::Path;

use tempfile::TempDir;

const IN_MEMORY: &str = "/dev/shm";
/// Enough for the audit log of a million calls.
const ROOM_BYTES_MIN: u64 = 4 << 30;

/// A temporary folder, in memory where there is room, since syncing is not what is tried here.
pub(crate) fn scratch() -> std::io::Result<TempDir> {
    let room = rustix::fs::statvfs(IN_MEMORY).map_or(0, |about| about.f_bavail * about.f_frsize);
    let place = std::env::temp_dir();
    let place = if room >= ROOM_BYTES_MIN { Path::new(IN_MEMORY) } else { &place };
    tempfile::Builder::new().prefix("roothold").tempdir_in(place)
}

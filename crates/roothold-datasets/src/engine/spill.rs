//! The private folder for what does not fit into memory.
//!
//! **Invariant**: a folder that a process holds is locked, and nobody else removes it; one that
//! nobody holds is removed at the next start.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder is the engine's own, in a directory that the operator names; no caller's path is in it"
)]

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "roothold-spill-";

/// Why the folder cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the folder for spilling cannot be made in {directory}: {source}; name a writable directory"
)]
pub struct SpillError {
    /// The directory, as configured. This text is for the operator.
    directory: PathBuf,
    source: std::io::Error,
}

/// A folder that exists for as long as the process holds it.
#[derive(Debug)]
pub(super) struct SpillFolder {
    path: PathBuf,
    /// Holds the lock.
    _handle: File,
}

impl SpillFolder {
    /// Removes what crashed processes left in `directory`, and makes a folder there.
    pub(super) fn make(directory: &Path) -> Result<Self, SpillError> {
        let failed = |source| SpillError { directory: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        sweep(directory);
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(directory);
            let path = folder.map_err(failed)?.keep();
            let handle = File::open(&path).map_err(failed)?;
            flock(&handle, FlockOperation::NonBlockingLockExclusive)
                .map_err(|errno| failed(errno.into()))?;
            // Another start may have taken it for a left one before it was locked.
            if path.is_dir() {
                return Ok(Self { path, _handle: handle });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "the folder for spilling was not removed; the next start will");
        }
    }
}

/// Removes folders that nobody holds. What cannot be removed stays, and is no reason not to start.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // A link is not followed: what it leads to is not ours.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(handle) = File::open(entry.path()) else { continue };
        if flock(&handle, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, "a folder for spilling that a crashed process left was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_folder_goes_with_its_engine_and_a_left_one_with_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let spill = directory.path().join("spill");
        fs::create_dir_all(spill.join("roothold-spill-left/deep")).unwrap();
        fs::create_dir(spill.join("someone-elses")).unwrap();
        let first = SpillFolder::make(&spill).unwrap();
        assert_eq!(folders(&spill), 2, "the left one is gone, the other is not ours");
        let second = SpillFolder::make(&spill).unwrap();
        assert_eq!(folders(&spill), 3, "one that is held stays");
        fs::write(first.path.join("part"), "x").unwrap();
        drop(first);
        assert_eq!(folders(&spill), 2);
        drop(second);
        assert_eq!(folders(&spill), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "x").unwrap();
        let error = SpillFolder::make(&directory.path().join("file/below")).unwrap_err();
        assert!(error.to_string().contains("name a writable directory"), "{error}");
    }
}

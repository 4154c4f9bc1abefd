//! Where audit lines go: one new file, opened for appending, readable by its owner alone.
//!
//! The file is locked for as long as the process lives.
//!
//! **Invariant**: a file that exists is never opened, so no line is added to another's chain.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::stamp;

/// The few things the log asks of its file; tests put failing ones in its place.
pub(super) trait Sink: Send + Sync {
    /// Writes some of `bytes` at the end and returns how many.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes everything that was appended durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file back to `len` bytes, to take away half a line.
    fn cut_back(&self, len: u64) -> io::Result<()>;
}

impl Sink for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file: &File = self;
        file.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut_back(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Makes the directory if it is missing.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit directory is the operator's and lies outside every root: the gate does not reach it"
)]
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes the directory if it is missing, and in it a file that begins at this time.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit directory is the operator's and lies outside every root: the gate does not reach it"
)]
pub(super) fn create(dir: &Path, boot_us: u64, boot: &str) -> io::Result<(File, PathBuf)> {
    create_dir(dir)?;
    // Before there is a file, which could not be taken away: the wall lets none be removed.
    let directory = File::open(dir)?;
    let random = boot.get(..8).unwrap_or(boot);
    let path = dir.join(format!("audit-{}-{random}.jsonl", stamp::compact(boot_us)));
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    // It lasts as long as this process does, by which others know that the log is in use. Where
    // the file system has no locks, they take it for one that is.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    // Without this, a power cut could lose the file's name although its lines were synced.
    directory.sync_all()?;
    Ok((file, path))
}

/// Removes the file of a boot that failed, as well as that works.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit directory is the operator's and lies outside every root: the gate does not reach it"
)]
pub(super) fn remove(path: &Path) {
    // What stays is empty, or half a line, as a crash would leave it.
    let _ = std::fs::remove_file(path);
}

//! The files in the folder for spilling. They leave room on their disk, since others write there, too: perhaps the audit
//! log, without which no call is answered.
//!
//! **Invariant**: while less of the disk is free than is to stay so, nothing more is written, but for [`LOOK_EVERY`] of
//! each file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use roothold_core::{Fault, FaultKind};

use super::spill::SpillFolder;

/// What stays free of a large disk, and the part of a small one.
const FREE_BYTES_MIN: u64 = 1 << 30;
const FREE_PART_MIN: u64 = 20;
/// After so many bytes of a file the disk is looked at again, which takes a microsecond.
const LOOK_EVERY: usize = 1 << 20;

/// Makes the files, counts them together, and bounds them.
#[derive(Debug)]
pub(super) struct SpillFiles {
    files: Arc<DiskManager>,
    room: Arc<Room>,
}

impl SpillFiles {
    /// # Errors
    /// When nothing can be made in the folder.
    pub(super) fn new(
        folder: &SpillFolder,
        bytes_max: u64,
        free_bytes_min: Option<u64>,
    ) -> Result<Self> {
        let files = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![folder.path().to_owned()]))
            .with_max_temp_directory_size(bytes_max)
            .build()?;
        let room = Room { folder: folder.path().to_owned(), free_bytes_min };
        Ok(Self { files: Arc::new(files), room: Arc::new(room) })
    }

    /// How many bytes are in them.
    pub(super) fn bytes(&self) -> u64 {
        self.files.used_disk_space()
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let inner = self.files.create_tmp_file(description)?;
        Ok(Arc::new(Spilled { inner, room: Arc::clone(&self.room) }))
    }
}

/// The disk that the folder is on.
#[derive(Debug)]
struct Room {
    folder: PathBuf,
    free_bytes_min: Option<u64>,
}

impl Room {
    /// # Errors
    /// When there is less than is to stay free. A disk that cannot be asked counts as one with room.
    fn look(&self) -> io::Result<()> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let least = self.free_bytes_min.unwrap_or_else(|| usual(bytes(disk.f_blocks)));
        if bytes(disk.f_bavail) >= least {
            return Ok(());
        }
        Err(refused(
            "the server's disk has too little free for what the query does not hold in memory; \
             select or group by fewer rows, or tell the operator",
        ))
    }
}

/// What stays free of a disk of this size where nothing else is configured.
fn usual(disk_bytes: u64) -> u64 {
    (disk_bytes / FREE_PART_MIN).min(FREE_BYTES_MIN)
}

/// Carries a fault through the writer, from where [`fault_in`](crate::refusal::fault_in) takes it.
fn refused(why: &str) -> io::Error {
    io::Error::other(Fault::new(FaultKind::Limit, why))
}

struct Spilled {
    inner: Arc<dyn SpillFile>,
    room: Arc<Room>,
}

impl SpillFile for Spilled {
    fn path(&self) -> Option<&Path> {
        self.inner.path()
    }

    fn size(&self) -> Option<u64> {
        self.inner.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        self.inner.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let (inner, room) = (self.inner.open_writer()?, Arc::clone(&self.room));
        Ok(Box::new(Writer { inner, room, unlooked: 0 }))
    }
}

struct Writer {
    inner: Box<dyn SpillWriter>,
    room: Arc<Room>,
    /// Bytes that may be written before the disk is looked at.
    unlooked: usize,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is more is written by the next call, after another look.
        let bytes = &bytes[..bytes.len().min(LOOK_EVERY)];
        if let Some(left) = self.unlooked.checked_sub(bytes.len()) {
            self.unlooked = left;
        } else {
            self.room.look()?;
            self.unlooked = LOOK_EVERY;
        }
        self.inner.write(bytes).map_err(|error| {
            tracing::debug!(%error, "nothing more is spilled");
            refused(
                "the query needs more temporary disk space than it may use; select or group by fewer rows",
            )
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gibibyte_stays_free_and_of_a_small_disk_a_twentieth() {
        assert_eq!(usual(100 << 30), 1 << 30);
        assert_eq!(usual(10 << 30), 512 << 20);
        assert_eq!(usual(0), 0, "of a disk that does not say how large it is");
    }

    #[test]
    fn the_disk_is_looked_at_first_and_after_every_so_many_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let folder = SpillFolder::make(directory.path()).unwrap();
        let files = SpillFiles::new(&folder, u64::MAX, Some(0)).unwrap();
        let mut writer = files.create_temp_file("a test").unwrap().open_writer().unwrap();
        writer.write_all(&vec![0; 3 * LOOK_EVERY]).unwrap();
        assert_eq!(files.bytes(), 3 * LOOK_EVERY as u64);
        let full = SpillFiles::new(&folder, u64::MAX, Some(u64::MAX)).unwrap();
        let mut writer = full.create_temp_file("a test").unwrap().open_writer().unwrap();
        assert!(writer.write_all(b"a").is_err());
        assert_eq!(full.bytes(), 0);
    }
}

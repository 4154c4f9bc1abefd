//! The log that is open for writing: options, errors, and the calls that the server makes.
//!
//! What it does not do: no call here decides whether the work it records may run; a caller that
//! gets an error must refuse the work.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chain::Head;
use super::checkpoint::{self, CheckpointKey};
use super::commit::{Admission, Shared};
use super::escape::hex;
use super::figures::AuditFigures;
use super::links::Link;
use super::record::{AuthFailure, CallId, Entry, Intent, Outcome};
use super::sink::{self, Sink};
use super::unfinished::{self, Left};
use super::{stamp, worker};

/// When the lines of reads reach the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Appended to the file before the answer is given.
    #[default]
    Written,
    /// Kept in a bounded queue in memory that a thread writes out within 100 ms.
    Queued,
}

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// When the lines of reads reach the file.
    pub reads: Reads,
    /// The most bytes waiting in memory in queued mode; beyond it new intents are refused.
    pub queue_bytes_max: usize,
    /// The longest time that a written line is not yet synced to the disk.
    pub fsync_interval: Duration,
    /// The name of this replica, for the boot line.
    pub replica: String,
    /// The bytes from which on the file has grown enough for another to begin; see
    /// [`AuditLog::next`].
    pub file_bytes_max: u64,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            reads: Reads::Written,
            queue_bytes_max: 4 * 1024 * 1024,
            fsync_interval: Duration::from_secs(1),
            replica: "local".to_owned(),
            file_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Why a record was not stored. The call that it stands for must be refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The log's file or directory could not be made.
    #[error("the audit log could not be opened: {0}; check the directory's owner and free space")]
    Open(#[source] Arc<io::Error>),
    /// The queue of unwritten lines is full.
    #[error("the audit queue is full; try again in a moment")]
    Full,
    /// One record would be longer than 1 MiB, the longest that a line may be.
    #[error("the call touches too much for one audit record; ask for fewer items")]
    TooLong,
    /// An earlier line could not be stored, or the log was closed.
    #[error("the audit log is unavailable, so no call can be served: {0}")]
    Unavailable(Arc<str>),
}

/// An intent that has its place in the log and is not known to be on the disk yet.
#[derive(Debug)]
#[must_use = "nothing may be changed before the intent is durable"]
pub struct Announced(u64);

/// One file of an append-only, hash-chained audit log.
#[derive(Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    boot: String,
    began_us: u64,
    /// The name of the file after it.
    next: OnceLock<String>,
}

impl AuditLog {
    /// Makes the directory of logs if it is missing, so that a wall can be raised around it.
    pub fn make_directory(dir: &Path) -> Result<(), AuditError> {
        sink::create_dir(dir).map_err(|error| AuditError::Open(Arc::new(error)))
    }

    /// Makes a new log file below `dir`, which is made if missing, and writes its boot line
    /// durably.
    pub fn open(dir: &Path, options: AuditOptions) -> Result<Self, AuditError> {
        Self::begin(dir, options, stamp::now_us(), None)
    }

    /// Begins the file that goes on from this one, beside it and under the same options. Its first
    /// line names this file and its last line that is on the disk; this one goes on taking the
    /// records of calls that began in it until it is closed, and names the other then. Waits for
    /// the disk, holds up nobody, and changes nothing where it fails.
    pub fn next(&self) -> Result<Self, AuditError> {
        // One that failed is named with what of it was synced before.
        let _ = self.flush();
        let dir = self.path.parent().unwrap_or(Path::new(""));
        // Whatever the clock does: names sort in the order of files.
        let began_us = stamp::now_us().max(self.began_us + 1);
        let next = Self::begin(dir, self.shared.options.clone(), began_us, Some(&self.link()))?;
        // A second one would be no file that goes on from this.
        let _ = self.next.set(next.name());
        Ok(next)
    }

    /// Records in this file that `before`, one of those before it, is not written any more, and the
    /// last line of it that is on the disk.
    pub fn note_closed(&self, before: &Self) -> Result<(), AuditError> {
        self.finish(&Entry::Closed(&before.link()))
    }

    fn begin(
        dir: &Path,
        options: AuditOptions,
        began_us: u64,
        after: Option<&Link>,
    ) -> Result<Self, AuditError> {
        let open_error = |error| AuditError::Open(Arc::new(error));
        let mut id = [0u8; 16];
        getrandom::fill(&mut id).map_err(|error| open_error(io::Error::other(error)))?;
        let boot = String::from_utf8_lossy(&hex::<16, 32>(&id)).into_owned();
        let (file, path) = sink::create(dir, began_us, &boot).map_err(open_error)?;
        let started = Self::start(Box::new(file), path.clone(), options, (&boot, began_us), after);
        if started.is_err() {
            // Nothing of it is on record, and a file without a whole boot line is no log.
            sink::remove(&path);
        }
        started
    }

    pub(super) fn start(
        sink: Box<dyn Sink>,
        path: PathBuf,
        options: AuditOptions,
        (boot, began_us): (&str, u64),
        after: Option<&Link>,
    ) -> Result<Self, AuditError> {
        let version = env!("CARGO_PKG_VERSION");
        let replica = options.replica.clone();
        let shared = Arc::new(Shared::new(sink, options));
        let entry = Entry::Boot { version, boot, replica: &replica, after };
        let seq = shared.append(&entry, Admission::Always)?;
        shared.write_to(seq)?;
        shared.sync_to(seq)?;
        let thread = worker::spawn(Arc::clone(&shared))
            .map_err(|error| AuditError::Open(Arc::new(error)))?;
        let (boot, worker, next) = (boot.to_owned(), Mutex::new(Some(thread)), OnceLock::new());
        Ok(Self { shared, worker, path, boot, began_us, next })
    }

    /// A fresh id for the next call.
    pub fn next_call(&self) -> CallId {
        self.shared.next_call()
    }

    /// Records what a call that changes nothing is about to do. The line is on disk at the
    /// latest with the call's outcome, or after 100 ms if the call runs that long.
    pub fn intent_read(&self, intent: &Intent<'_>) -> Result<(), AuditError> {
        self.shared.append(&Entry::Intent(intent), Admission::IfRoom).map(drop)
    }

    /// Records what a call that changes something is about to do, and returns only when the
    /// line is synced. This waits for the disk: call it where blocking is allowed.
    pub fn intent_write(&self, intent: &Intent<'_>) -> Result<(), AuditError> {
        self.make_durable(&self.announce_write(intent)?)
    }

    /// The first half of [`Self::intent_write`]: the line has its place in the log, and an outcome
    /// may follow it. Nothing may be changed before [`Self::make_durable`].
    pub fn announce_write(&self, intent: &Intent<'_>) -> Result<Announced, AuditError> {
        self.shared.append(&Entry::Intent(intent), Admission::Always).map(Announced)
    }

    /// Returns only when the line is synced. This waits for the disk: call it where blocking is
    /// allowed.
    pub fn make_durable(&self, announced: &Announced) -> Result<(), AuditError> {
        self.shared.write_to(announced.0)?;
        self.shared.sync_to(announced.0)
    }

    /// The temporary files that unfinished writes of processes that are gone may have left, as
    /// the other logs in the directory of this one tell. A log that a live process holds is not
    /// looked at. This reads files: call it where blocking is allowed.
    pub fn left_by_others(&self) -> Vec<Left> {
        unfinished::left(&self.path)
    }

    /// Records how a call ended. In written mode the line, and all before it, is appended to
    /// the file before this returns. In queued mode a full queue is written out, never refused.
    pub fn outcome(&self, outcome: &Outcome<'_>) -> Result<(), AuditError> {
        self.finish(&Entry::Outcome(outcome))
    }

    /// Records a request that was refused because nobody could be made of its credentials.
    pub fn auth_failure(&self, failure: &AuthFailure<'_>) -> Result<(), AuditError> {
        self.finish(&Entry::AuthFailure(failure))
    }

    fn finish(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let seq = self.shared.append(entry, Admission::Always)?;
        match self.shared.options.reads {
            Reads::Written => self.shared.write_to(seq),
            Reads::Queued => Ok(()),
        }
    }

    /// Writes and syncs every line so far.
    pub fn flush(&self) -> Result<(), AuditError> {
        let seq = self.shared.pending()?.last_seq();
        self.shared.write_to(seq)?;
        self.shared.sync_to(seq)
    }

    /// Writes the stop line, syncs, and ends the log's thread. Later records are refused;
    /// closing again does nothing.
    pub fn close(&self) -> Result<(), AuditError> {
        {
            let mut pending = self.shared.lock_pending()?;
            if pending.closing {
                return Ok(());
            }
            pending.closing = true;
            self.shared.wake.notify_all();
        }
        let thread = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            self.shared.latch("the log's thread failed");
        }
        if self.shared.is_latched() {
            return Err(self.shared.unavailable());
        }
        let seq = self.shared.append_stop(self.next.get().map(String::as_str))?;
        self.shared.write_to(seq)?;
        self.shared.sync_to(seq)
    }

    /// Whether records can be stored. Once false, it stays false.
    pub fn is_healthy(&self) -> bool {
        self.shared.pending().is_ok()
    }

    /// Whether the file has come to [`AuditOptions::file_bytes_max`].
    pub fn is_grown(&self) -> bool {
        self.shared.bytes() >= self.shared.options.file_bytes_max
    }

    /// How the log is doing, in numbers. It waits for no disk.
    pub fn figures(&self) -> AuditFigures {
        self.shared.figures()
    }

    /// The number and hash of the last line that is safely on the disk, to be kept outside this
    /// machine's reach. Waits for a sync that is under way; [`AuditLog::flush`] before it makes
    /// the head the newest.
    pub fn head(&self) -> Head {
        self.shared.synced_head()
    }

    /// Syncs every line so far and returns a signed statement of the head, one line of JSON
    /// without its end, to be sent where whoever owns this machine cannot change it. This waits
    /// for the disk: call it where blocking is allowed.
    pub fn checkpoint(&self, key: &CheckpointKey) -> Result<String, AuditError> {
        self.flush()?;
        Ok(checkpoint::sign(key, &self.boot, &self.name(), stamp::now_us(), &self.head()))
    }

    /// The file that this log writes. A host path: for the operator, never for callers.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the file, by which checkpoints and other files of the log know it.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn link(&self) -> Link {
        let Head { seq, hash } = self.head();
        Link { log: self.name(), seq, head: hash }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        // A failure has been latched and reported to callers; there is nobody left to tell.
        let _ = self.close();
    }
}

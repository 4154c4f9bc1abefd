//! Group commit: the chain in memory, the file behind it, and the latch between them.
//!
//! Locks are taken in this order only: `syncing` (who syncs), `file` (who writes), `pending`
//! (the chain and the lines that are not written yet). Appending takes only `pending`; whoever
//! then gets `file` writes everybody's lines with one `write(2)`, and those who waited find
//! theirs written. Syncing works the same way and never holds up writing.
//!
//! **Invariant**: after an error of the file nothing is appended any more, so the chain on disk
//! ends at a whole line and every call that needs a record is refused.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::chain::{Chain, Head, Mark};
use super::figures::{AuditFigures, Lag};
use super::log::{AuditError, AuditOptions, Reads};
use super::record::{CallId, Entry, LINE_BYTES_MAX};
use super::sink::Sink;
use super::stamp;

/// Written mode: that many unwritten bytes make the appender write them itself.
const WRITE_THROUGH_BYTES: usize = 1024 * 1024;
/// Queued mode: that many unwritten bytes wake the writer before its next tick.
const QUEUE_WAKE_BYTES: usize = 64 * 1024;

/// Whether an entry may be refused because the queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    IfRoom,
    Always,
}

/// What the callers and the log's thread share.
pub(super) struct Shared {
    pub(super) options: AuditOptions,
    sink: Box<dyn Sink>,
    file: Mutex<FileState>,
    pending: Mutex<Pending>,
    /// Held while syncing, so that those who wait share one sync. Holds the last synced line.
    syncing: Mutex<Mark>,
    pub(super) wake: Condvar,
    written: AtomicU64,
    synced: AtomicU64,
    lag: Lag,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    bytes: AtomicU64,
    calls: AtomicU64,
    latched: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
}

/// The chain, and its lines that are not in the file yet.
pub(super) struct Pending {
    chain: Chain,
    pub(super) lines: Vec<u8>,
    /// The thread sleeps until somebody clears this and wakes it.
    pub(super) idle: bool,
    /// So much is waiting that the thread was told not to wait for its tick.
    pub(super) hurried: bool,
    pub(super) closing: bool,
}

impl Pending {
    pub(super) fn last_seq(&self) -> u64 {
        self.chain.mark().seq
    }
}

/// Who holds this may write to the file.
struct FileState {
    spare: Vec<u8>,
    len: u64,
    last: Mark,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(sink: Box<dyn Sink>, options: AuditOptions) -> Self {
        Self {
            options,
            sink,
            file: Mutex::new(FileState {
                spare: Vec::with_capacity(16 * 1024),
                len: 0,
                last: Mark::NONE,
            }),
            pending: Mutex::new(Pending {
                chain: Chain::new(),
                lines: Vec::with_capacity(16 * 1024),
                idle: false,
                hurried: false,
                closing: false,
            }),
            syncing: Mutex::new(Mark::NONE),
            wake: Condvar::new(),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lag: Lag::default(),
            syncs: AtomicU64::new(0),
            sync_us: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            latched: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    /// Adds the next line to the pending ones and returns its number.
    pub(super) fn append(
        &self,
        entry: &Entry<'_>,
        admission: Admission,
    ) -> Result<u64, AuditError> {
        let mut pending = self.pending()?;
        let queued = self.options.reads == Reads::Queued;
        let full = queued && pending.lines.len() >= self.options.queue_bytes_max;
        if full && admission == Admission::IfRoom {
            return Err(AuditError::Full);
        }
        let Pending { chain, lines, .. } = &mut *pending;
        let (now_us, first) = (stamp::now_us(), lines.is_empty());
        let seq = chain.append(lines, now_us, entry).map_err(|_| AuditError::TooLong)?;
        if first {
            self.lag.pending(now_us);
        }
        let waiting = lines.len();
        // Waking costs a system call, so a thread is woken once: from sleeping for good, or before
        // its next tick.
        let crowded = queued && waiting > QUEUE_WAKE_BYTES;
        let hurry = crowded && !std::mem::replace(&mut pending.hurried, true);
        let wake = std::mem::take(&mut pending.idle) || hurry;
        drop(pending);
        if wake {
            self.wake.notify_one();
        }
        if full || (!queued && waiting > WRITE_THROUGH_BYTES) {
            self.write_to(seq)?;
        }
        Ok(seq)
    }

    /// Adds the stop line, which a closing log alone still takes. `next` is the file after it.
    pub(super) fn append_stop(&self, next: Option<&str>) -> Result<u64, AuditError> {
        let mut pending = self.lock_pending()?;
        let Pending { chain, lines, .. } = &mut *pending;
        chain.append(lines, stamp::now_us(), &Entry::Stop { next }).map_err(|_| AuditError::TooLong)
    }

    /// A call id that this log has not given out before.
    pub(super) fn next_call(&self) -> CallId {
        CallId::new(self.calls.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The last line that is synced.
    pub(super) fn synced_head(&self) -> Head {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner).head()
    }

    /// Returns when line `seq` is in the file, writing every pending line if it is not yet.
    pub(super) fn write_to(&self, seq: u64) -> Result<(), AuditError> {
        let mut file = self.file.lock().map_err(|_| self.poisoned())?;
        if self.written.load(Ordering::Acquire) >= seq {
            return Ok(());
        }
        if self.is_latched() {
            return Err(self.unavailable());
        }
        let FileState { spare, len, last } = &mut *file;
        let upto = {
            let mut pending = self.lock_pending()?;
            std::mem::swap(spare, &mut pending.lines);
            pending.hurried = false;
            self.lag.writing();
            pending.chain.mark()
        };
        let result = self.append_all(spare, len);
        spare.clear();
        // One burst must not keep its memory for ever.
        spare.shrink_to(LINE_BYTES_MAX);
        if let Err(error) = result {
            self.latch(&format!("writing failed: {error}"));
            return Err(self.unavailable());
        }
        *last = upto;
        self.bytes.store(*len, Ordering::Relaxed);
        self.written.store(upto.seq, Ordering::Release);
        Ok(())
    }

    /// Appends all of `lines`. On failure the half line that may be there is cut off again.
    fn append_all(&self, lines: &[u8], len: &mut u64) -> io::Result<()> {
        let mut done = 0;
        while done < lines.len() {
            let error = match self.sink.append(&lines[done..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let whole = memchr::memrchr(b'\n', &lines[..done]).map_or(0, |at| at + 1);
            // Best effort: where cutting fails too, `verify` reports a truncated last line.
            let _ = self.sink.cut_back(*len + whole as u64);
            return Err(error);
        }
        *len += lines.len() as u64;
        Ok(())
    }

    /// Returns when line `seq`, which is written, is synced to the disk.
    pub(super) fn sync_to(&self, seq: u64) -> Result<(), AuditError> {
        let mut synced_mark = self.syncing.lock().map_err(|_| self.poisoned())?;
        if self.synced.load(Ordering::Acquire) >= seq {
            return Ok(());
        }
        if self.is_latched() {
            return Err(self.unavailable());
        }
        let upto = {
            let file = self.file.lock().map_err(|_| self.poisoned())?;
            // Nobody writes meanwhile, so what is syncing from here on is all that was written.
            self.lag.syncing();
            file.last
        };
        let began = Instant::now();
        if let Err(error) = self.sink.sync() {
            // After a failed sync the kernel may have dropped the pages: trying again proves nothing.
            self.latch(&format!("syncing failed: {error}"));
            return Err(self.unavailable());
        }
        *synced_mark = upto;
        self.synced.store(upto.seq, Ordering::Release);
        self.lag.synced();
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sync_us.fetch_add(us, Ordering::Relaxed);
        Ok(())
    }

    /// How the log is doing. It waits for no write and no sync.
    pub(super) fn figures(&self) -> AuditFigures {
        let lines = self.pending.lock().unwrap_or_else(PoisonError::into_inner).last_seq();
        AuditFigures {
            lines,
            unsynced: lines.saturating_sub(self.synced.load(Ordering::Acquire)),
            lag: self.lag.at(stamp::now_us()),
            syncs: self.syncs.load(Ordering::Relaxed),
            sync_time: Duration::from_micros(self.sync_us.load(Ordering::Relaxed)),
            file_bytes: self.bytes(),
        }
    }

    /// How many bytes were written to the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The numbers of the last written and the last synced line.
    pub(super) fn progress(&self) -> (u64, u64) {
        let synced = self.synced.load(Ordering::Acquire);
        (self.written.load(Ordering::Acquire), synced)
    }

    /// The pending lines of a log that is healthy and open.
    pub(super) fn pending(&self) -> Result<MutexGuard<'_, Pending>, AuditError> {
        if self.is_latched() {
            return Err(self.unavailable());
        }
        let pending = self.lock_pending()?;
        if pending.closing {
            return Err(AuditError::Unavailable("it is closed".into()));
        }
        Ok(pending)
    }

    pub(super) fn lock_pending(&self) -> Result<MutexGuard<'_, Pending>, AuditError> {
        self.pending.lock().map_err(|_| self.poisoned())
    }

    pub(super) fn is_latched(&self) -> bool {
        self.latched.load(Ordering::Acquire)
    }

    pub(super) fn latch(&self, reason: &str) {
        let mut held = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_with(|| reason.into());
        self.latched.store(true, Ordering::Release);
    }

    pub(super) fn unavailable(&self) -> AuditError {
        let held = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        AuditError::Unavailable(held.clone().unwrap_or_else(|| "it failed".into()))
    }

    /// A thread died while it held a lock: half a line may be pending, so nothing more is written.
    fn poisoned(&self) -> AuditError {
        self.latch("a thread failed while it was writing");
        self.unavailable()
    }
}

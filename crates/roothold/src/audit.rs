//! The audit log of a server: one file after another, of which one is written. Another begins once it has
//! grown, or cannot be written any more.
//!
//! What could not be stored is refused, by the log itself, until another file has begun; so a disk that was
//! full is no reason to restart a server. A file that failed is not written again: after a failed sync
//! nobody knows what of it is on the disk. Where a file has grown and another cannot be begun, what is recorded
//! can still be stored, so it goes on in the one that there is.
//!
//! **Invariant**: the outcome of a call stands in the file that its intent stands in, or nowhere.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use roothold_core::audit::{AuditError, AuditFigures, AuditLog, AuditOptions};
use tokio::sync::Notify;

/// How many files before the one that is written may be held by calls that still run.
const HELD_MAX: usize = 32;
/// With less free space than this, in bytes, another file would soon fail as well. A disk may be as small as
/// that, so it is no more than some hundred lines take.
const FREE_BYTES_MIN: u64 = 64 * 1024;

/// The audit log of a server.
pub(crate) struct Audit {
    dir: PathBuf,
    options: AuditOptions,
    /// None until it has begun.
    current: RwLock<Option<Arc<AuditLog>>>,
    /// Told by whoever finds that the file has grown.
    grown: Notify,
    before: Mutex<Before>,
}

/// Why another file began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The one before could not be written any more.
    Failed,
    /// The one before had grown to its size.
    Grown,
}

/// Why no other file began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// It could not be made or written.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// Too many are open already.
    #[error("calls that still run hold too many of its files; end them, or restart the server")]
    Held,
}

/// The files before the one that is written.
#[derive(Default)]
struct Before {
    /// Those of calls that still run stay open, and so locked: what is unfinished in a log that nobody holds
    /// counts as that of a process that died, and is swept.
    held: Vec<Arc<AuditLog>>,
    /// What the others came to, and how many of them had failed.
    past: AuditFigures,
    past_failed: u64,
    closed: bool,
}

/// Whether a call still runs that began in a file that is not handed out any more.
fn is_in_use(log: &Arc<AuditLog>) -> bool {
    Arc::strong_count(log) > 1
}

impl Before {
    /// Ends those files of which that may be, and records it in the one that is written.
    ///
    /// # Errors
    /// When what was recorded in one of them could not be stored; that was said already of one that had
    /// failed before.
    fn let_go(
        &mut self,
        current: &AuditLog,
        may_end: fn(&Arc<AuditLog>) -> bool,
    ) -> Result<(), AuditError> {
        let Self { held, past, past_failed, .. } = self;
        let mut stored = Ok(());
        for log in held.extract_if(.., |log| may_end(log)) {
            let had_failed = !log.is_healthy();
            let ended = log.close();
            *past_failed += u64::from(had_failed || ended.is_err());
            add(past, &log.figures());
            // Where this is not stored, the first line of the file after it still holds it to a line.
            let _ = current.note_closed(&log);
            match ended {
                Ok(()) => tracing::info!(file = log.name(), "a file of the audit log is closed"),
                Err(_) if had_failed => {}
                Err(error) => {
                    tracing::error!(file = log.name(), %error, "a file of the audit log could not be closed");
                    stored = Err(error);
                }
            }
        }
        stored
    }
}

/// Adds what is counted over all files.
fn add(all: &mut AuditFigures, figures: &AuditFigures) {
    all.lines += figures.lines;
    all.syncs += figures.syncs;
    all.sync_time += figures.sync_time;
}

impl Audit {
    /// A log in a directory, of which nothing is made before [`Self::begin`].
    pub(crate) fn ahead(dir: PathBuf, options: AuditOptions) -> Self {
        let (current, grown, before) = (RwLock::default(), Notify::new(), Mutex::default());
        Self { dir, options, current, grown, before }
    }

    /// Begins the first file, unless that was done. Waits for the disk.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn begin(&self) -> Result<(), AuditError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_none() {
            *current = Some(Arc::new(AuditLog::open(&self.dir, self.options.clone())?));
        }
        Ok(())
    }

    /// The file that is written now. A call keeps to the one that it began with.
    ///
    /// # Errors
    /// Before the log has begun, when nothing is to be recorded yet.
    pub(crate) fn current(&self) -> Result<Arc<AuditLog>, AuditError> {
        let log = self.file()?;
        if log.is_grown() {
            self.grown.notify_one();
        }
        Ok(log)
    }

    /// Keeps everybody from the log for as long as what is returned lives.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> Result<Arc<AuditLog>, AuditError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| AuditError::Unavailable("it has not begun".into()))
    }

    /// Whether calls can be recorded.
    pub(crate) fn is_healthy(&self) -> bool {
        self.file().is_ok_and(|log| log.is_healthy())
    }

    /// Ends when somebody has found that the file has grown.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// Whether [`Self::renew`] would find something to do. Waits for nothing.
    pub(crate) fn wants_care(&self) -> bool {
        let may_end = |before: &Before| before.held.iter().any(|log| !is_in_use(log));
        self.file().is_ok_and(|log| !log.is_healthy() || log.is_grown())
            || self.before.try_lock().is_ok_and(|before| may_end(&before))
    }

    /// Begins another file if the one before has failed or has grown, and ends those before whose calls have
    /// all ended. Waits for the disk, and lets nobody else wait for it.
    ///
    /// # Errors
    /// When another is due and cannot be begun: then the one that there is stays.
    pub(crate) fn renew(&self) -> Result<Option<Why>, RenewError> {
        let mut before = self.before();
        let log = self.file()?;
        if before.closed {
            return Ok(None);
        }
        let why = match (log.is_healthy(), log.is_grown()) {
            (false, _) => Why::Failed,
            (true, true) => Why::Grown,
            (true, false) => {
                // What could not be stored was said.
                let _ = before.let_go(&log, |log| !is_in_use(log));
                return Ok(None);
            }
        };
        if before.held.iter().filter(|log| is_in_use(log)).count() >= HELD_MAX {
            return Err(RenewError::Held);
        }
        self.has_room()?;
        let next = Arc::new(log.next()?);
        let current = Some(Arc::clone(&next));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        before.held.push(log);
        let _ = before.let_go(&next, |log| !is_in_use(log));
        Ok(Some(why))
    }

    /// A file that is begun on a full disk would be left empty.
    fn has_room(&self) -> Result<(), AuditError> {
        let refused = |error: io::Error| AuditError::Open(Arc::new(error));
        let disk = rustix::fs::statvfs(&self.dir).map_err(|error| refused(error.into()))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN {
            return Err(refused(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Ends all files; later records are refused, and no other file begins.
    ///
    /// # Errors
    /// When what was recorded could not be stored.
    pub(crate) fn close(&self) -> Result<(), AuditError> {
        let mut before = self.before();
        before.closed = true;
        // One that has not begun has nothing to store.
        let Ok(log) = self.file() else { return Ok(()) };
        let stored = before.let_go(&log, |_| true);
        drop(before);
        log.close()?;
        stored
    }

    /// How the log is doing, counted over all its files, and how many of them failed. Waits for no disk.
    pub(crate) fn figures(&self) -> (AuditFigures, u64) {
        let Ok(log) = self.file() else { return (AuditFigures::default(), 0) };
        let (mut all, is_broken) = (log.figures(), !log.is_healthy());
        // Held while another file begins, which may hang.
        let Ok(before) = self.before.try_lock() else { return (all, u64::from(is_broken)) };
        add(&mut all, &before.past);
        let mut failed = before.past_failed + u64::from(is_broken && !before.closed);
        for log in &before.held {
            let figures = log.figures();
            add(&mut all, &figures);
            if log.is_healthy() {
                all.unsynced += figures.unsynced;
                all.lag = all.lag.max(figures.lag);
            } else {
                failed += 1;
            }
        }
        (all, failed)
    }

    fn before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

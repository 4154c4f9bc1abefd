//! The audit log of a server: one chain in one file, and another once that cannot be written any more.
//!
//! What could not be stored is refused, by the log itself, until another file has begun; so a disk that was
//! full is no reason to restart a server. A file that failed is not written again: after a failed sync
//! nobody knows what of it is on the disk.
//!
//! **Invariant**: the outcome of a call stands in the file that its intent stands in, or nowhere.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use roothold_core::audit::{AuditError, AuditFigures, AuditLog, AuditOptions};

/// How many files that failed may be held by calls that do not end before a person has to look.
const FAILED_MAX: usize = 32;
/// With less free space than this, in bytes, another file would soon fail as well. A disk may be as small as
/// that, so it is no more than some hundred lines take.
const FREE_BYTES_MIN: u64 = 64 * 1024;

/// The audit log of a server.
pub(crate) struct Audit {
    dir: PathBuf,
    options: AuditOptions,
    /// None until it has begun.
    current: RwLock<Option<Arc<AuditLog>>>,
    ended: Mutex<Ended>,
}

/// The files that are not written any more.
#[derive(Default)]
struct Ended {
    /// Those of calls that still run stay open, and so locked: what is unfinished in a log that nobody holds
    /// counts as that of a process that died, and is swept.
    failed: Vec<Arc<AuditLog>>,
    /// What the others came to, and how many they were.
    past: AuditFigures,
    past_files: u64,
    closed: bool,
}

impl Ended {
    /// Lets go of the files whose calls have all ended.
    fn let_go(&mut self) {
        let Self { failed, past, past_files, .. } = self;
        failed.retain(|log| {
            let is_held = Arc::strong_count(log) > 1;
            if !is_held {
                add(past, &log.figures());
                *past_files += 1;
            }
            is_held
        });
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
        Self { dir, options, current: RwLock::default(), ended: Mutex::default() }
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
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| AuditError::Unavailable("it has not begun".into()))
    }

    /// Whether calls can be recorded.
    pub(crate) fn is_healthy(&self) -> bool {
        self.current().is_ok_and(|log| log.is_healthy())
    }

    /// Begins another file if the one before has failed; whether it did. Waits for the disk.
    ///
    /// # Errors
    /// When another cannot be begun either.
    pub(crate) fn renew(&self) -> Result<bool, AuditError> {
        let mut ended = self.ended();
        let before = self.current()?;
        if ended.closed || before.is_healthy() {
            return Ok(false);
        }
        ended.let_go();
        if ended.failed.len() >= FAILED_MAX {
            return Err(AuditError::Unavailable(
                "too many of its files failed; mend the disk and restart the server".into(),
            ));
        }
        self.has_room()?;
        let next = Arc::new(AuditLog::open(&self.dir, self.options.clone())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        ended.failed.push(before);
        Ok(true)
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

    /// Ends the file that is written; later records are refused, and no other file begins.
    ///
    /// # Errors
    /// When what was recorded could not be stored.
    pub(crate) fn close(&self) -> Result<(), AuditError> {
        self.ended().closed = true;
        // One that has not begun has nothing to store.
        self.current().map_or(Ok(()), |log| log.close())
    }

    /// How the log is doing, counted over all its files, and how many of them failed. Waits for no disk.
    pub(crate) fn figures(&self) -> (AuditFigures, u64) {
        let Ok(current) = self.current() else { return (AuditFigures::default(), 0) };
        // Held while another file begins, which may hang.
        let Ok(ended) = self.ended.try_lock() else { return (current.figures(), 1) };
        let mut all = current.figures();
        add(&mut all, &ended.past);
        for failed in &ended.failed {
            add(&mut all, &failed.figures());
        }
        let broken = !ended.closed && !current.is_healthy();
        (all, ended.past_files + ended.failed.len() as u64 + u64::from(broken))
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "looks at what it wrote to a temporary directory")]
mod tests {
    use std::fs;
    use std::path::Path;

    use roothold_core::audit::{AuthFailure, verify};

    use super::*;

    fn failure() -> AuthFailure<'static> {
        AuthFailure { class: "missing", remote: None, request_id: "r" }
    }

    fn begun(dir: &Path) -> Audit {
        let audit = Audit::ahead(dir.to_owned(), AuditOptions::default());
        audit.begin().unwrap();
        audit
    }

    #[test]
    fn before_it_begins_there_is_no_file_and_nothing_can_be_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::ahead(dir.path().join("audit"), AuditOptions::default());
        assert!(audit.current().is_err() && !audit.is_healthy());
        assert!(audit.renew().is_err());
        audit.close().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let audit = begun(&dir.path().join("audit"));
        audit.begin().unwrap();
        assert!(audit.is_healthy());
        assert_eq!(fs::read_dir(dir.path().join("audit")).unwrap().count(), 1);
    }

    #[test]
    fn a_log_that_is_well_or_closed_begins_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let audit = begun(dir.path());
        assert!(!audit.renew().unwrap());
        audit.current().unwrap().auth_failure(&failure()).unwrap();
        audit.close().unwrap();
        assert!(!audit.is_healthy());
        assert!(!audit.renew().unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(audit.figures().1, 0);
    }

    #[test]
    fn another_file_begins_when_one_has_ended_and_its_calls_keep_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let audit = begun(dir.path());
        let first = audit.current().unwrap();
        first.auth_failure(&failure()).unwrap();
        // One that was closed by itself is as one that failed: it takes nothing any more.
        first.close().unwrap();
        assert!(!audit.is_healthy());
        assert_eq!(audit.figures().1, 1);
        assert!(audit.renew().unwrap());
        assert!(audit.is_healthy() && !first.is_healthy());
        assert!(first.auth_failure(&failure()).is_err());
        audit.current().unwrap().auth_failure(&failure()).unwrap();
        let (figures, failed) = audit.figures();
        assert_eq!((figures.lines, failed), (5, 1));
        audit.close().unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let summary = verify(bytes.as_slice()).unwrap();
            assert_eq!((summary.lines, summary.auth_failures, summary.stopped), (3, 1, true));
        }
    }

    #[test]
    fn files_that_fail_again_and_again_end() {
        let dir = tempfile::tempdir().unwrap();
        let audit = begun(dir.path());
        let mut calls = Vec::new();
        for _ in 0..FAILED_MAX {
            calls.push(audit.current().unwrap());
            audit.current().unwrap().close().unwrap();
            assert!(audit.renew().unwrap());
        }
        audit.current().unwrap().close().unwrap();
        assert!(audit.renew().unwrap_err().to_string().contains("restart"));
        assert_eq!(audit.figures().1, FAILED_MAX as u64 + 1);
        // As soon as one of these calls has ended, another may begin.
        calls.pop();
        assert!(audit.renew().unwrap());
        assert_eq!(audit.figures().1, FAILED_MAX as u64 + 1);
    }

    #[test]
    fn files_whose_calls_have_ended_are_no_limit_and_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let audit = begun(dir.path());
        let files = 3 * FAILED_MAX as u64;
        for _ in 0..files {
            audit.current().unwrap().close().unwrap();
            assert!(audit.renew().unwrap());
        }
        let (figures, failed) = audit.figures();
        assert_eq!(failed, files);
        // Each has its first line and its last, the newest only the first.
        assert_eq!(figures.lines, 2 * files + 1);
    }
}

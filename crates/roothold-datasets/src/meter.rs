//! What one run over a source has used, and whether it may go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use roothold_core::{Budget, Fault, FaultKind};

/// Counts the bytes that a run reads from its files, and stops it.
///
/// Every read asks it first, so a cancelled or overdue run ends within one read.
#[derive(Debug)]
pub struct Meter {
    budget: Budget,
    stopped: AtomicBool,
    bytes: AtomicU64,
}

impl Meter {
    /// A meter for a run that may go on as long as `budget` says.
    pub fn new(budget: &Budget) -> Self {
        Self { budget: budget.clone(), stopped: AtomicBool::new(false), bytes: AtomicU64::new(0) }
    }

    /// Bytes read from files so far, compressed where the files are.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends the run at its next read, whatever its budget says.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout`.
    pub fn check(&self) -> Result<(), Fault> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Cancelled, "the call was cancelled"));
        }
        self.budget.check()
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

//! What one call may use: bytes of answer, entries, time; and the flag that cancels it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fault::{Fault, FaultKind};

/// The limits of one call.
///
/// Blocking work asks [`Budget::check`] once per entry or block, so that a cancelled or overdue
/// call ends within one of them.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The largest text answer, in bytes.
    pub result_bytes_max: usize,
    /// The most entries that one answer holds.
    pub entries_max: usize,
    deadline: Instant,
    flags: Arc<Flags>,
}

#[derive(Debug, Default)]
struct Flags {
    cancelled: AtomicBool,
    effect: AtomicBool,
    cut: AtomicBool,
}

impl Budget {
    /// A budget that starts now.
    pub fn new(result_bytes_max: usize, entries_max: usize, time: Duration) -> Self {
        Self {
            result_bytes_max,
            entries_max,
            deadline: Instant::now() + time,
            flags: Arc::default(),
        }
    }

    /// The same call with another limit on its answer; time and cancellation are shared.
    #[must_use]
    pub fn with_result_bytes_max(&self, bytes: usize) -> Self {
        Self { result_bytes_max: bytes, ..self.clone() }
    }

    /// When the time is up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Tells the work to stop at its next check.
    pub fn cancel(&self) {
        self.flags.cancelled.store(true, Ordering::Relaxed);
    }

    /// Notes that the call changed something, so that its outcome can say so also when nobody
    /// waits for its answer any more.
    pub fn note_effect(&self) {
        self.flags.effect.store(true, Ordering::Release);
    }

    /// Whether the call changed something.
    pub fn had_effect(&self) -> bool {
        self.flags.effect.load(Ordering::Acquire)
    }

    /// Notes that the answer ends at a limit, and has a next page.
    pub fn note_cut(&self) {
        self.flags.cut.store(true, Ordering::Relaxed);
    }

    /// Whether the answer ends at a limit.
    pub fn was_cut(&self) -> bool {
        self.flags.cut.load(Ordering::Relaxed)
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout`.
    pub fn check(&self) -> Result<(), Fault> {
        if self.flags.cancelled.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Cancelled, "the call was cancelled"));
        }
        if Instant::now() >= self.deadline {
            return Err(Fault::new(
                FaultKind::Timeout,
                "the call ran out of time; ask for less, such as a smaller directory or range",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_budget_stops_every_clone() {
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        let clone = budget.with_result_bytes_max(7);
        assert!(clone.check().is_ok());
        budget.cancel();
        assert_eq!(clone.check().unwrap_err().kind(), FaultKind::Cancelled);
    }

    #[test]
    fn an_effect_is_known_to_every_clone() {
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        assert!(!budget.had_effect());
        budget.with_result_bytes_max(7).note_effect();
        assert!(budget.had_effect());
    }

    #[test]
    fn an_overdue_budget_says_so() {
        let budget = Budget::new(1, 1, Duration::ZERO);
        assert_eq!(budget.check().unwrap_err().kind(), FaultKind::Timeout);
    }
}

//! What stops the threads of one search.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};

/// Stops work when the call ends, or when the search has all that it wants.
#[derive(Debug)]
pub(super) struct Leash<'a> {
    budget: &'a Budget,
    pulled: AtomicBool,
}

impl<'a> Leash<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self { budget, pulled: AtomicBool::new(false) }
    }

    /// Nothing more is wanted.
    pub(super) fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// The budget's own; `Cancelled` when the leash was pulled, which nobody reads.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.pulled.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Cancelled, "nothing more is wanted"));
        }
        self.budget.check()
    }

    pub(super) fn budget(&self) -> &'a Budget {
        self.budget
    }
}

//! Waiting for work under a budget.

use std::future::Future;
use std::time::{Duration, Instant};

use roothold_core::{Budget, Fault, FaultKind};

/// How often a budget is asked whether its call was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Until when a statement may run: as long as the call may, and as its source lets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    at: Instant,
    source: Option<Duration>,
}

impl Until {
    pub(crate) fn new(budget: &Budget, time: Duration) -> Self {
        let own = Instant::now() + time;
        if own < budget.deadline() {
            return Self { at: own, source: Some(time) };
        }
        Self { at: budget.deadline(), source: None }
    }

    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout`.
    pub(crate) fn check(&self, budget: &Budget) -> Result<(), Fault> {
        match budget.check() {
            Err(fault) if fault.kind() != FaultKind::Timeout => Err(fault),
            Ok(()) if !self.left().is_zero() => Ok(()),
            _ => Err(self.overdue()),
        }
    }

    /// What is said of a statement that ran too long.
    pub(crate) fn overdue(&self) -> Fault {
        let within =
            self.source.map(|time| format!(" {} ms", time.as_millis())).unwrap_or_default();
        let text = format!(
            "the statement did not end within its time{within} and was cancelled in the database; ask for \
             less: filter, aggregate, or look at its plan first"
        );
        Fault::new(FaultKind::Timeout, text)
    }
}

/// The result of `work`, unless the call is cancelled or overdue before: then it is dropped.
pub(crate) async fn under<T>(
    budget: &Budget,
    until: Until,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let watch = async {
        loop {
            if let Err(fault) = until.check(budget) {
                return fault;
            }
            let nap = LOOK_EVERY.min(until.left()).max(Duration::from_millis(1));
            tokio::time::sleep(nap).await;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        fault = watch => Err(fault),
    }
}

/// The result of `work`, which is to have a connection, unless the call is cancelled or overdue before.
pub(crate) async fn waiting<T>(
    budget: &Budget,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let left = budget.deadline().saturating_duration_since(Instant::now());
    let had = under(budget, Until::new(budget, left), work).await;
    had.map_err(|fault| if fault.kind() == FaultKind::Timeout { busy() } else { fault })
}

/// What is said when every connection of a source is in use for too long.
pub(crate) fn busy() -> Fault {
    let text = "every connection to this database is in use; try again in a moment";
    Fault::new(FaultKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_its_call() {
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        let until = Until::new(&budget, Duration::from_mins(2));
        budget.cancel();
        let forever = std::future::pending::<Result<(), Fault>>();
        let fault = under(&budget, until, forever).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Cancelled);
    }

    #[tokio::test]
    async fn work_ends_with_the_time_of_its_source() {
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        let until = Until::new(&budget, Duration::from_millis(5));
        let forever = std::future::pending::<Result<(), Fault>>();
        let fault = under(&budget, until, forever).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Timeout);
        assert!(fault.public().contains("5 ms"), "{fault}");
    }
}

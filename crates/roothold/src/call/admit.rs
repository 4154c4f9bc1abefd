//! Who may run now: a limit over all calls and one per principal, so that one caller's flood
//! leaves room for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roothold_core::{Fault, FaultKind, Principal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// How many principals are remembered at once; idle ones are forgotten beyond it.
const PRINCIPALS_MAX: usize = 4096;

/// The places among the running calls.
pub(crate) struct Admission {
    all: Arc<Semaphore>,
    calls_max: usize,
    threads_max: usize,
    principals: Mutex<HashMap<Arc<str>, Own>>,
    wait: Duration,
}

/// The places of one principal.
#[derive(Clone)]
struct Own {
    calls: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

/// A place among the running calls; free again when the last clone of its `Arc` is dropped.
pub(crate) struct Ticket {
    /// The place among all calls and that among the principal's; none for a job, of which there
    /// are limits of their own.
    _places: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    threads: Arc<Semaphore>,
    ends: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for end in self.ends.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            end();
        }
    }
}

impl Ticket {
    fn new(all: OwnedSemaphorePermit, own: OwnedSemaphorePermit, threads: Arc<Semaphore>) -> Self {
        Self { _places: Some((all, own)), threads, ends: Mutex::default() }
    }

    /// Does something once nobody works for the call any more.
    pub(super) fn at_end(&self, end: impl FnOnce() + Send + 'static) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(end));
    }

    /// Waits until the principal may use one thread more for blocking work. All calls of a
    /// principal, and the parts of its batches, share at most half of the threads. What `waits` makes
    /// is kept while it waits.
    pub(super) async fn thread<T>(
        &self,
        waits: impl FnOnce() -> T,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(thread) = Arc::clone(&self.threads).try_acquire_owned() {
            return Ok(thread);
        }
        let _waits = waits();
        Arc::clone(&self.threads).acquire_owned().await.map_err(Fault::internal)
    }
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.calls_max)),
            calls_max: limits.calls_per_principal_max,
            threads_max: (limits.blocking_threads_max / 2).max(1),
            principals: Mutex::default(),
            wait: limits.admission_timeout(),
        }
    }

    /// A place, if one is free: the way that nearly every call takes.
    pub(crate) fn at_once(&self, principal: &Principal) -> Option<Ticket> {
        let Own { calls: own, threads } = self.of(principal);
        let own = own.try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Ticket::new(all, own, threads))
    }

    /// What a run of a job needs instead: the principal's share of the threads.
    pub(super) fn for_job(&self, principal: &Principal) -> Ticket {
        let Own { threads, .. } = self.of(principal);
        Ticket { _places: None, threads, ends: Mutex::default() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Busy` after the admission timeout, `Cancelled` if the client gives up meanwhile.
    pub(crate) async fn admit(
        &self,
        principal: &Principal,
        cancel: &CancellationToken,
    ) -> Result<Ticket, Fault> {
        let Own { calls: own, threads } = self.of(principal);
        let both = async {
            let own = own.acquire_owned().await;
            let all = Arc::clone(&self.all).acquire_owned().await;
            Ok::<_, tokio::sync::AcquireError>(Ticket::new(all?, own?, threads))
        };
        tokio::select! {
            ticket = both => ticket.map_err(Fault::internal),
            () = cancel.cancelled() => Err(Fault::new(FaultKind::Cancelled, "the call was cancelled")),
            () = tokio::time::sleep(self.wait) => {
                Err(Fault::new(FaultKind::Busy, "too many calls are running; try again in a moment"))
            }
        }
    }

    fn of(&self, principal: &Principal) -> Own {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = principals.get(principal.name()) {
            return known.clone();
        }
        if principals.len() >= PRINCIPALS_MAX {
            principals.retain(|_, own| own.calls.available_permits() < self.calls_max);
        }
        let new = Own {
            calls: Arc::new(Semaphore::new(self.calls_max)),
            threads: Arc::new(Semaphore::new(self.threads_max)),
        };
        principals.insert(principal.shared_name(), new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use roothold_core::Scopes;

    use super::*;

    #[tokio::test]
    async fn who_has_their_share_of_the_threads_waits_and_is_counted() {
        let limits = Limits { blocking_threads_max: 4, ..Limits::default() };
        let admission = Admission::new(&limits);
        let of = |name: &str| admission.for_job(&Principal::new(name, Scopes::All));
        let (anna, ben) = (of("anna"), of("ben"));
        let count = Arc::new(());
        let waits = || Arc::clone(&count);
        let waiting = || Arc::strong_count(&count) - 1;
        let held = [anna.thread(waits).await.unwrap(), anna.thread(waits).await.unwrap()];
        assert_eq!(waiting(), 0);
        let again = of("anna");
        let mut third = Box::pin(anna.thread(waits));
        let mut fourth = Box::pin(again.thread(waits));
        assert!(futures::poll!(&mut third).is_pending());
        assert!(futures::poll!(&mut fourth).is_pending());
        assert_eq!(waiting(), 2, "calls of one principal share");
        let _others = ben.thread(waits).await.unwrap();
        assert_eq!(waiting(), 2, "another has threads");
        drop(fourth);
        assert_eq!(waiting(), 1, "one that was dropped waits no longer");
        drop(held);
        let _third = third.await.unwrap();
        assert_eq!(waiting(), 0);
    }
}

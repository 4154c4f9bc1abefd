//! One subscription: when it looks, and what it has found and not told yet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roothold_core::files::{HintId, Watched};
use roothold_core::{Budget, Fault, Policy, Principal};
use tokio::time::Instant;

use super::hub::{Mailbox, Place};
use super::tools::permits_of;
use crate::call::Engine;

/// How long the looks of one round may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked, in times of the configured interval, where the kernel sees every change.
const SELDOM: u32 = 12;

/// The URIs that one client watches.
pub(crate) struct Subscription {
    mailbox: Arc<Mailbox>,
    inner: Arc<Mutex<Inner>>,
    /// The shortest time between two rounds, and so between two notifications of one URI.
    interval: Duration,
}

/// What a round works on, on a thread for blocking work.
struct Inner {
    place: Place,
    uris: Vec<Uri>,
    /// What the permits of the URIs are of.
    decided_by: Policy,
    /// What has changed and was not told yet.
    pending: BTreeSet<usize>,
    /// How often it is looked where the kernel gives no hints.
    poll: Duration,
    looked: Instant,
}

struct Uri {
    name: String,
    watched: Watched,
    hints: Vec<HintId>,
    /// Whether the kernel gives a hint on every change.
    is_hinted: bool,
    looked: Instant,
}

impl Subscription {
    /// Looks at everything for the first time: what is there is what later looks compare with.
    ///
    /// # Errors
    /// When it cannot be looked now, such as `Busy`.
    pub(super) fn begin(
        place: Place,
        watched: Vec<(String, Watched)>,
        decided_by: Policy,
        (interval, poll): (Duration, Duration),
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let looked = Instant::now();
        let uris = watched.into_iter().map(|(uri, watched)| Uri {
            name: uri,
            watched,
            hints: Vec::new(),
            is_hinted: false,
            looked,
        });
        let uris = uris.collect();
        let mailbox = Arc::clone(&place.mailbox);
        let mut inner = Inner { place, uris, decided_by, pending: BTreeSet::new(), poll, looked };
        for at in 0..inner.uris.len() {
            inner.look(at, budget)?;
        }
        Ok(Self { mailbox, inner: Arc::new(Mutex::new(inner)), interval })
    }

    /// Waits until something has changed and may be told, and returns its URIs. It returns them
    /// again until they are [`told`](Self::told).
    ///
    /// # Cancellation
    /// Safe to drop: what was found stays pending.
    pub(super) async fn next(&self, engine: &Engine, principal: &Principal) -> Vec<String> {
        loop {
            let (is_due, looked, due) = self.lock().times(&engine.rights.now().policy);
            if !is_due {
                tokio::select! {
                    () = self.mailbox.wake.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                }
            }
            tokio::time::sleep_until(looked + self.interval).await;
            self.round(engine, principal).await;
            let pending = self.lock().pending();
            if !pending.is_empty() {
                return pending;
            }
        }
    }

    /// What [`next`](Self::next) returned needs not be told again.
    pub(super) fn told(&self) {
        self.lock().pending.clear();
    }

    /// Looks at what there are hints for, and at what was not looked at for long.
    async fn round(&self, engine: &Engine, principal: &Principal) {
        let Ok(turn) = Arc::clone(&engine.hub.looks).acquire_owned().await else { return };
        let (inner, marks) = (Arc::clone(&self.inner), self.mailbox.take());
        let (rights, principal) = (engine.rights.now(), principal.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            let is_other = inner.renew(&rights.policy, &principal);
            inner.round(marks.filter(|_| !is_other).as_ref());
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking at watched files failed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether something is to be told, or decided by another policy; when it was looked last, and when to
    /// look at the latest.
    fn times(&self, policy: &Policy) -> (bool, Instant, Instant) {
        let is_due = !self.pending.is_empty() || !self.decided_by.is(policy);
        let due = self.uris.iter().map(|uri| uri.due(self.poll)).min();
        (is_due, self.looked, due.unwrap_or(self.looked + self.poll))
    }

    fn pending(&self) -> Vec<String> {
        self.pending.iter().map(|at| self.uris[*at].name.clone()).collect()
    }

    /// Has each URI be decided by a policy, and tells whether it is another than it was.
    fn renew(&mut self, policy: &Policy, principal: &Principal) -> bool {
        if self.decided_by.is(policy) {
            return false;
        }
        for uri in &mut self.uris {
            uri.watched.renew(permits_of(policy, principal, &uri.name));
        }
        self.decided_by = policy.clone();
        true
    }

    /// One round; no marks at all mean everything.
    fn round(&mut self, marks: Option<&BTreeSet<usize>>) {
        let budget = Budget::new(0, usize::MAX, LOOK_TIMEOUT);
        let now = Instant::now();
        for at in 0..self.uris.len() {
            let is_marked = marks.is_none_or(|marks| marks.contains(&at));
            if !is_marked && self.uris[at].due(self.poll) > now {
                continue;
            }
            if let Err(fault) = self.look(at, &budget) {
                tracing::debug!(%fault, "a watched file could not be looked at now");
                // At the next turn of the clock, whether or not there is another hint.
                self.uris[at].is_hinted = false;
            }
        }
        self.looked = Instant::now();
    }

    fn look(&mut self, at: usize, budget: &Budget) -> Result<(), Fault> {
        let uri = &mut self.uris[at];
        uri.looked = Instant::now();
        let found = uri.watched.look(budget)?;
        let (hints, all) = self.place.hint(at, &uri.hints, &found.handles);
        let is_new = hints != uri.hints;
        uri.hints = hints;
        uri.is_hinted = all && found.is_local;
        drop(found.handles);
        // What happened between the look and the first hint is found by a second look.
        if found.changed || (is_new && uri.watched.look(budget)?.changed) {
            self.pending.insert(at);
        }
        Ok(())
    }
}

impl Uri {
    fn due(&self, poll: Duration) -> Instant {
        self.looked + if self.is_hinted { poll * SELDOM } else { poll }
    }
}

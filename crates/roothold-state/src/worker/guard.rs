//! A lease that is kept: heartbeats, and the operations that only its holder may do.

use std::future::Future;
use std::time::Duration;

use super::timer::Timer;
use crate::change::{Changes, What};
use crate::error::StateError;
use crate::job::{Commit, Directive, Lease, Outcome, Release};
use crate::store::StateStore;

/// How soon a call that failed is made again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Why work has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The lease is lost.
    Lost,
    /// The owner wants it.
    Cancel,
    /// The deadline passed.
    Expire,
    /// The worker is to stop.
    Drain,
    /// What a chunk or the work gave is more than is kept.
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
}

pub(super) struct Guard<'a, S, T> {
    store: &'a S,
    timer: &'a T,
    lease: Lease,
    span: Duration,
    /// Until when the lease lasts at least, by this machine's clock.
    until: Duration,
    beat_at: Duration,
}

impl<'a, S: StateStore, T: Timer> Guard<'a, S, T> {
    /// A lease of `span` that was asked for at `asked`: it began later, if anything.
    pub(super) fn new(
        store: &'a S,
        timer: &'a T,
        lease: Lease,
        span: Duration,
        asked: Duration,
    ) -> Self {
        let mut guard = Self { store, timer, lease, span, until: asked, beat_at: asked };
        guard.renew(asked);
        guard
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    fn renew(&mut self, asked: Duration) {
        self.until = asked + self.span;
        self.beat_at = asked + self.span / 3;
    }

    /// Keeps the lease until there is a reason to stop.
    pub(super) async fn keep(&mut self, changes: &mut Changes) -> Stop {
        loop {
            tokio::select! {
                biased;
                () = self.timer.sleep_until(self.beat_at) => {}
                () = cancel_may_be_asked(changes, self.lease) => {}
            }
            let asked = self.timer.now();
            let beat = tokio::select! {
                biased;
                () = self.timer.sleep_until(self.until) => return Stop::Lost,
                beat = self.store.heartbeat(self.lease, self.span) => beat,
            };
            match beat {
                Ok(directive) => {
                    self.renew(asked);
                    match directive {
                        Directive::Go => {}
                        Directive::Cancel => return Stop::Cancel,
                        Directive::Expire => return Stop::Expire,
                    }
                }
                Err(StateError::Fenced | StateError::Closed) => return Stop::Lost,
                Err(_) => {
                    self.beat_at = (self.timer.now() + RETRY.1.min(self.span / 10)).min(self.until);
                }
            }
        }
    }

    pub(super) async fn commit(
        &mut self,
        commit: Commit,
        told: impl Fn(&StateError),
    ) -> Result<Directive, StateError> {
        let (store, lease, span) = (self.store, self.lease, self.span);
        let (directive, asked) =
            self.insist(told, || store.commit(lease, commit.clone(), span)).await?;
        self.renew(asked);
        Ok(directive)
    }

    pub(super) async fn finish(
        &mut self,
        outcome: &Outcome,
        told: impl Fn(&StateError),
    ) -> Result<(), StateError> {
        let (store, lease) = (self.store, self.lease);
        self.insist(told, || store.finish(lease, outcome.clone())).await.map(|done| done.0)
    }

    pub(super) async fn release(
        &mut self,
        release: Release,
        told: impl Fn(&StateError),
    ) -> Result<(), StateError> {
        let (store, lease) = (self.store, self.lease);
        self.insist(told, || store.release(lease, release)).await.map(|done| done.0)
    }

    /// Asks again through outages, while the lease lasts: every operation may be repeated. The
    /// answer comes with when it was asked for.
    async fn insist<R, F: Future<Output = Result<R, StateError>>>(
        &self,
        told: impl Fn(&StateError),
        ask: impl Fn() -> F,
    ) -> Result<(R, Duration), StateError> {
        let mut pause = RETRY.0;
        loop {
            let asked = self.timer.now();
            match ask().await {
                Ok(answer) => return Ok((answer, asked)),
                Err(error) if error.is_outage() => told(&error),
                Err(error) => return Err(error),
            }
            // Past its end the lease is somebody else's to take; whoever does has the last checkpoint.
            if self.timer.now() + pause >= self.until {
                return Err(StateError::Fenced);
            }
            self.timer.sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }
}

/// Waits for a sign that the owner of the job may want it to stop.
async fn cancel_may_be_asked(changes: &mut Changes, lease: Lease) {
    loop {
        match changes.next().await {
            None => std::future::pending().await,
            Some(change) if !change.concerns(lease.job) => {}
            Some(change) if matches!(change.what, What::CancelAsked | What::Unknown) => return,
            Some(_) => {}
        }
    }
}

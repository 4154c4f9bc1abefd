//! A store behind a network that delays, loses and cuts off, and the server behind that.
//!
//! What was sent arrives and is done even if whoever sent it is stopped or dead by then.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roothold_state::worker::Timer as _;
use roothold_state::{
    ChainHead, Changes, Claim, Claimed, Commit, Content, Counts, Directive, Expired, Job, JobId,
    JobPage, Lease, NewJob, Outcome, Part, Release, SqliteStore, StateError, StateStore, Whose,
};
use tokio::sync::oneshot;

use super::clockwork::{Chance, World};

/// The state of the network, which chaos changes.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Until when nobody reaches the store.
    pub(crate) out_until: Duration,
    /// In how many of a hundred cases an answer is lost.
    pub(crate) lost_percent: u64,
    /// How long a message takes at most.
    pub(crate) slow: Duration,
}

/// A defect to see whether it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// None.
    None,
    /// Every commit is taken as if it followed: no epoch, no offset.
    Careless,
}

#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) world: World,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) weather: Arc<Mutex<Weather>>,
    pub(crate) chance: Arc<Mutex<Chance>>,
    pub(crate) defect: Defect,
    /// Another store, whose wake-ups never come: then all is found by looking.
    pub(crate) mute: Option<Arc<SqliteStore>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the network is out")]
struct Out;

impl Faulty {
    /// How long this message takes, if it arrives.
    fn way(&self, may_be_lost: bool) -> Option<Duration> {
        let (weather, mut chance) = (self.weather.lock().unwrap(), self.chance.lock().unwrap());
        let delay = chance.upto(weather.slow);
        let lost = may_be_lost && chance.percent(weather.lost_percent);
        let out = self.world.now() < weather.out_until;
        (!lost && !out).then_some(delay)
    }

    async fn ask<R, F>(
        &self,
        work: impl FnOnce(Arc<SqliteStore>) -> F + Send,
    ) -> Result<R, StateError>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, StateError>> + Send + 'static,
    {
        let gone = || StateError::Unavailable(Box::new(Out));
        let Some(delay) = self.way(false) else {
            self.world.sleep(Duration::from_millis(10)).await;
            return Err(gone());
        };
        let (answer, answered) = oneshot::channel();
        let (at_server, network) = (work(Arc::clone(&self.store)), self.clone());
        self.world.spawn(async move {
            network.world.sleep(delay).await;
            let done = at_server.await;
            let back = network.way(true);
            network.world.sleep(back.unwrap_or_default()).await;
            if back.is_some() {
                let _ = answer.send(done);
            }
        });
        tokio::select! {
            biased;
            done = answered => done.unwrap_or_else(|_| Err(gone())),
            () = self.world.sleep(Duration::from_secs(3)) => Err(StateError::Timeout(Duration::from_secs(3))),
        }
    }
}

impl StateStore for Faulty {
    async fn submit(&self, job: NewJob) -> Result<(), StateError> {
        self.ask(|store| async move { store.submit(job).await }).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<Claimed>, StateError> {
        let worker = claim.worker.to_owned();
        let kinds: Vec<String> = claim.kinds.iter().map(ToString::to_string).collect();
        let lease = claim.lease;
        self.ask(move |store| async move {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            store.claim(Claim { worker: &worker, kinds: &kinds, lease }).await
        })
        .await
    }

    async fn heartbeat(&self, lease: Lease, extend: Duration) -> Result<Directive, StateError> {
        self.ask(move |store| async move { store.heartbeat(lease, extend).await }).await
    }

    async fn commit(
        &self,
        mut lease: Lease,
        mut commit: Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        let careless = self.defect == Defect::Careless;
        self.ask(move |store| async move {
            if careless {
                let job = store.get(lease.job, Whose::Anyone).await?;
                (lease.epoch, commit.from, commit.next) = (job.epoch, job.next, job.next + 1);
            }
            store.commit(lease, commit, extend).await
        })
        .await
    }

    async fn finish(&self, lease: Lease, outcome: Outcome) -> Result<(), StateError> {
        self.ask(move |store| async move { store.finish(lease, outcome).await }).await
    }

    async fn release(&self, lease: Lease, release: Release) -> Result<(), StateError> {
        self.ask(move |store| async move { store.release(lease, release).await }).await
    }

    async fn cancel(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        let owner = owned(whose);
        self.ask(move |store| async move { store.cancel(job, borrowed(owner.as_deref())).await })
            .await
    }

    async fn get(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        let owner = owned(whose);
        self.ask(move |store| async move { store.get(job, borrowed(owner.as_deref())).await }).await
    }

    async fn content(
        &self,
        job: JobId,
        whose: Whose<'_>,
        content: Content,
    ) -> Result<Option<Vec<u8>>, StateError> {
        self.store.content(job, whose, content).await
    }

    async fn parts(
        &self,
        job: JobId,
        whose: Whose<'_>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Part>, StateError> {
        self.store.parts(job, whose, from, limit).await
    }

    async fn list(
        &self,
        whose: Whose<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobPage, StateError> {
        self.store.list(whose, before, limit).await
    }

    async fn expire(&self) -> Result<Expired, StateError> {
        self.ask(|store| async move { store.expire().await }).await
    }

    async fn counts(&self) -> Result<Counts, StateError> {
        self.store.counts().await
    }

    async fn put_chain_head(&self, head: ChainHead) -> Result<(), StateError> {
        self.store.put_chain_head(head).await
    }

    async fn chain_heads(&self, replica: Option<&str>) -> Result<Vec<ChainHead>, StateError> {
        self.store.chain_heads(replica).await
    }

    fn changes(&self) -> Changes {
        self.mute.as_ref().unwrap_or(&self.store).changes()
    }

    async fn check(&self) -> Result<(), StateError> {
        self.store.check().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

fn owned(whose: Whose<'_>) -> Option<String> {
    match whose {
        Whose::Of(owner) => Some(owner.to_owned()),
        Whose::Anyone => None,
    }
}

fn borrowed(owner: Option<&str>) -> Whose<'_> {
    owner.map_or(Whose::Anyone, Whose::Of)
}

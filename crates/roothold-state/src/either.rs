//! The store that a configuration names, as one type.

use std::time::Duration;

use crate::change::Changes;
use crate::error::StateError;
use crate::head::ChainHead;
use crate::id::JobId;
use crate::job::{
    Claimed, Commit, Content, Counts, Directive, Expired, Job, JobPage, Lease, NewJob, Outcome,
    Part, Release, Whose,
};
use crate::pg::PgStore;
use crate::sqlite::SqliteStore;
use crate::store::{Claim, StateStore};

/// One of the two stores.
#[derive(Debug)]
pub enum Store {
    /// In one file.
    Sqlite(SqliteStore),
    /// In PostgreSQL.
    Postgres(PgStore),
}

macro_rules! either {
    ($self:ident, $store:ident => $ask:expr) => {
        match $self {
            Self::Sqlite($store) => $ask,
            Self::Postgres($store) => $ask,
        }
    };
}

impl StateStore for Store {
    async fn submit(&self, job: NewJob) -> Result<(), StateError> {
        either!(self, store => store.submit(job).await)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<Claimed>, StateError> {
        either!(self, store => store.claim(claim).await)
    }

    async fn heartbeat(&self, lease: Lease, extend: Duration) -> Result<Directive, StateError> {
        either!(self, store => store.heartbeat(lease, extend).await)
    }

    async fn commit(
        &self,
        lease: Lease,
        commit: Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        either!(self, store => store.commit(lease, commit, extend).await)
    }

    async fn finish(&self, lease: Lease, outcome: Outcome) -> Result<(), StateError> {
        either!(self, store => store.finish(lease, outcome).await)
    }

    async fn release(&self, lease: Lease, release: Release) -> Result<(), StateError> {
        either!(self, store => store.release(lease, release).await)
    }

    async fn cancel(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        either!(self, store => store.cancel(job, whose).await)
    }

    async fn get(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        either!(self, store => store.get(job, whose).await)
    }

    async fn content(
        &self,
        job: JobId,
        whose: Whose<'_>,
        content: Content,
    ) -> Result<Option<Vec<u8>>, StateError> {
        either!(self, store => store.content(job, whose, content).await)
    }

    async fn parts(
        &self,
        job: JobId,
        whose: Whose<'_>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Part>, StateError> {
        either!(self, store => store.parts(job, whose, from, limit).await)
    }

    async fn list(
        &self,
        whose: Whose<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobPage, StateError> {
        either!(self, store => store.list(whose, before, limit).await)
    }

    async fn expire(&self) -> Result<Expired, StateError> {
        either!(self, store => store.expire().await)
    }

    async fn counts(&self) -> Result<Counts, StateError> {
        either!(self, store => store.counts().await)
    }

    async fn put_chain_head(&self, head: ChainHead) -> Result<(), StateError> {
        either!(self, store => store.put_chain_head(head).await)
    }

    async fn chain_heads(&self, replica: Option<&str>) -> Result<Vec<ChainHead>, StateError> {
        either!(self, store => store.chain_heads(replica).await)
    }

    fn changes(&self) -> Changes {
        either!(self, store => store.changes())
    }

    async fn check(&self) -> Result<(), StateError> {
        either!(self, store => store.check().await)
    }

    async fn close(&self) {
        either!(self, store => store.close().await);
    }
}

//! What every state store can do. The contract suite in `tests/it/contract` says what it means.

use std::future::Future;
use std::time::Duration;

use crate::change::Changes;
use crate::error::StateError;
use crate::head::ChainHead;
use crate::id::JobId;
use crate::job::{
    Claimed, Commit, Content, Counts, Directive, Expired, Job, JobPage, Lease, NewJob, Outcome,
    Part, Release, Whose,
};

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who asks: a name for people, which gives no right.
    pub worker: &'a str,
    /// The kinds of work that it knows.
    pub kinds: &'a [&'a str],
    /// How long it may be silent before the job goes to somebody else.
    pub lease: Duration,
}

/// Durable jobs and heads of audit chains.
///
/// # Errors
/// Each operation fails with a [`StateError`]. When [`StateError::is_outage`], what was asked may
/// have been done; repeating the operation with the same arguments is safe, and never does it twice.
///
/// # Cancellation
/// An operation whose future is dropped is done as a whole or not at all.
pub trait StateStore: Send + Sync + 'static {
    /// Takes a job in. It is durable when this returns. An id that its owner submitted already
    /// changes nothing.
    fn submit(&self, job: NewJob) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The next job that `claim` may have, if there is one: of the owner with the fewest running
    /// jobs, among these of the one who was served longest ago, the oldest. Jobs that nobody can go on with are ended before.
    fn claim(
        &self,
        claim: Claim<'_>,
    ) -> impl Future<Output = Result<Option<Claimed>, StateError>> + Send;

    /// Makes the lease run from now, for `extend`, and says what to do.
    fn heartbeat(
        &self,
        lease: Lease,
        extend: Duration,
    ) -> impl Future<Output = Result<Directive, StateError>> + Send;

    /// Commits a chunk: checkpoint, progress and part of the result, together or not at all; the
    /// lease runs from now. It is refused unless `lease` is the newest and the chunk begins where
    /// the job stands.
    fn commit(
        &self,
        lease: Lease,
        commit: Commit,
        extend: Duration,
    ) -> impl Future<Output = Result<Directive, StateError>> + Send;

    /// Ends the job.
    fn finish(
        &self,
        lease: Lease,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Gives the job back.
    fn release(
        &self,
        lease: Lease,
        release: Release,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Wants a job to stop, and returns it as it is then: a job that nobody holds is cancelled at
    /// once, the holder of another is told, and one that has ended stays as it is.
    fn cancel(
        &self,
        job: JobId,
        whose: Whose<'_>,
    ) -> impl Future<Output = Result<Job, StateError>> + Send;

    /// The job as it is.
    fn get(
        &self,
        job: JobId,
        whose: Whose<'_>,
    ) -> impl Future<Output = Result<Job, StateError>> + Send;

    /// Some of a job's content, if it is there.
    fn content(
        &self,
        job: JobId,
        whose: Whose<'_>,
        content: Content,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StateError>> + Send;

    /// Parts of the result in order, from number `from` on: at most `limit`, and fewer when they are
    /// large, but at least one if there is one.
    fn parts(
        &self,
        job: JobId,
        whose: Whose<'_>,
        from: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Part>, StateError>> + Send;

    /// Jobs, newest first, from below the place `before` on.
    fn list(
        &self,
        whose: Whose<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Result<JobPage, StateError>> + Send;

    /// Ends what nobody can go on with, and deletes some of what was kept long enough; to be
    /// called again while it deletes.
    fn expire(&self) -> impl Future<Output = Result<Expired, StateError>> + Send;

    /// How many jobs there are, of everybody.
    fn counts(&self) -> impl Future<Output = Result<Counts, StateError>> + Send;

    /// Stores how far an audit chain has come.
    fn put_chain_head(
        &self,
        head: ChainHead,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The stored heads, of one replica or of all; the newest first, at most 1000.
    fn chain_heads(
        &self,
        replica: Option<&str>,
    ) -> impl Future<Output = Result<Vec<ChainHead>, StateError>> + Send;

    /// Wake-ups from now on.
    fn changes(&self) -> Changes;

    /// Whether the store answers.
    fn check(&self) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Flushes and closes. What comes later fails with [`StateError::Closed`].
    fn close(&self) -> impl Future<Output = ()> + Send;
}

//! What a worker needs to know of the work: how to begin or go on, and how to do one chunk.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use roothold_core::{Fault, FaultKind};
use tokio_util::sync::CancellationToken;

use crate::job::{Claimed, Commit, Progress};

/// A kind of work.
///
/// # Errors
/// A fault of kind `Busy` or `Unavailable` may pass: the job is given back and tried again later,
/// as often as it may be claimed without a chunk. Any other fault ends it, and so does a panic.
pub trait Work: Send + Sync + 'static {
    /// Work that has begun.
    type Running: Running;

    /// Begins, or goes on from the checkpoint. Policy is to be decided anew: it may have changed since the job was
    /// submitted.
    ///
    /// # Cancellation
    /// As for [`Running::step`].
    fn open(
        &self,
        claimed: &Claimed,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<Self::Running, Fault>> + Send;
}

/// Work that has begun.
pub trait Running: Send {
    /// Does the next chunk. It must not block its thread, on which the lease is kept.
    ///
    /// # Cancellation
    /// `cancel` tells it to stop, within 200 ms. If it does not, the future is dropped; then it
    /// must leave nothing running. Either way what it did since its last chunk does not count.
    fn step(
        &mut self,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<Step, Fault>> + Send;
}

/// What a step gave.
#[derive(Debug, Clone)]
pub enum Step {
    /// A chunk, to be committed before the next step.
    Chunk(Chunk),
    /// All chunks are done; this is the result.
    Done(Vec<u8>),
}

/// A chunk that was worked through: see [`Commit`].
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// The offset at which the next chunk begins; larger than that of the last.
    pub next: u64,
    /// What all chunks so far were folded into.
    pub state: Vec<u8>,
    /// How far the work has come.
    pub progress: Progress,
    /// One line about it.
    pub message: Option<String>,
    /// The result so far, if it is to replace the one before.
    pub partial: Option<Vec<u8>>,
    /// What it adds to the result, if it does.
    pub part: Option<Vec<u8>>,
}

impl Chunk {
    pub(super) fn after(self, from: u64) -> Commit {
        let Self { next, state, progress, message, partial, part } = self;
        Commit { from, next, state, progress, message, partial, part }
    }
}

/// Opens the work; a panic is a fault.
pub(super) async fn opened<W: Work>(
    work: &W,
    claimed: &Claimed,
    cancel: &CancellationToken,
) -> Result<W::Running, Fault> {
    // The call itself may panic, before there is a future.
    catching(async { work.open(claimed, cancel).await }).await
}

/// Runs work so that its panic ends the job and not the worker.
pub(super) async fn catching<R>(work: impl Future<Output = Result<R, Fault>>) -> Result<R, Fault> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // Safe to unwind through: what panicked is never polled again.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(panicked())),
        }
    })
    .await
}

fn panicked() -> Fault {
    let text = "the work met an unexpected condition and was ended; the server's log has the cause";
    Fault::new(FaultKind::Internal, text)
}

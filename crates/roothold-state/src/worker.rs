//! What runs jobs: it claims one, works through its chunks, commits each, and ends it.
//!
//! One [`Worker::run`] is one slot: a future that holds at most one job. Whoever wants several at
//! once runs several. Nothing is spawned here.
//!
//! While a chunk is worked on, the lease is kept by heartbeats, a wake-up or a heartbeat brings
//! the owner's wish to stop, and a lease that ran out by this machine's clock ends the work: whoever
//! was stopped for longer than its lease works on for nobody. That the store refuses its commit is
//! what correctness rests on; that it stops early only saves work.
//!
//! **Invariant**: a chunk is begun only when the one before it is committed.

mod guard;
mod timer;
mod work;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::{Fault, FaultKind};
use tokio_util::sync::CancellationToken;

use self::guard::{Guard, Stop};
pub use self::timer::{Timer, TokioTimer};
pub use self::work::{Chunk, Running, Step, Work};
use self::work::{catching, opened};
use crate::change::{Changes, What};
use crate::error::{OpenError, StateError};
use crate::job::{Claimed, Commit, Directive, Failure, JobState, Lease, Outcome, Release};
use crate::limits::{DEADLINE_TEXT, LEASE_MAX, check_kinds, check_lease};
use crate::store::{Claim, StateStore};

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Its name, for people.
    pub name: String,
    /// The kinds of work that it knows.
    pub kinds: Vec<&'static str>,
    /// How long it may be silent before its job goes to somebody else; it is heard from three times as often.
    pub lease: Duration,
    /// How often it looks for work when nothing wakes it: this is also how soon a dead worker's
    /// job goes on once its lease is over.
    pub poll: Duration,
    /// How long a chunk may go on once the worker is to stop; then it is done anew elsewhere.
    pub drain_grace: Duration,
    /// How long a cancelled chunk has to stop by itself; then it is dropped.
    pub cancel_grace: Duration,
    /// How long after a fault that may pass a job is tried again; longer with each attempt.
    pub retry_after: Duration,
}

impl WorkerOptions {
    /// Refuses what no store would take a claim with.
    ///
    /// # Errors
    /// [`OpenError`] names the option.
    pub fn check(&self) -> Result<(), OpenError> {
        if let Err(error) =
            check_lease(&self.name, self.lease).and_then(|()| check_kinds(self.kinds.len()))
        {
            return Err(OpenError::Options(format!("the worker of jobs: {error}")));
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // A lease that is shorter than a slow answer of the store is lost all the time.
        let bounds = [
            ("lease_ms", millis(self.lease), 1_000, millis(LEASE_MAX)),
            ("poll_ms", millis(self.poll), 10, 60_000),
            ("drain_grace_ms", millis(self.drain_grace), 0, 600_000),
            ("cancel_grace_ms", millis(self.cancel_grace), 0, millis(self.lease) / 3),
            ("retry_after_ms", millis(self.retry_after), 0, millis(LEASE_MAX)),
        ];
        for (name, is, min, max) in bounds {
            if is < min || is > max {
                return Err(OpenError::Limit { name, min, max, is });
            }
        }
        Ok(())
    }
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            kinds: Vec::new(),
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(2),
            drain_grace: Duration::from_secs(5),
            cancel_grace: Duration::from_secs(2),
            retry_after: Duration::from_secs(5),
        }
    }
}

/// Something that happened to a worker, for logs and metrics.
#[derive(Debug, Clone, Copy)]
pub enum WorkerEvent<'a> {
    /// It has a job.
    Claimed(&'a Claimed),
    /// A chunk is committed.
    Committed(Lease),
    /// A job ended.
    Ended(Lease, JobState),
    /// A job was given back: the worker is to stop, or the work could not be done just now.
    Released(Lease, Release),
    /// The lease was lost; the work was dropped.
    Lost(Lease),
    /// The store did not answer; it is tried again while the lease lasts.
    Outage(&'a StateError),
}

type Observer = Arc<dyn Fn(WorkerEvent<'_>) + Send + Sync>;

/// One slot in which jobs run.
pub struct Worker<S, W, T = TokioTimer> {
    store: Arc<S>,
    work: Arc<W>,
    timer: T,
    options: WorkerOptions,
    observer: Option<Observer>,
}

impl<S, W, T> fmt::Debug for Worker<S, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S: StateStore, W: Work> Worker<S, W> {
    /// A slot for `work` from `store`.
    pub fn new(store: Arc<S>, work: Arc<W>, options: WorkerOptions) -> Self {
        Self::with_timer(store, work, options, TokioTimer::default())
    }
}

/// What became of a step.
enum Ran<R> {
    Ended(R),
    Stopped(Stop),
}

impl<S: StateStore, W: Work, T: Timer> Worker<S, W, T> {
    /// The same under another timer than Tokio's.
    pub fn with_timer(store: Arc<S>, work: Arc<W>, options: WorkerOptions, timer: T) -> Self {
        Self { store, work, timer, options, observer: None }
    }

    /// Tells `observer` what happens. It must not block.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(WorkerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Runs jobs until `drain` is cancelled and what was begun is committed and given back, or the
    /// store is closed.
    ///
    /// # Cancellation
    /// When the future is dropped, its job goes on elsewhere once its lease is over.
    pub async fn run(&self, drain: CancellationToken) {
        let mut changes = self.store.changes();
        let mut outages = 0;
        while !drain.is_cancelled() {
            let asked = self.timer.now();
            let (kinds, lease) = (&self.options.kinds, self.options.lease);
            let claim = Claim { worker: &self.options.name, kinds, lease };
            let pause = match self.store.claim(claim).await {
                Ok(Some(claimed)) => {
                    outages = 0;
                    self.tell(WorkerEvent::Claimed(&claimed));
                    self.hold(&claimed, asked, &mut changes, &drain).await;
                    continue;
                }
                Ok(None) => self.options.poll,
                Err(StateError::Closed) => return,
                Err(error) => {
                    self.tell(WorkerEvent::Outage(&error));
                    outages += 1;
                    self.options.poll.min(Duration::from_millis(100 << outages.min(6)))
                }
            };
            tokio::select! {
                biased;
                () = drain.cancelled() => return,
                () = self.timer.sleep(pause) => {}
                () = work_may_wait(&mut changes), if outages == 0 => {}
            }
        }
    }

    /// Works on one job, until it has ended or somebody else is to go on with it.
    async fn hold(
        &self,
        claimed: &Claimed,
        asked: Duration,
        changes: &mut Changes,
        drain: &CancellationToken,
    ) {
        let guard = Guard::new(&*self.store, &self.timer, claimed.lease, self.options.lease, asked);
        let mut held = Held {
            worker: self,
            guard,
            changes,
            drain,
            cancel: CancellationToken::new(),
            attempts: claimed.attempts,
        };
        match held.work_on(claimed).await {
            Ok(()) | Err(StateError::Closed) => {}
            Err(StateError::Fenced) => self.tell(WorkerEvent::Lost(claimed.lease)),
            Err(error) => {
                tracing::error!(job = %claimed.lease.job, error = &error as &dyn std::error::Error, "a job could not be ended");
                self.tell(WorkerEvent::Lost(claimed.lease));
            }
        }
    }

    fn tell(&self, event: WorkerEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

/// A job that is worked on.
struct Held<'a, S, W, T> {
    worker: &'a Worker<S, W, T>,
    guard: Guard<'a, S, T>,
    changes: &'a mut Changes,
    drain: &'a CancellationToken,
    /// Tells the work to stop.
    cancel: CancellationToken,
    /// How often the job was claimed for the chunk that it is at.
    attempts: u32,
}

impl<S: StateStore, W: Work, T: Timer> Held<'_, S, W, T> {
    /// `Err` when the lease is lost, or the end could not be stored while it lasted.
    async fn work_on(&mut self, claimed: &Claimed) -> Result<(), StateError> {
        let cancel = self.cancel.clone();
        let work = Arc::clone(&self.worker.work);
        let mut running = match self.under_watch(opened(&*work, claimed, &cancel)).await? {
            Ran::Ended(Ok(running)) => running,
            Ran::Ended(Err(fault)) => return self.fail(claimed, &fault).await,
            Ran::Stopped(stop) => return self.stop(stop).await,
        };
        let mut from = claimed.checkpoint.as_ref().map_or(0, |at| at.next);
        loop {
            let step = match self.under_watch(catching(running.step(&cancel))).await? {
                Ran::Ended(Ok(step)) => step,
                Ran::Ended(Err(fault)) => return self.fail(claimed, &fault).await,
                Ran::Stopped(stop) => return self.stop(stop).await,
            };
            let chunk = match step {
                Step::Done(result) => return self.finish(Outcome::Completed(result)).await,
                Step::Chunk(chunk) => chunk,
            };
            let commit = chunk.after(from);
            from = commit.next;
            if let Some(stop) = self.commit(commit).await? {
                return self.stop(stop).await;
            }
            if self.drain.is_cancelled() {
                return self.stop(Stop::Drain).await;
            }
        }
    }

    /// Runs a step while the lease is kept. `Err` when the lease is lost; the step is dropped.
    async fn under_watch<R>(
        &mut self,
        work: impl Future<Output = R>,
    ) -> Result<Ran<R>, StateError> {
        let (timer, options) = (&self.worker.timer, &self.worker.options);
        let mut work = pin!(work);
        let drained = async {
            self.drain.cancelled().await;
            timer.sleep(options.drain_grace).await;
        };
        let stop = tokio::select! {
            biased;
            ended = &mut work => return Ok(Ran::Ended(ended)),
            stop = self.guard.keep(self.changes) => stop,
            () = drained => Stop::Drain,
        };
        self.cancel.cancel();
        if stop == Stop::Lost {
            return Err(StateError::Fenced);
        }
        tokio::select! {
            biased;
            _ = &mut work => {}
            () = timer.sleep(options.cancel_grace) => {}
        }
        Ok(Ran::Stopped(stop))
    }

    /// Commits, and says whether to stop.
    async fn commit(&mut self, commit: Commit) -> Result<Option<Stop>, StateError> {
        match self.guard.commit(commit, |error| self.worker.tell(WorkerEvent::Outage(error))).await
        {
            Ok(directive) => {
                self.attempts = 1;
                self.worker.tell(WorkerEvent::Committed(self.guard.lease()));
                Ok(match directive {
                    Directive::Go => None,
                    Directive::Cancel => Some(Stop::Cancel),
                    Directive::Expire => Some(Stop::Expire),
                })
            }
            Err(StateError::TooLarge { what, bytes, limit }) => {
                Ok(Some(Stop::TooLarge { what, bytes, limit }))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the job, or gives it back.
    async fn stop(&mut self, stop: Stop) -> Result<(), StateError> {
        let failed = |kind, text: String| Outcome::Failed(Failure { kind, public: text });
        match stop {
            Stop::Lost => Err(StateError::Fenced),
            Stop::Drain => self.release(Release::Drained).await,
            Stop::Cancel => self.finish(Outcome::Cancelled).await,
            Stop::Expire => self.finish(failed(FaultKind::Timeout, DEADLINE_TEXT.to_owned())).await,
            Stop::TooLarge { what, bytes, limit } => {
                let error = StateError::TooLarge { what, bytes, limit };
                let text = format!("{error}; ask for less, or in smaller pieces");
                self.finish(failed(FaultKind::Limit, text)).await
            }
        }
    }

    async fn fail(&mut self, claimed: &Claimed, fault: &Fault) -> Result<(), StateError> {
        if let Some(cause) = std::error::Error::source(fault) {
            tracing::warn!(job = %claimed.lease.job, kind = fault.kind().code(), cause, "a job met a fault");
        }
        let may_pass = matches!(fault.kind(), FaultKind::Busy | FaultKind::Unavailable);
        // The last attempt's fault says more than that there were so many.
        if may_pass && self.attempts < claimed.attempts_max {
            let after = self.worker.options.retry_after * self.attempts.clamp(1, 60);
            return self.release(Release::RetryAfter(after)).await;
        }
        let failure = Failure { kind: fault.kind(), public: fault.public().to_owned() };
        self.finish(Outcome::Failed(failure)).await
    }

    async fn finish(&mut self, outcome: Outcome) -> Result<(), StateError> {
        let told = |error: &StateError| self.worker.tell(WorkerEvent::Outage(error));
        match self.guard.finish(&outcome, told).await {
            Ok(()) => {
                self.worker.tell(WorkerEvent::Ended(self.guard.lease(), outcome.state()));
                Ok(())
            }
            Err(StateError::TooLarge { what, bytes, limit }) => {
                Box::pin(self.stop(Stop::TooLarge { what, bytes, limit })).await
            }
            Err(error) => Err(error),
        }
    }

    async fn release(&mut self, release: Release) -> Result<(), StateError> {
        self.guard.release(release, |error| self.worker.tell(WorkerEvent::Outage(error))).await?;
        self.worker.tell(WorkerEvent::Released(self.guard.lease(), release));
        Ok(())
    }
}

/// Waits until there may be work, or a place for it.
async fn work_may_wait(changes: &mut Changes) {
    loop {
        match changes.next().await.map(|change| change.what) {
            Some(What::Queued | What::Ended | What::Unknown) => return,
            Some(What::Progress | What::CancelAsked) => {}
            None => std::future::pending().await,
        }
    }
}

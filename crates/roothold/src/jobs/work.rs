//! The workers: each claims a job, makes its call once more, and commits chunk by chunk.
//!
//! The call runs in a task of its own, through [`Engine::call`], and does a step when the worker asks
//! for one. **Invariant**: whatever becomes of the worker, the call is cancelled when it leaves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::{Fault, FaultKind};
use roothold_state::worker::{self, Running, Step, Work, Worker, WorkerEvent, WorkerOptions};
use roothold_state::{Claimed, JobId, Lease, Progress, Release, StateStore as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::events::{ChunkDone, JobFinished, JobStarted, StoreFailed};
use super::{Input, JobMetrics, Store, cut};
use crate::call::{CallError, CallRequest, Dialogue, Engine, panicked};
use crate::long::{AsJob, JobEnd, JobLink, Resume, Stepped, Wanted, no_jobs};
use crate::tool::Answer;
use crate::wire;

/// The method by which runs of jobs are counted.
const METHOD: &str = "jobs/run";
/// How often the first worker looks for a job when nothing wakes it: another process has put one
/// into the file, or its lease is over.
const POLL: Duration = Duration::from_secs(2);
/// How often the others do: while the first is idle, they find nothing that it does not.
const POLL_BESIDE: Duration = Duration::from_secs(10);
/// How often what was kept long enough is deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked how many jobs there are.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How long a step may go on to its end once the server stops: the chunk then need not be done again.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// One slot for jobs, until `drain`.
pub(super) fn worker(
    engine: &Arc<Engine>,
    store: Arc<Store>,
    slot: usize,
    drain: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let kinds = engine.catalog.iter().filter(|entry| entry.tool.as_job() != AsJob::Never);
    let kinds: Vec<&'static str> = kinds.map(|entry| entry.tool.name()).collect();
    let jobs = engine.jobs.as_ref();
    let options = WorkerOptions {
        name: name(engine, slot),
        kinds: kinds.clone(),
        lease: jobs.map_or(POLL, |jobs| jobs.settings().lease()),
        poll: if slot == 0 { POLL } else { POLL_BESIDE },
        drain_grace: DRAIN_GRACE,
        ..WorkerOptions::default()
    };
    let held = Held::default();
    let calls = Calls { engine: Arc::clone(engine), held: held.clone() };
    let worker = Worker::new(store, Arc::new(calls), options);
    let metrics = jobs.map_or_else(JobMetrics::new, |jobs| jobs.metrics.clone());
    let told = Mutex::new(Told { kinds, metrics, holds: None, held });
    let worker = worker.observed(move |event| {
        told.lock().unwrap_or_else(PoisonError::into_inner).event(event);
    });
    async move { worker.run(drain).await }
}

/// The end of the job that a worker holds.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Option<Arc<JobEnd>>>>);

impl Held {
    fn set(&self, end: Option<Arc<JobEnd>>) -> Option<Arc<JobEnd>> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), end)
    }
}

/// Makes events of what a worker tells.
struct Told {
    kinds: Vec<&'static str>,
    metrics: JobMetrics,
    /// The tool of the job that it holds, and since when.
    holds: Option<(&'static str, Instant)>,
    held: Held,
}

impl Told {
    fn event(&mut self, event: WorkerEvent<'_>) {
        match event {
            WorkerEvent::Claimed(claimed) => self.claimed(claimed),
            WorkerEvent::Committed(lease) => {
                if let Some((tool, _)) = self.holds {
                    ChunkDone { job: lease.job, tool }.emit(&self.metrics);
                }
            }
            WorkerEvent::Ended(lease, state) => {
                if let Some(end) = self.held.set(None) {
                    end.reached();
                }
                self.ended(lease, state.as_str());
            }
            WorkerEvent::Released(lease, Release::Drained) => self.ended(lease, "released"),
            WorkerEvent::Released(lease, Release::RetryAfter(_)) => self.ended(lease, "put_off"),
            WorkerEvent::Lost(lease) => self.ended(lease, "lost"),
            WorkerEvent::Outage(error) => {
                StoreFailed { during: "work", error }.emit(&self.metrics);
            }
        }
    }

    fn claimed(&mut self, claimed: &Claimed) {
        let tool = self.kinds.iter().find(|kind| **kind == claimed.kind).copied();
        let (tool, job) = (tool.unwrap_or("other"), claimed.lease.job);
        let next = claimed.checkpoint.as_ref().map_or(0, |at| at.next);
        self.holds = Some((tool, Instant::now()));
        JobStarted { job, tool, next, attempts: claimed.attempts }.emit(&self.metrics);
    }

    fn ended(&mut self, lease: Lease, outcome: &'static str) {
        self.held.set(None);
        if let Some((tool, since)) = self.holds.take() {
            let (job, duration) = (lease.job, since.elapsed());
            JobFinished { job, tool, outcome, duration }.emit(&self.metrics);
        }
    }
}

/// The name of a worker: the replica, this boot of it by the name of its audit log, which tells what
/// the worker did, and the slot.
fn name(engine: &Engine, slot: usize) -> String {
    let log = engine.audit.current();
    let boot = log.as_ref().ok().and_then(|log| log.path().file_stem());
    let boot = boot.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let replica = engine.jobs.as_ref().map_or("", |jobs| jobs.replica.as_str());
    worker_name(replica, &boot, slot)
}

fn worker_name(replica: &str, boot: &str, slot: usize) -> String {
    let rest = format!("/{boot}/{slot}");
    cut(replica.to_owned(), WORKER_BYTES_MAX.saturating_sub(rest.len())) + &rest
}

/// Deletes what was kept long enough, and ends what nobody can go on with, until `drain`.
pub(super) async fn sweep(store: Arc<Store>, metrics: JobMetrics, drain: CancellationToken) {
    loop {
        match store.expire().await {
            Ok(expired) if expired.deleted > 0 => continue,
            Ok(_) => {}
            Err(error) => StoreFailed { during: "expire", error: &error }.emit(&metrics),
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = drain.cancelled() => return,
        }
    }
}

/// Looks how many jobs there are, for the metrics, until `drain`.
pub(super) async fn count(store: Arc<Store>, metrics: JobMetrics, drain: CancellationToken) {
    loop {
        match store.counts().await {
            Ok(counts) => metrics.stored(&counts),
            Err(error) => StoreFailed { during: "counts", error: &error }.emit(&metrics),
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT_EVERY) => {}
            () = drain.cancelled() => return,
        }
    }
}

/// Makes calls of jobs.
struct Calls {
    engine: Arc<Engine>,
    held: Held,
}

impl Work for Calls {
    type Running = Run;

    async fn open(&self, claimed: &Claimed, _: &CancellationToken) -> Result<Run, Fault> {
        let entry = self.engine.catalog.get(&claimed.kind);
        let entry = entry.ok_or_else(|| Fault::internal("a job of an unknown tool"))?;
        let input: Input = serde_json::from_slice(&claimed.input).map_err(Fault::internal)?;
        let checkpoint = claimed.checkpoint.as_ref();
        let resume = checkpoint.map(|at| Resume { next: at.next, state: at.state.clone() });
        let (steps, wanted) = mpsc::channel(1);
        let tasks = self.engine.jobs.as_ref().ok_or_else(no_jobs)?.workers.clone();
        let end = JobEnd::new(tasks);
        self.held.set(Some(Arc::clone(&end)));
        let link = Arc::new(JobLink::new(resume, wanted, claimed.remaining, end));
        let cancel = CancellationToken::new();
        let of = (claimed.lease.job, entry.tool.name(), claimed.owner.as_str());
        let call = call(&self.engine, of, input, link, &cancel)?;
        Ok(Run { call, steps, _cancel: cancel.drop_guard() })
    }
}

/// Begins the call of a job, in a task of its own: a worker that leaves it has it cancelled, and the
/// call then ends in its own way, with its outcome.
fn call(
    engine: &Arc<Engine>,
    (job, tool, owner): (JobId, &'static str, &str),
    input: Input,
    link: Arc<JobLink>,
    cancel: &CancellationToken,
) -> Result<JoinHandle<Result<Answer, CallError>>, Fault> {
    let tracker = engine.jobs.as_ref().ok_or_else(no_jobs)?.workers.clone();
    let (engine, cancel) = (Arc::clone(engine), cancel.clone());
    let (principal, trace) = (input.principal(owner), input.trace(job));
    Ok(tracker.spawn(async move {
        let request = CallRequest {
            principal: &principal,
            request_id: job.to_string().into(),
            method: METHOD,
            tool,
            arguments: input.arguments,
            cancel: &cancel,
            progress: None,
            takes_tasks: false,
            dialogue: Dialogue::default(),
            within: None,
            job: Some(link),
            trace,
        };
        engine.call(request).await
    }))
}

/// A call of a job that is running.
struct Run {
    call: JoinHandle<Result<Answer, CallError>>,
    steps: mpsc::Sender<Wanted>,
    /// Ends the call when the worker leaves it.
    _cancel: DropGuard,
}

impl Running for Run {
    async fn step(&mut self, cancel: &CancellationToken) -> Result<Step, Fault> {
        let (wanted, stepped) = oneshot::channel();
        // A call that has ended takes no more: what it ended with is found below.
        let _ = self.steps.send(wanted).await;
        let stepped = tokio::select! {
            stepped = stepped => stepped.ok(),
            () = cancel.cancelled() => {
                return Err(Fault::new(FaultKind::Cancelled, "the worker was told to stop"));
            }
        };
        match stepped {
            Some(stepped) => step(stepped),
            None => self.ended().await,
        }
    }
}

impl Run {
    /// What the call ended with.
    async fn ended(&mut self) -> Result<Step, Fault> {
        match (&mut self.call).await.map_err(Fault::internal)? {
            Ok(answer) => serde_json::to_vec(&wire::tool_result(answer, None))
                .map(Step::Done)
                .map_err(Fault::internal),
            Err(CallError::Fault(fault)) => Err(fault),
            Err(CallError::Panicked) => Err(panicked()),
            Err(CallError::UnknownTool | CallError::NeedsTasks) => {
                Err(Fault::internal("a job of an unknown tool"))
            }
        }
    }
}

/// A step as the store takes it.
fn step(stepped: Stepped) -> Result<Step, Fault> {
    let Stepped { chunk, state, partial } = stepped;
    let part = chunk.part.as_ref().map(serde_json::to_vec).transpose().map_err(Fault::internal)?;
    Ok(Step::Chunk(worker::Chunk {
        next: chunk.next,
        state,
        progress: Progress {
            bytes_done: chunk.bytes_done,
            bytes_total: chunk.bytes_total,
            rows: chunk.rows,
        },
        message: Some(cut(chunk.message, MESSAGE_BYTES_MAX)),
        partial,
        part,
    }))
}

/// The most bytes of a message that the store keeps.
const MESSAGE_BYTES_MAX: usize = 1024;
/// The most bytes of the name of a worker.
const WORKER_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_by_its_replica_whatever_that_is_called() {
        assert_eq!(worker_name("rb", "audit-1", 0), "rb/audit-1/0");
        let long = worker_name(&"é".repeat(300), "audit-1", 12);
        assert!(long.len() <= WORKER_BYTES_MAX && long.ends_with("é/audit-1/12"), "{long}");
    }
}

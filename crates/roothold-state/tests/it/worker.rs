//! The worker in virtual time, one behaviour at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roothold_core::{Fault, FaultKind};
use roothold_state::worker::{Chunk, Running, Step, Timer as _, Work, Worker, WorkerOptions};
use roothold_state::{
    Claimed, Content, Job, JobId, JobState, Limits, NewJob, SqliteStore, StateStore as _, Whose,
};
use tokio_util::sync::CancellationToken;

use crate::contract::new_job;
use crate::sim::clockwork::{Chance, Process, Signals, World};

/// What one step does.
#[derive(Clone)]
enum Act {
    /// Takes so many milliseconds, and is a chunk.
    Chunk(u64),
    /// The same, and does not hear that it is to stop.
    DeafChunk(u64),
    /// A part of so many bytes.
    Part(usize),
    Done,
    Fails(FaultKind),
    Panics,
    /// Never ends, and does not hear that it is to stop.
    Hangs,
}

#[derive(Clone, Default)]
struct Script {
    world: World,
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// Where the work was opened.
    opened: Arc<Mutex<Vec<u64>>>,
    /// Whether running work heard that it is to stop.
    heard: Arc<AtomicBool>,
}

struct Acting {
    script: Script,
    next: u64,
}

impl Work for Script {
    type Running = Acting;

    async fn open(&self, claimed: &Claimed, _: &CancellationToken) -> Result<Acting, Fault> {
        let next = claimed.checkpoint.as_ref().map_or(0, |at| at.next);
        self.opened.lock().unwrap().push(next);
        Ok(Acting { script: self.clone(), next })
    }
}

impl Running for Acting {
    async fn step(&mut self, cancel: &CancellationToken) -> Result<Step, Fault> {
        let act = self.script.acts.lock().unwrap().pop_front().unwrap_or(Act::Done);
        let world = self.script.world.clone();
        let mut part = Vec::new();
        match act {
            Act::Chunk(millis) => tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    self.script.heard.store(true, Ordering::Relaxed);
                    return Err(Fault::new(FaultKind::Cancelled, "stopped"));
                }
                () = world.sleep(Duration::from_millis(millis)) => {}
            },
            Act::DeafChunk(millis) => world.sleep(Duration::from_millis(millis)).await,
            Act::Part(bytes) => part = vec![b'x'; bytes],
            Act::Done => return Ok(Step::Done(self.next.to_string().into_bytes())),
            Act::Fails(kind) => return Err(Fault::new(kind, "it went wrong")),
            Act::Panics => panic!("a defect of the work"),
            Act::Hangs => std::future::pending::<()>().await,
        }
        self.next += 1;
        Ok(Step::Chunk(Chunk { next: self.next, part: Some(part), ..Chunk::default() }))
    }
}

struct Stage {
    world: World,
    store: Arc<SqliteStore>,
    script: Script,
    job: JobId,
}

impl Stage {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::of(new_job("ann"), acts)
    }

    fn of(job: NewJob, acts: impl IntoIterator<Item = Act>) -> Self {
        let world = World::default();
        let limits = Limits { part_bytes_max: 100, ..Limits::default() };
        let store = SqliteStore::in_memory(limits, Arc::new(world.clone())).unwrap();
        let acts = Arc::new(Mutex::new(acts.into_iter().collect()));
        let script = Script { world: world.clone(), acts, ..Script::default() };
        let stage = Self { world, store: Arc::new(store), script, job: job.id };
        let submitting = Arc::clone(&stage.store);
        stage.play(Duration::ZERO, async move { submitting.submit(job).await.unwrap() });
        stage
    }

    fn worker(&self) -> Worker<SqliteStore, Script, World> {
        let options = WorkerOptions {
            kinds: vec!["count"],
            lease: Duration::from_secs(15),
            ..WorkerOptions::default()
        };
        let (store, script) = (Arc::clone(&self.store), Arc::new(self.script.clone()));
        Worker::with_timer(store, script, options, self.world.clone())
    }

    /// Starts a worker; the token drains it, the signals treat its process.
    fn start(&self) -> (CancellationToken, Signals, Arc<AtomicBool>) {
        let (drain, signals, ended) =
            (CancellationToken::new(), Signals::default(), Arc::new(AtomicBool::new(false)));
        let (worker, token, flag) = (self.worker(), drain.clone(), Arc::clone(&ended));
        let process = Process::new(signals.clone(), async move { worker.run(token).await });
        self.world.spawn(async move {
            process.await;
            flag.store(true, Ordering::Relaxed);
        });
        (drain, signals, ended)
    }

    /// Lets so much time pass, then does `what`.
    fn play<R: Send + 'static>(
        &self,
        after: Duration,
        what: impl Future<Output = R> + Send + 'static,
    ) -> R {
        let (world, got) = (self.world.clone(), Arc::new(Mutex::new(None)));
        let (put, at) = (Arc::clone(&got), self.world.now() + after);
        self.world.spawn(async move {
            world.sleep_until(at).await;
            let answer = what.await;
            *put.lock().unwrap() = Some(answer);
        });
        let done = || got.lock().unwrap().is_some();
        assert!(self.world.run(&mut Chance::new(1), at + Duration::from_hours(1), done));
        got.lock().unwrap().take().unwrap()
    }

    fn after(&self, millis: u64) -> Job {
        let (store, job) = (Arc::clone(&self.store), self.job);
        let get = async move { store.get(job, Whose::Anyone).await.unwrap() };
        self.play(Duration::from_millis(millis), get)
    }

    fn cancel(&self) {
        let (store, job) = (Arc::clone(&self.store), self.job);
        self.play(
            Duration::ZERO,
            async move { store.cancel(job, Whose::Of("ann")).await.unwrap() },
        );
    }

    fn result(&self) -> Option<Vec<u8>> {
        let (store, job) = (Arc::clone(&self.store), self.job);
        let read = async move { store.content(job, Whose::Anyone, Content::Result).await.unwrap() };
        self.play(Duration::ZERO, read)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.world.end();
    }
}

#[test]
fn a_job_is_worked_through_and_kept_however_long_a_chunk_takes() {
    let stage = Stage::new([Act::Chunk(10), Act::Chunk(100_000), Act::Chunk(10)]);
    stage.start();
    stage.start();
    let job = stage.after(50_000);
    assert_eq!((job.state, job.chunks, job.epoch), (JobState::Running, 1, 1));
    let job = stage.after(60_000);
    assert_eq!((job.state, job.chunks, job.epoch), (JobState::Completed, 3, 1));
    assert_eq!(stage.result().unwrap(), b"3");
    assert_eq!(*stage.script.opened.lock().unwrap(), [0]);
}

#[test]
fn a_cancelled_chunk_is_told_at_once() {
    let stage = Stage::new([Act::Chunk(1000), Act::Chunk(1_000_000)]);
    stage.start();
    assert_eq!(stage.after(5_000).chunks, 1);
    stage.cancel();
    let job = stage.after(200);
    assert_eq!((job.state, job.chunks), (JobState::Cancelled, 1));
    assert!(stage.script.heard.load(Ordering::Relaxed));
}

#[test]
fn work_that_does_not_hear_is_dropped() {
    for act in [Act::Hangs, Act::DeafChunk(1_000_000)] {
        let stage = Stage::new([act]);
        stage.start();
        assert_eq!(stage.after(40_000).state, JobState::Running);
        stage.cancel();
        let job = stage.after(2_500);
        assert_eq!((job.state, job.chunks), (JobState::Cancelled, 0));
    }
}

#[test]
fn a_deadline_ends_work_that_never_would() {
    let job = NewJob { deadline: Duration::from_mins(1), ..new_job("ann") };
    let stage = Stage::of(job, [Act::Chunk(10), Act::Hangs]);
    stage.start();
    assert_eq!(stage.after(59_000).state, JobState::Running);
    let job = stage.after(10_000);
    assert_eq!((job.state, job.failure.unwrap().kind), (JobState::Failed, FaultKind::Timeout));
    assert_eq!(job.chunks, 1);
}

#[test]
fn a_fault_ends_the_job_and_a_panic_is_one() {
    let cases = [
        (Act::Fails(FaultKind::Invalid), FaultKind::Invalid, "it went wrong"),
        (Act::Fails(FaultKind::Denied), FaultKind::Denied, "it went wrong"),
        (Act::Panics, FaultKind::Internal, "unexpected condition"),
        (Act::Part(101), FaultKind::Limit, "101 bytes"),
    ];
    for (act, kind, says) in cases {
        let stage = Stage::new([Act::Part(100), act]);
        let (_, _, ended) = stage.start();
        let job = stage.after(1_000);
        let failure = job.failure.unwrap();
        assert_eq!((job.state, failure.kind), (JobState::Failed, kind));
        assert!(failure.public.contains(says), "{failure:?}");
        assert!(!ended.load(Ordering::Relaxed), "the worker goes on");
    }
}

#[test]
fn what_may_pass_is_tried_again_from_the_last_chunk_and_not_for_ever() {
    let busy = || Act::Fails(FaultKind::Busy);
    let stage =
        Stage::new([Act::Chunk(10), busy(), Act::Chunk(10), busy(), busy(), Act::Chunk(10)]);
    stage.start();
    let job = stage.after(3_000);
    assert_eq!((job.state, job.chunks), (JobState::Queued, 1));
    let job = stage.after(60_000);
    assert_eq!((job.state, job.chunks), (JobState::Completed, 3));
    assert_eq!(*stage.script.opened.lock().unwrap(), [0, 1, 2, 2]);

    let stage = Stage::new((0..10).map(|_| busy()));
    stage.start();
    let job = stage.after(300_000);
    let failure = job.failure.unwrap();
    assert_eq!((job.state, failure.kind), (JobState::Failed, FaultKind::Busy));
    assert_eq!(failure.public, "it went wrong", "the fault of the last attempt");
    assert_eq!(stage.script.opened.lock().unwrap().len(), 3);
}

#[test]
fn a_drained_worker_ends_its_chunk_and_gives_the_job_back() {
    let stage = Stage::new([Act::Chunk(10), Act::Chunk(3_000), Act::Chunk(10)]);
    let (drain, _, ended) = stage.start();
    stage.after(1_000);
    drain.cancel();
    let job = stage.after(2_500);
    assert_eq!((job.state, job.chunks, job.attempts), (JobState::Queued, 2, 0));
    assert!(ended.load(Ordering::Relaxed));
    stage.start();
    let job = stage.after(1_000);
    assert_eq!((job.state, job.chunks, job.epoch), (JobState::Completed, 3, 2));
    assert_eq!(*stage.script.opened.lock().unwrap(), [0, 2]);
}

#[test]
fn a_drained_worker_does_not_wait_for_a_long_chunk() {
    let stage = Stage::new([Act::Chunk(10), Act::Chunk(1_000_000)]);
    let (drain, _, ended) = stage.start();
    stage.after(1_000);
    drain.cancel();
    let job = stage.after(4_900);
    assert_eq!(job.state, JobState::Running, "it has its grace");
    let job = stage.after(200);
    assert_eq!((job.state, job.chunks), (JobState::Queued, 1));
    assert!(ended.load(Ordering::Relaxed) && stage.script.heard.load(Ordering::Relaxed));
}

#[test]
fn an_idle_worker_drains_at_once_and_is_woken_by_work() {
    let stage = Stage::new([]);
    let (drain, _, ended) = stage.start();
    assert_eq!(stage.after(10_000).state, JobState::Completed);
    let (store, second) = (Arc::clone(&stage.store), new_job("bob"));
    let id = second.id;
    stage.play(Duration::ZERO, async move { store.submit(second).await.unwrap() });
    let store = Arc::clone(&stage.store);
    let get = async move { store.get(id, Whose::Anyone).await.unwrap() };
    assert_eq!(stage.play(Duration::from_millis(10), get).state, JobState::Completed);
    drain.cancel();
    stage.after(10);
    assert!(ended.load(Ordering::Relaxed));
}

#[test]
fn a_stopped_worker_loses_its_job_and_stops_working_on_it() {
    let stage = Stage::new([Act::Chunk(10), Act::Chunk(5_000), Act::Chunk(60_000)]);
    let (_, signals, ended) = stage.start();
    stage.after(1_000);
    signals.stop();
    stage.start();
    let job = stage.after(30_000);
    assert_eq!((job.state, job.epoch, job.chunks), (JobState::Running, 2, 1));
    signals.go_on();
    let job = stage.after(80_000);
    assert_eq!((job.state, job.epoch), (JobState::Completed, 2));
    assert!(!ended.load(Ordering::Relaxed), "the worker itself goes on");
}

#[test]
fn options_out_of_bounds_are_named() {
    let good = WorkerOptions { kinds: vec!["count"], ..WorkerOptions::default() };
    good.check().unwrap();
    let wrong = [
        (WorkerOptions { kinds: Vec::new(), ..good.clone() }, "1 to 32 kinds"),
        (WorkerOptions { name: String::new(), ..good.clone() }, "a worker's name"),
        (WorkerOptions { lease: Duration::from_mins(6), ..good.clone() }, "300 seconds"),
        (WorkerOptions { lease: Duration::from_millis(999), ..good.clone() }, "lease_ms"),
        (WorkerOptions { poll: Duration::ZERO, ..good.clone() }, "poll_ms"),
        (WorkerOptions { cancel_grace: Duration::from_secs(6), ..good.clone() }, "cancel_grace_ms"),
        (WorkerOptions { drain_grace: Duration::MAX, ..good }, "drain_grace_ms"),
    ];
    for (options, says) in wrong {
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_closed_store_ends_the_worker() {
    let stage = Stage::new([Act::Chunk(10), Act::Chunk(2_000)]);
    let (_, _, ended) = stage.start();
    let store = Arc::clone(&stage.store);
    stage.play(Duration::from_secs(1), async move { store.close().await });
    stage.play(Duration::from_mins(1), async {});
    assert!(ended.load(Ordering::Relaxed));
}

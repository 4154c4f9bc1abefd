//! Processing in steps: within a call, or in a job that any replica takes up again.
//!
//! The engine's steps run on threads for blocking work, since they fold, encode and write.
//!
//! A job with an output has steps of its own around those: before the first, the name of its file goes
//! on record; behind the last, what was found does, and only then the file is put in its place. So
//! whichever moment it is broken off at, whoever goes on knows what there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roothold_core::files::{KeptName, OutputMark};
use roothold_core::{Budget, Fault};
use roothold_datasets::{self as datasets, Operation, ProcessLimits, Progress, Reading, Source};
use serde_json::Value;
use tokio::runtime::Handle;

use super::checkpoint::Checkpoint;
use super::output::{Sink, Target, remove};
use super::report::{Outline, Report, Room};
use crate::call::{self, Call};
use crate::datasets::Opened;
use crate::long::{Chunk, JobLink, Resume, Step, Steps, Underway};

/// How fast checkpoints may grow the store: one as large as this is made once a second.
const CHECKPOINT_BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
/// The longest that is worked without one, less than a drain waits for a step.
const WITHOUT_CHECKPOINT_MAX: Duration = Duration::from_millis(1500);
/// The most chunks that are worked on at once, however many threads the engine has.
const CHUNKS_CONCURRENT_MAX: usize = 8;

/// An operation over a source, between two steps.
pub(super) struct Processing {
    operation: Operation,
    source: Source,
    notes: Vec<String>,
    target: Option<Arc<Target>>,
    room: Room,
    job: Option<Arc<JobLink>>,
    stage: Stage,
    /// What is known by now, apart from the state of the process.
    at: Checkpoint,
    state: Vec<u8>,
    sink: Option<Sink>,
    /// Files that the last checkpoint says nobody goes on with.
    stale: Vec<KeptName>,
    reading: Option<Reading>,
}

enum Stage {
    /// The name of this run's file goes on record.
    Announce,
    Open,
    Going(datasets::Process),
    /// All is found; the output is to be put in its place.
    Publish,
    Ended,
}

/// What a turn of the engine came to.
struct Turned {
    process: datasets::Process,
    step: datasets::Step,
    state: Vec<u8>,
    mark: Option<OutputMark>,
}

impl Processing {
    /// At the beginning, or where a checkpoint says.
    ///
    /// # Errors
    /// `Internal`, for a checkpoint that is damaged.
    pub(super) fn begin(
        call: &Call,
        Opened { source, notes }: Opened,
        operation: Operation,
        target: Option<Target>,
        bytes_max: usize,
        resume: Option<Resume>,
    ) -> Result<Self, Fault> {
        let begun = resume.map(|resume| Checkpoint::decode(&resume.state)).transpose()?;
        let (at, state) = begun.unwrap_or_else(|| (Checkpoint::over(source.bytes()), Vec::new()));
        let job = call.job().cloned();
        let keeps = target.as_ref().is_some_and(|target| target.own().is_some());
        Ok(Self {
            operation,
            source,
            notes,
            target: target.map(Arc::new),
            room: if job.is_some() { Room::of_job(bytes_max) } else { Room::of_call(bytes_max) },
            job,
            stage: if keeps { Stage::Announce } else { Stage::Open },
            at,
            state,
            sink: None,
            stale: Vec::new(),
            reading: None,
        })
    }

    fn chunk(&mut self, part: Option<Value>) -> Chunk {
        self.at.steps += 1;
        let progress = self.at.progress;
        Chunk {
            next: self.at.steps,
            bytes_done: progress.bytes_done,
            bytes_total: Some(progress.bytes_total),
            rows: progress.rows,
            message: progress.message(),
            part,
        }
    }

    /// Puts the name of this run's file on record, before the file is made.
    fn announce(&mut self) -> Chunk {
        self.stale.clone_from(&self.at.left);
        let own = self.target.as_ref().and_then(|target| target.own()).cloned();
        self.at.left.extend(own);
        self.stage = if self.at.finished.is_some() { Stage::Publish } else { Stage::Open };
        self.chunk(None)
    }

    /// Removes files of which the last checkpoint, which is committed by now, says that they are left.
    async fn clean(&mut self, call: &Call) -> Result<(), Fault> {
        let stale = std::mem::take(&mut self.stale);
        let Some(target) = self.target.clone().filter(|_| !stale.is_empty()) else { return Ok(()) };
        self.at.left.retain(|name| !stale.contains(name));
        call.blocking(move |_| {
            remove(target.permit(), &stale);
            Ok(())
        })
        .await
    }

    /// Begins the file of this run, or takes over what a run before left.
    async fn open_output(&mut self, call: &Call) -> Result<Option<Sink>, Fault> {
        let Some(target) = self.target.clone() else { return Ok(None) };
        let mark = self.at.mark.clone();
        let file = call.blocking(move |budget| target.open(mark.as_ref(), budget)).await?;
        self.sink = Some(Sink::new(file));
        Ok(self.sink.clone())
    }

    async fn open(&mut self, call: &Call) -> Result<datasets::Process, Fault> {
        let output = self.open_output(call).await?;
        let output = output.map(|sink| Box::new(sink) as Box<dyn datasets::Output>);
        let (engine, budget) = (call.datasets().engine().await?, call.budget());
        let (source, operation) = (&self.source, &self.operation);
        let process = if let Some(chunks) = self.at.chunks {
            let state = (std::mem::take(&mut self.state), chunks);
            datasets::Process::resume(engine, source, operation, state, output, budget).await?
        } else {
            let limits = limits(call);
            datasets::Process::open(engine, source, operation, limits, output, budget).await?
        };
        self.reading = Some(process.reading());
        Ok(process)
    }

    async fn go(&mut self, call: &Call, process: datasets::Process) -> Result<Step<Report>, Fault> {
        let (handle, sink) = (Handle::current(), self.sink.clone());
        let pause = self.job.as_ref().map(|_| pause(self.state.len()));
        let turned = call
            .blocking(move |budget| handle.block_on(turn(process, sink, pause, budget)))
            .await?;
        match turned.step {
            datasets::Step::Chunk(chunk) => {
                self.at.chunks = Some(chunk.next);
                self.at.progress = chunk.progress;
                self.state = turned.state;
                self.marked(turned.mark);
                self.stage = Stage::Going(turned.process);
                Ok(Step::Chunk(self.chunk(chunk.part)))
            }
            datasets::Step::Done(report) => {
                let notes = std::mem::take(&mut self.notes);
                let name = self.operation.kind().name();
                self.at.progress = report.progress;
                let outline = Outline::new(name, report.progress, report.value, notes);
                self.found(call, outline, turned.mark).await
            }
        }
    }

    /// What is found is the answer, unless an output is to be put in its place first.
    async fn found(
        &mut self,
        call: &Call,
        outline: Outline,
        mark: Option<OutputMark>,
    ) -> Result<Step<Report>, Fault> {
        if self.target.is_none() {
            return outline.report(self.room, None).map(Step::Done);
        }
        self.at.finished = Some(outline);
        if self.job.is_none() {
            return self.publish(call).await.map(Step::Done);
        }
        self.state = Vec::new();
        self.marked(mark);
        self.stage = Stage::Publish;
        Ok(Step::Chunk(self.chunk(None)))
    }

    /// Notes what the file is by now. That of the run before is left once this is committed.
    fn marked(&mut self, mark: Option<OutputMark>) {
        let Some(new) = mark else { return };
        let name = new.name.clone();
        let old = self.at.mark.replace(new).filter(|old| old.name != name);
        self.at.left.retain(|left| *left != name);
        self.at.left.extend(old.map(|old| old.name));
        self.stale.clone_from(&self.at.left);
    }

    async fn publish(&mut self, call: &Call) -> Result<Report, Fault> {
        let outline = self.at.finished.clone();
        let outline = outline.ok_or_else(|| Fault::internal("an output without a result"))?;
        let sink = match self.sink.clone() {
            Some(sink) => Some(sink),
            None => self.open_output(call).await?,
        };
        let sink = sink.ok_or_else(|| Fault::internal("an output without a target"))?;
        let written = call.blocking(move |budget| sink.publish(budget)).await?;
        outline.report(self.room, Some(written))
    }

    /// Every file that a run of this job may have left.
    fn names(&self) -> Vec<KeptName> {
        let own = self.target.as_ref().and_then(|target| target.own()).cloned();
        let marked = self.at.mark.as_ref().map(|mark| mark.name.clone());
        self.at.left.iter().cloned().chain(own).chain(marked).collect()
    }
}

/// Does a step of the engine; for a job as many as the pause between two checkpoints wants, and the
/// checkpoint.
async fn turn(
    mut process: datasets::Process,
    sink: Option<Sink>,
    pause: Option<Duration>,
    budget: &Budget,
) -> Result<Turned, Fault> {
    let begun = Instant::now();
    let step = loop {
        let step = process.step(budget).await?;
        let is_bare = matches!(&step, datasets::Step::Chunk(datasets::Chunk { part: None, .. }));
        if !(is_bare && pause.is_some_and(|pause| begun.elapsed() < pause)) {
            break step;
        }
    };
    let goes_on = pause.is_some() && matches!(step, datasets::Step::Chunk(_));
    let state = if goes_on { process.state()? } else { Vec::new() };
    let mark = sink.map(|sink| sink.mark()).transpose()?.flatten();
    Ok(Turned { process, step, state, mark })
}

/// How long to work before the next checkpoint, by the size of the last.
fn pause(state_bytes: usize) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "it is about the size")]
    let seconds = state_bytes as f64 / CHECKPOINT_BYTES_PER_SECOND;
    // A small state is committed with each chunk.
    if state_bytes < 64 * 1024 {
        return Duration::ZERO;
    }
    Duration::from_secs_f64(seconds).min(WITHOUT_CHECKPOINT_MAX)
}

fn limits(call: &Call) -> ProcessLimits {
    let datasets = call.datasets();
    ProcessLimits {
        chunk_bytes: datasets.chunk_bytes(),
        chunks_concurrent: datasets.threads().clamp(1, CHUNKS_CONCURRENT_MAX),
        record_bytes_max: datasets.limits().record_bytes_max,
        ..ProcessLimits::default()
    }
}

impl Steps for Processing {
    type Answer = Report;

    async fn step(&mut self, call: &Call) -> Result<Step<Report>, Fault> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        if !matches!(stage, Stage::Announce) {
            self.clean(call).await?;
        }
        match stage {
            Stage::Announce => Ok(Step::Chunk(self.announce())),
            Stage::Open => {
                let process = self.open(call).await?;
                self.go(call, process).await
            }
            Stage::Going(process) => self.go(call, process).await,
            Stage::Publish => self.publish(call).await.map(Step::Done),
            Stage::Ended => Err(Fault::internal("a step after the last")),
        }
    }

    async fn state(&mut self) -> Result<Vec<u8>, Fault> {
        self.at.encode(&self.state)
    }

    async fn partial(&mut self) -> Result<Option<Report>, Fault> {
        let mut process = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Going(process) => process,
            other => {
                self.stage = other;
                return Ok(None);
            }
        };
        let asked = tokio::task::spawn_blocking(move || (process.partial(), process)).await;
        let (found, process) = asked.map_err(Fault::internal)?;
        self.stage = Stage::Going(process);
        let (name, notes) = (self.operation.kind().name(), self.notes.clone());
        // What was not worked through yet is not in it.
        let bytes_total = self.at.progress.bytes_done;
        let progress = Progress { bytes_total, ..self.at.progress };
        Outline::new(name, progress, found?, notes).report(self.room, None).map(Some)
    }

    fn underway(&self) -> Option<Underway> {
        let (reading, progress) = (self.reading.clone(), self.at.progress);
        Some(Box::new(move || told(reading.as_ref(), progress)))
    }
}

/// How far it is while a step goes on: what was read by then.
#[expect(clippy::cast_precision_loss, reason = "progress needs no more than 53 bits")]
fn told(reading: Option<&Reading>, progress: Progress) -> call::Progress {
    let bytes_done = reading.map_or(0, Reading::bytes).max(progress.bytes_done);
    let progress = Progress { bytes_done, ..progress };
    call::Progress::of(bytes_done as f64, progress.bytes_total as f64).saying(progress.message())
}

impl Drop for Processing {
    fn drop(&mut self) {
        let (Some(job), Some(target)) = (&self.job, &self.target) else { return };
        let (target, names) = (Arc::clone(target), self.names());
        // Unless others go on with them, they are of no use any more.
        job.at_end(move || remove(target.permit(), &names));
    }
}

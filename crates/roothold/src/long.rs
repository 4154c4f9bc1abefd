//! Long work: done in steps, so that it can be watched, cancelled, and, as a job, be taken up again
//! elsewhere from its last chunk.
//!
//! A tool says what its steps are; [`Call::long`] says where they run: within the call, with
//! progress for a client that asked for it, or in a job. A job is the same call once more, made by
//! a worker with the arguments and in the name of whoever made the first: policy decides again and
//! the audit log has it again, each time that a worker takes it up.
//!
//! **Invariant**: what a step returns is committed before the next one is asked for.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roothold_core::{Fault, FaultKind};
use roothold_state::Job;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::call::{Call, Progress};
use crate::form::Form;
use crate::jobs::{JobShown, shown};
use crate::telemetry::What;
use crate::tool::{Answer, Reply};

mod pace;

use pace::{Partials, Told};

/// Whether a call of a tool may go on as a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsJob {
    /// It is answered when its work is done.
    Never,
    /// It may.
    Maybe,
    /// It always does: a client without the tasks extension is refused.
    Only,
}

/// Work in steps. It may be dropped between any two of them, and at any await within one.
pub trait Steps: Send + 'static {
    /// What it comes to.
    type Answer: Reply;

    /// Does one step. It should take a fraction of a second, and ends soon after the call's budget
    /// is cancelled or overdue. What blocks goes through [`Call::blocking`].
    ///
    /// # Errors
    /// A [`Fault`], which ends the work.
    fn step(
        &mut self,
        call: &Call,
    ) -> impl Future<Output = Result<Step<Self::Answer>, Fault>> + Send;

    /// From what the work can be taken up again after the step before. Asked in a job only.
    ///
    /// # Errors
    /// A [`Fault`], which ends the work.
    fn state(&mut self) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Tells, while a step goes on, how far it is by now: for a client that is told of progress,
    /// where steps can take longer than a moment.
    fn underway(&self) -> Option<Underway> {
        None
    }

    /// What it would answer by now, for whoever looks at the job meanwhile: in the form of the answer
    /// itself. It is asked for a few times a second, less often the more it costs.
    ///
    /// # Errors
    /// A [`Fault`], which ends the work.
    fn partial(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Fault>> + Send {
        async { Ok(None) }
    }
}

/// How far a step is, asked from outside of it.
pub type Underway = Box<dyn Fn() -> Progress + Send + Sync>;

/// What one step came to.
#[derive(Debug)]
pub enum Step<A> {
    /// Some more is done.
    Chunk(Chunk),
    /// All is done.
    Done(A),
}

/// Some more work that is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// How much is done by now, in a number that grows from chunk to chunk; the first is at least 1.
    pub next: u64,
    /// Bytes that have been worked through.
    pub bytes_done: u64,
    /// Bytes that there are, where that is known.
    pub bytes_total: Option<u64>,
    /// Rows, lines or records that have been worked through.
    pub rows: u64,
    /// One line about it, for people.
    pub message: String,
    /// What this chunk adds to the result, for whoever looks at the job meanwhile.
    pub part: Option<Value>,
}

/// Where work is to be taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// [`Chunk::next`] of the last chunk.
    pub next: u64,
    /// [`Steps::state`] after it.
    pub state: Vec<u8>,
}

/// What a caller wants, and what its work looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    background: Option<bool>,
    is_long: bool,
    about: Option<String>,
}

impl Wish {
    /// What the argument `background` says: `true`, a job; `false`, none; nothing, as it seems best.
    pub fn new(background: Option<bool>) -> Self {
        Self { background, ..Self::default() }
    }

    /// With the word that the work is long, so that a client with the tasks extension gets a task.
    #[must_use]
    pub fn long(self, is_long: bool) -> Self {
        Self { is_long, ..self }
    }

    /// With what the job is about, in a few words by which its owner tells it from others, such as the
    /// path it works on. Others than the owner and the operator never see it.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }
}

/// The answer of a tool whose work is long.
#[derive(Debug)]
pub struct Long<A>(Inner<A>);

#[derive(Debug)]
enum Inner<A> {
    /// It is done.
    Done(A),
    /// It goes on as a job.
    Begun(Box<Job>),
}

impl<A> Long<A> {
    /// The answer, unless it goes on as a job.
    #[cfg_attr(not(feature = "datasets"), expect(dead_code, reason = "only datasets ask"))]
    pub(crate) fn answer(&self) -> Option<&A> {
        match &self.0 {
            Inner::Done(answer) => Some(answer),
            Inner::Begun(_) => None,
        }
    }
}

impl<A: Reply> Reply for Long<A> {
    fn schema() -> Option<rmcp::model::JsonObject> {
        let mut schema = crate::catalog::schema_of_output::<Begun>();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        if let Some(properties) = properties {
            properties.insert("result".to_owned(), serde_json::json!({"type": "object"}));
        }
        schema.remove("required");
        A::schema().map(|_| schema)
    }

    fn into_answer(self) -> Answer {
        match self.0 {
            Inner::Done(answer) => wrapped(answer.into_answer()),
            Inner::Begun(job) => {
                let shown = shown(&job);
                let text =
                    format!("{}\nget_job tells how far it is and gives its result", shown.line());
                let form = Form::Typed(Box::new(Begun { job: shown }));
                let mut answer =
                    Answer::new(vec![rmcp::model::ContentBlock::text(text)], Some(form));
                answer.job = Some(job);
                answer
            }
        }
    }
}

// The job, or the result of the work.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Begun {
    job: JobShown,
}

/// The structured form of a result beside which there could be a job.
fn wrapped(answer: Answer) -> Answer {
    let structured = answer.structured.map(|form| {
        let (mut pieces, first_text) = form.into_pieces();
        pieces.insert(0, "{\"result\":".to_owned());
        pieces.push("}".to_owned());
        Form::Written { pieces, first_text }
    });
    Answer { structured, ..answer }
}

/// A chunk of a job, on its way to the worker.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) chunk: Chunk,
    pub(crate) state: Vec<u8>,
    /// What the tool would answer by now, as the answer of a job is stored.
    pub(crate) partial: Option<Vec<u8>>,
}

/// The next step is wanted, and its outcome here.
pub(crate) type Wanted = oneshot::Sender<Stepped>;

/// What ties a call to the job that it is a run of.
pub(crate) struct JobLink {
    resume: Mutex<Option<Resume>>,
    wanted: AsyncMutex<mpsc::Receiver<Wanted>>,
    deadline: Instant,
    end: Arc<JobEnd>,
}

/// What is to be done once a job has ended. It outlives the call, whose [`JobLink`] tells by its end
/// that no step will come.
pub(crate) struct JobEnd {
    state: Mutex<End>,
    tasks: TaskTracker,
}

type Cleanup = Box<dyn FnOnce() + Send>;

enum End {
    Awaited(Vec<Cleanup>),
    Ended,
}

impl JobEnd {
    pub(crate) fn new(tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(End::Awaited(Vec::new())), tasks })
    }

    fn then(&self, cleanup: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *state {
            End::Awaited(cleanups) => cleanups.push(Box::new(cleanup)),
            End::Ended => drop(self.tasks.spawn_blocking(cleanup)),
        }
    }

    /// The job has ended, and its end is stored.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let End::Awaited(cleanups) = std::mem::replace(&mut *state, End::Ended) {
            for cleanup in cleanups {
                self.tasks.spawn_blocking(cleanup);
            }
        }
    }
}

impl JobLink {
    pub(crate) fn new(
        resume: Option<Resume>,
        wanted: mpsc::Receiver<Wanted>,
        remaining: Duration,
        end: Arc<JobEnd>,
    ) -> Self {
        let deadline = Instant::now() + remaining;
        Self { resume: Mutex::new(resume), wanted: AsyncMutex::new(wanted), deadline, end }
    }

    /// Does something that blocks once the job has ended, which is nobody's then any more; never, if
    /// others go on with it. Wants a runtime.
    #[cfg_attr(not(feature = "datasets"), expect(dead_code, reason = "only datasets leave files"))]
    pub(crate) fn at_end(&self, cleanup: impl FnOnce() + Send + 'static) {
        self.end.then(cleanup);
    }

    /// How much time the job has left.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn resume(&self) -> Option<Resume> {
        self.resume.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    async fn wanted(&self) -> Result<Wanted, Fault> {
        let left = || Fault::new(FaultKind::Cancelled, "the worker has left the job");
        self.wanted.lock().await.recv().await.ok_or_else(left)
    }
}

/// How often a client is told of progress while a step goes on.
const TELL_EVERY: Duration = Duration::from_millis(400);

impl Call {
    /// Whether work over so many bytes is long, as the configuration says.
    pub fn is_long(&self, bytes: u64) -> bool {
        self.engine().jobs.as_ref().is_some_and(|jobs| bytes >= jobs.settings().task_bytes_min)
    }

    /// Does long work: here, telling the client how far it is, or as a job, and then this returns at
    /// once. `begin` makes the work, from the beginning or from where it is to be taken up again.
    ///
    /// It becomes a job if the caller wants that, or if it is long and the client declares the
    /// tasks extension and may see jobs.
    ///
    /// # Errors
    /// The work's own, and those of the store of jobs, such as `Limit` when the caller has as many
    /// as one may.
    ///
    /// # Cancellation
    /// Dropping the future ends the work, unless it went on as a job.
    pub async fn long<W: Steps, F>(
        &self,
        wish: Wish,
        begin: impl FnOnce(Option<Resume>) -> F + Send,
    ) -> Result<Long<W::Answer>, Fault>
    where
        F: Future<Output = Result<W, Fault>> + Send,
    {
        if let Some(job) = self.job() {
            let work = begin(job.resume()).await?;
            return self.in_job(job, work).await;
        }
        if self.wants_job(&wish) {
            let jobs = self.engine().jobs.as_ref().ok_or_else(no_jobs)?;
            let job = jobs.submit(self, wish.about).await?;
            self.budget().note_effect();
            return Ok(Long(Inner::Begun(Box::new(job))));
        }
        self.here(begin(None).await?).await
    }

    fn wants_job(&self, wish: &Wish) -> bool {
        let entry = self.engine().catalog.get(self.tool());
        if entry.is_some_and(|entry| entry.tool.as_job() == AsJob::Only) {
            return true;
        }
        let sees_jobs = || self.policy().grants_tool(self.principal(), crate::tools::GET_JOB);
        wish.background.unwrap_or_else(|| wish.is_long && self.takes_tasks() && sees_jobs())
    }

    async fn here<W: Steps>(&self, mut work: W) -> Result<Long<W::Answer>, Fault> {
        let (mut told, mut spans) = (Told::default(), ChunkSpans::default());
        loop {
            let underway = work.underway();
            let mut step = pin!(spans.step(self, &mut work));
            let stepped = loop {
                tokio::select! {
                    biased;
                    stepped = &mut step => break stepped?,
                    () = tokio::time::sleep(TELL_EVERY), if underway.is_some() => {
                        if let Some(due) = underway.as_ref().and_then(|far| told.due(far(), Instant::now())) {
                            self.progress(due).await;
                        }
                    }
                }
            };
            match stepped {
                Step::Done(answer) => {
                    if let Some(last) = told.left.take() {
                        self.progress(last).await;
                    }
                    return Ok(Long(Inner::Done(answer)));
                }
                Step::Chunk(chunk) => {
                    if let Some(due) = told.due(progress_of(chunk), Instant::now()) {
                        self.progress(due).await;
                    }
                }
            }
        }
    }

    async fn in_job<W: Steps>(&self, job: &JobLink, mut work: W) -> Result<Long<W::Answer>, Fault> {
        let (mut partials, mut spans) = (Partials::default(), ChunkSpans::default());
        loop {
            let wanted = job.wanted().await?;
            let stepped = match spans.step(self, &mut work).await? {
                Step::Done(answer) => return Ok(Long(Inner::Done(answer))),
                Step::Chunk(chunk) => {
                    let state = work.state().await?;
                    let partial = partials.of(&mut work, &chunk).await?;
                    Stepped { chunk, state, partial }
                }
            };
            // A worker that has left is noticed when the next step is waited for.
            let _ = wanted.send(stepped);
        }
    }
}

/// The most chunks of one run that have spans of their own.
const CHUNK_SPANS_MAX: u32 = 256;

/// Makes spans of the first steps: a job can have any number of them.
#[derive(Default)]
struct ChunkSpans(u32);

impl ChunkSpans {
    /// Does a step.
    async fn step<W: Steps>(
        &mut self,
        call: &Call,
        work: &mut W,
    ) -> Result<Step<W::Answer>, Fault> {
        if self.0 >= CHUNK_SPANS_MAX {
            return work.step(call).await;
        }
        self.0 += 1;
        let mut span = call.trace().step(|| What::Chunk { rows: 0, bytes: 0 });
        let within = span.is_recorded().then(|| call.within(&span));
        let stepped = work.step(within.as_ref().unwrap_or(call)).await;
        if let Ok(Step::Chunk(chunk)) = &stepped {
            let (rows, bytes) = (chunk.rows, chunk.bytes_done);
            span.note(|what| *what = What::Chunk { rows, bytes });
        }
        span.end(stepped.as_ref().err());
        stepped
    }
}

#[expect(clippy::cast_precision_loss, reason = "progress needs no more than 53 bits")]
fn progress_of(chunk: Chunk) -> Progress {
    let total = chunk.bytes_total.map(|total| total as f64);
    Progress { done: chunk.bytes_done as f64, total, message: Some(chunk.message) }
}

pub(crate) fn no_jobs() -> Fault {
    Fault::new(FaultKind::Unsupported, "this server keeps no jobs; call again without background")
}

//! Keeps a few chunks in work, and folds what comes out in order.
//!
//! **Invariant**: what is folded, and what a checkpoint says, depends on no timing: chunks that
//! are ahead are forgotten with the process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use roothold_core::{Budget, Fault};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::bad::BadRows;
use super::decode::Counts;
use super::fold::{Fold, Work};
use super::input::{Input, Stop};
use super::saved::{Saved, damaged};
use super::spans::{Position, Span, Spans};
use super::step::{Chunk, ProcessLimits, Progress, Report, Step};
use crate::engine::panicked;

/// How often a step looks whether its caller still wants it.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A process of any operation.
pub(super) trait Running: Send {
    /// Goes on to the next chunk.
    fn step<'a>(&'a mut self, budget: &'a Budget) -> BoxFuture<'a, Result<Step, Fault>>;
    /// The checkpoint.
    fn state(&mut self) -> Result<Vec<u8>, Fault>;
    /// The result so far.
    fn partial(&mut self) -> Result<Value, Fault>;
    /// How far the reading is, whoever asks.
    fn reading(&self) -> Reading;
}

/// How many bytes of the files were read, of how many; it can be asked during a step.
#[derive(Clone)]
pub struct Reading {
    from: Arc<dyn Fn() -> u64 + Send + Sync>,
    total: u64,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Reading {
    pub(super) fn new(total: u64, from: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { from: Arc::new(from), total }
    }

    /// How many were read since the process began, or went on; as many as there are at most.
    pub fn bytes(&self) -> u64 {
        // What is read again from its beginning counts twice.
        (self.from)().min(self.total)
    }
}

/// Where a process is, and how it came there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trace {
    /// The operation, as it was asked for.
    pub(super) operation: Value,
    /// The content that was processed.
    pub(super) revision: String,
    /// By what chunks are cut.
    pub(super) limits: ProcessLimits,
    /// Chunks that are folded.
    pub(super) next: u64,
    /// Where the next one begins.
    pub(super) at: Position,
    pub(super) progress: Progress,
    pub(super) bad: BadRows,
}

type Part<F> = <<F as Fold>::Work as Work>::Part;

/// A chunk whose work is done.
struct Worked<P> {
    counts: Counts,
    part: P,
    next: Position,
    bytes_done: u64,
}

/// A process of one operation.
pub(super) struct Runner<F: Fold> {
    fold: F,
    trace: Trace,
    input: Arc<dyn Input>,
    runtime: Handle,
    stop: Stop,
    spans: mpsc::Receiver<Read>,
    /// What it came to.
    done: Option<Value>,
    /// How the reading ended, once it did.
    ended: Option<Result<(), Fault>>,
    working: VecDeque<JoinHandle<Result<Worked<Part<F>>, Fault>>>,
}

/// What the reading says.
enum Read {
    Span(Span),
    End(Result<(), Fault>),
}

impl<F: Fold> Runner<F> {
    /// Goes on where `trace` says. `saved` is the state of the fold, unless it begins.
    pub(super) fn new(
        mut fold: F,
        trace: Trace,
        saved: Option<Saved>,
        input: Arc<dyn Input>,
        runtime: Handle,
    ) -> Result<Self, Fault> {
        if let Some(saved) = saved {
            fold.load(saved)?;
        }
        let stop = Stop::default();
        let spans = Spans::new(input.clone(), trace.limits.clone(), trace.at.clone());
        let (sender, receiver) = mpsc::channel(1);
        let reading = stop.clone();
        runtime.spawn_blocking(move || read(spans, &reading, &sender));
        let (done, ended, working) = (None, None, VecDeque::new());
        Ok(Self { fold, trace, input, runtime, stop, spans: receiver, done, ended, working })
    }

    fn has_room(&self) -> bool {
        self.ended.is_none() && self.working.len() < self.trace.limits.chunks_concurrent.max(1)
    }

    fn begin(&mut self, read: Option<Read>) {
        let span = match read {
            Some(Read::Span(span)) => span,
            Some(Read::End(end)) => return self.ended = Some(end),
            None => {
                return self.ended = Some(Err(Fault::internal("the reading of chunks broke off")));
            }
        };
        let (work, input, stop) = (self.fold.work().clone(), self.input.clone(), self.stop.clone());
        self.working.push_back(self.runtime.spawn_blocking(move || {
            let (mut counts, part) = work.work(input.as_ref(), &span, &stop)?;
            input.unchanged(span.at.file)?;
            let files = input.files();
            if files.len() > 1 {
                counts.bad.name_file(&files[span.at.file].name);
            }
            Ok(Worked { counts, part, next: span.next, bytes_done: span.bytes_done })
        }));
    }

    /// The next chunk whose work is done, in order; meanwhile others are put to work.
    async fn worked(&mut self) -> Option<Result<Worked<Part<F>>, Fault>> {
        loop {
            let room = self.has_room();
            if !room && self.working.is_empty() {
                return None;
            }
            let working = &mut self.working;
            let front = async {
                match working.front_mut() {
                    Some(front) => front.await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                biased;
                read = self.spans.recv(), if room => {
                    self.begin(read);
                    continue;
                }
                done = front => done,
            };
            self.working.pop_front();
            return Some(done.map_err(broken_off).flatten());
        }
    }

    async fn advance(&mut self) -> Result<Step, Fault> {
        if self.done.is_some() {
            return self.finish();
        }
        if self.fold.is_full() {
            self.halt();
            return self.finish();
        }
        let Some(worked) = self.worked().await else {
            return match self.ended.take() {
                Some(Err(fault)) => Err(fault),
                _ => self.finish(),
            };
        };
        // Others go on while this one is folded and its checkpoint written.
        while self.has_room() {
            let Ok(read) = self.spans.try_recv() else { break };
            self.begin(Some(read));
        }
        self.take(worked?)
    }

    fn take(&mut self, worked: Worked<Part<F>>) -> Result<Step, Fault> {
        let part = self.fold.fold(worked.part)?;
        let trace = &mut self.trace;
        trace.next += 1;
        trace.at = worked.next;
        trace.progress.rows += worked.counts.rows;
        trace.progress.bad_rows += worked.counts.bad.count;
        trace.progress.bytes_done = worked.bytes_done;
        trace.bad.merge(worked.counts.bad);
        let (progress, message) = (trace.progress, trace.progress.message());
        Ok(Step::Chunk(Chunk { next: trace.next, progress, message, part }))
    }

    fn finish(&mut self) -> Result<Step, Fault> {
        let value = if let Some(done) = &self.done {
            done.clone()
        } else {
            self.fold.finish()?;
            let value = self.fold.conclude()?;
            self.done.insert(self.with_rows(value)).clone()
        };
        Ok(Step::Done(Report { value, progress: self.trace.progress }))
    }

    /// The result with what is counted of any operation.
    fn with_rows(&self, mut value: Value) -> Value {
        if let Some(object) = value.as_object_mut() {
            object.insert("rows".into(), self.trace.progress.rows.into());
            object.insert("bad_rows".into(), self.trace.bad.count.into());
            if !self.input.notes().is_empty() {
                object.insert("notes".into(), serde_json::json!(self.input.notes()));
            }
            if self.trace.bad.count > 0 {
                object.insert("bad".into(), self.trace.bad.told().into());
            }
            // Who validates wants to know what is bad, and not to read it as something else.
            let options = self.trace.bad.options();
            if let Some(options) =
                options.filter(|_| self.trace.operation["operation"] != "validate")
            {
                object.insert("options".into(), options);
            }
        }
        value
    }

    /// Ends whatever is under way.
    fn halt(&self) {
        self.stop.now();
        self.input.stop();
    }

    async fn watched(&mut self, budget: &Budget) -> Result<Step, Fault> {
        let (stop, input) = (self.stop.clone(), self.input.clone());
        let mut advance = std::pin::pin!(self.advance());
        loop {
            if let Err(fault) = budget.check() {
                stop.now();
                input.stop();
                return Err(fault);
            }
            if let Ok(came) = tokio::time::timeout(LOOK_EVERY, &mut advance).await {
                return came;
            }
        }
    }
}

/// Work that ended without a result.
fn broken_off(error: JoinError) -> Fault {
    if error.is_panic() { panicked() } else { Fault::internal(error) }
}

/// Reads chunks until there are no more, or nobody takes them.
fn read(mut spans: Spans, stop: &Stop, sender: &mpsc::Sender<Read>) {
    loop {
        let read = match spans.next(stop) {
            Ok(Some(span)) => Read::Span(span),
            Ok(None) => Read::End(Ok(())),
            Err(fault) => Read::End(Err(fault)),
        };
        let ended = matches!(read, Read::End(_));
        if sender.blocking_send(read).is_err() || ended {
            return;
        }
    }
}

impl<F: Fold> Running for Runner<F> {
    fn step<'a>(&'a mut self, budget: &'a Budget) -> BoxFuture<'a, Result<Step, Fault>> {
        Box::pin(self.watched(budget))
    }

    fn state(&mut self) -> Result<Vec<u8>, Fault> {
        let saved = self.fold.save()?;
        let header = serde_json::json!({ "trace": self.trace, "fold": saved.header });
        Saved { header, ..saved }.encode()
    }

    fn reading(&self) -> Reading {
        let input = self.input.clone();
        Reading::new(self.trace.progress.bytes_total, move || input.bytes_read())
    }

    fn partial(&mut self) -> Result<Value, Fault> {
        if let Some(done) = &self.done {
            return Ok(done.clone());
        }
        let value = self.fold.report()?;
        Ok(self.with_rows(value))
    }
}

impl<F: Fold> Drop for Runner<F> {
    fn drop(&mut self) {
        self.halt();
    }
}

/// What a checkpoint holds: where it was, and the state of the fold.
pub(super) fn unpack(state: &[u8]) -> Result<(Trace, Saved), Fault> {
    let mut saved = Saved::decode(state)?;
    let trace = serde_json::from_value(saved.header["trace"].take()).map_err(|_| damaged())?;
    saved.header = saved.header["fold"].take();
    Ok((trace, saved))
}

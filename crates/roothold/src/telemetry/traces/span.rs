//! One span: while it goes on, and what there may be of it once it has ended.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roothold_core::{Fault, FaultKind};
use roothold_databases::SourceKind;
use roothold_edge::{MethodClass, TraceId, TraceParent};
use roothold_state::JobId;

use super::new_span;
use super::queue::Queue;

/// What a span is about. Nothing here can hold what a caller wrote or what a file or a row says.
#[derive(Debug)]
pub(crate) enum What {
    /// A request over HTTP.
    Request { method: MethodClass, status: u16, bytes: u64 },
    /// A call, or another request of the protocol. `tool` is empty where there is none.
    Call { method: &'static str, tool: &'static str, kind: CallKind, bytes: u64 },
    /// What policy decided.
    Policy,
    /// Waiting for a place among the running calls.
    Admission,
    /// Waiting until the intent of a change is on the disk of the audit log.
    Audit,
    /// Work with files.
    Files,
    /// A question to a database, which the configuration names.
    Database { kind: SourceKind, name: Box<str>, operation: &'static str, rows: u64 },
    /// A step of long work, up to so many rows and bytes of the whole.
    Chunk { rows: u64, bytes: u64 },
}

/// How a call came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// From the server itself, for somebody who waits to be told.
    #[default]
    Own,
    Http,
    Stdio,
    /// As a part of another.
    Part,
    /// As a run of a job.
    Job(JobId),
}

/// A span, as it waits in the queue.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) at: TraceParent,
    pub(super) parent: Option<NonZeroU64>,
    pub(super) parent_is_remote: bool,
    pub(super) link: Option<TraceParent>,
    pub(super) what: What,
    pub(super) began: Instant,
    pub(super) took: Duration,
    pub(super) fault: Option<FaultKind>,
    pub(super) rule: Option<&'static str>,
}

impl Span {
    pub(super) fn new(
        at: TraceParent,
        parent: Option<TraceParent>,
        what: What,
        began: Instant,
    ) -> Self {
        Self {
            at,
            parent: parent.map(TraceParent::span_id),
            parent_is_remote: false,
            link: None,
            what,
            began,
            took: Duration::ZERO,
            fault: None,
            rule: None,
        }
    }
}

/// Where in a trace a call is: above its steps. Nothing is recorded below what is not.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    at: Option<TraceParent>,
    /// Only where it is recorded.
    queue: Option<Arc<Queue>>,
}

impl Trace {
    /// The id of the trace, recorded or not, where it has one.
    pub(crate) fn id(&self) -> Option<TraceId> {
        self.at.map(TraceParent::trace_id)
    }

    /// The span, for what goes on elsewhere.
    pub(crate) fn at(&self) -> Option<TraceParent> {
        self.at
    }

    /// Begins a step.
    pub(crate) fn step(&self, what: impl FnOnce() -> What) -> Step {
        let (Some(queue), Some(parent)) = (&self.queue, self.at) else {
            return Step::unrecorded(self.at);
        };
        match new_span(parent.trace_id().get(), true) {
            Some(at) => Step::new(Span::new(at, Some(parent), what(), Instant::now()), queue),
            None => Step::unrecorded(self.at),
        }
    }
}

/// A span that goes on. One that is dropped before its end is told was cancelled.
pub(crate) struct Step {
    at: Option<TraceParent>,
    /// Only where it is recorded.
    open: Option<(Box<Span>, Arc<Queue>)>,
}

impl Step {
    pub(super) fn unrecorded(at: Option<TraceParent>) -> Self {
        Self { at, open: None }
    }

    pub(super) fn new(span: Span, queue: &Arc<Queue>) -> Self {
        Self { at: Some(span.at), open: Some((Box::new(span), Arc::clone(queue))) }
    }

    /// Where in the trace what belongs to this step is.
    pub(crate) fn trace(&self) -> Trace {
        Trace { at: self.at, queue: self.open.as_ref().map(|(_, queue)| Arc::clone(queue)) }
    }

    /// Whether it is recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.open.is_some()
    }

    /// The id of its trace, recorded or not, where it has one.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.at.map(TraceParent::trace_id)
    }

    /// Completes what it is about, if it is recorded.
    pub(crate) fn note(&mut self, complete: impl FnOnce(&mut What)) {
        if let Some((span, _)) = &mut self.open {
            complete(&mut span.what);
        }
    }

    /// Has it not have been.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// Tells how it ended. It ends once.
    pub(crate) fn end(&mut self, fault: Option<&Fault>) {
        self.end_as(fault.map(Fault::kind), fault.and_then(Fault::rule).map(|rule| rule.name));
    }

    /// The same by the kind of the fault and the rule that denied.
    pub(crate) fn end_as(&mut self, fault: Option<FaultKind>, rule: Option<&'static str>) {
        if let Some((mut span, queue)) = self.open.take() {
            span.took = span.began.elapsed();
            (span.fault, span.rule) = (fault, rule);
            queue.put(span);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.end_as(Some(FaultKind::Cancelled), None);
    }
}

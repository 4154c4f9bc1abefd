//! What happens to calls, as structs.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use roothold_core::audit::{CallId, Outcome};
use roothold_core::{Fault, FaultKind};
use tracing::field::display;

use super::metrics::{Metrics, Successes};
use super::traces::{CallKind, Step, Trace, TraceFrom, Traces, What};
use crate::call::{CallRequest, Engine};
use crate::catalog::Entry;

/// What a tool is called in metrics and traces that does not exist: callers make such names up.
pub(crate) const NO_TOOL: &str = "other";

/// A call ended, one way or another.
pub(crate) struct CallFinished {
    method: &'static str,
    /// From the closed set of the catalog; `other` for what is not in it.
    tool: &'static str,
    successes: Option<Arc<OnceLock<Successes>>>,
    principal: Arc<str>,
    request_id: Arc<str>,
    fault: Option<FaultKind>,
    rule: Option<&'static str>,
    bytes_out: u64,
    cut: bool,
    duration: Duration,
    span: Step,
}

impl CallFinished {
    /// To be told at the end of a call; its span begins now.
    pub(crate) fn new(traces: &Traces, request: &CallRequest<'_>, entry: Option<&Entry>) -> Self {
        let name = entry.map_or(NO_TOOL, |entry| entry.tool.name());
        Self {
            method: request.method,
            tool: name,
            successes: entry.map(|entry| Arc::clone(&entry.successes)),
            principal: request.principal.shared_name(),
            request_id: Arc::clone(&request.request_id),
            fault: None,
            rule: None,
            bytes_out: 0,
            cut: false,
            duration: Duration::ZERO,
            span: span_of(traces, request, name),
        }
    }

    /// Where in the trace what the call does is.
    pub(crate) fn trace(&self) -> Trace {
        self.span.trace()
    }

    pub(crate) fn end(&mut self, duration: Duration, result: Result<usize, &Fault>) {
        self.duration = duration;
        match result {
            Ok(bytes) => self.bytes_out = bytes as u64,
            Err(fault) => {
                self.fault = Some(fault.kind());
                self.rule = fault.rule().map(|rule| rule.name);
            }
        }
    }

    /// The answer ended at a limit of the call.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// The audit record of the same event.
    pub(crate) fn outcome(&self, call: CallId) -> Outcome<'_> {
        Outcome {
            call,
            fault: self.fault.map(FaultKind::code),
            rule: self.rule,
            bytes_out: self.bytes_out,
            duration: self.duration,
        }
    }

    fn measure(&self, metrics: &Metrics) {
        let (fault, rule) = (self.fault, self.rule);
        if self.cut && fault.is_none() {
            metrics.answer_cut(if self.method == "tools/call" { self.tool } else { "" });
        }
        match &self.successes {
            Some(found) if fault.is_none() && self.method == "tools/call" => {
                let successes = found.get_or_init(|| metrics.successes(self.tool));
                metrics.call_succeeded(self.tool, successes, self.bytes_out, self.duration);
            }
            _ => metrics.call_finished(
                self.method,
                self.tool,
                fault,
                rule,
                self.bytes_out,
                self.duration,
            ),
        }
    }

    /// Writes the metric, the span and the log line. Success is a line at `debug` only: the audit log
    /// has every call.
    pub(crate) fn emit(&mut self, metrics: &Metrics, fault: Option<&Fault>) {
        self.measure(metrics);
        let answered = self.bytes_out;
        self.span.note(|what| {
            if let What::Call { bytes, .. } = what {
                *bytes = answered;
            }
        });
        self.span.end_as(self.fault, self.rule);
        let duration_ms = self.duration.as_secs_f64() * 1e3;
        let (tool, principal, request) = (self.tool, &*self.principal, &*self.request_id);
        let trace_id = self.span.trace_id().map(display);
        match fault {
            None => tracing::debug!(
                tool,
                principal,
                request,
                trace_id,
                duration_ms,
                bytes = self.bytes_out,
                "call finished"
            ),
            Some(fault)
                if fault.kind() == FaultKind::Internal
                    || fault.kind() == FaultKind::Unavailable =>
            {
                let cause = std::error::Error::source(fault).map(ToString::to_string);
                tracing::error!(
                    tool,
                    principal,
                    request,
                    trace_id,
                    duration_ms,
                    kind = fault.kind().code(),
                    cause,
                    "call failed"
                );
            }
            Some(fault) => {
                let (kind, rule) = (fault.kind().code(), self.rule);
                tracing::info!(
                    tool,
                    principal,
                    request,
                    trace_id,
                    duration_ms,
                    kind,
                    rule,
                    "call refused"
                );
            }
        }
    }
}

/// The span of a call, in the trace that it comes from.
fn span_of(traces: &Traces, request: &CallRequest<'_>, name: &'static str) -> Step {
    let method = request.method;
    // A resource is read by an internal tool, which is not one for clients.
    let tool = if name == method { "" } else { name };
    let what = |kind| move || What::Call { method, tool, kind, bytes: 0 };
    match request.within {
        Some(call) => call.trace().step(what(CallKind::Part)),
        None => traces.call(request.trace, what(request.trace.kind)),
    }
}

/// A list was asked for, which needs no call.
pub(crate) struct ListAsked<'a> {
    metrics: &'a Metrics,
    method: &'static str,
    started: Instant,
    span: Step,
}

impl<'a> ListAsked<'a> {
    /// To be told when it is made; its span begins now.
    pub(crate) fn new(engine: &'a Engine, method: &'static str, from: TraceFrom) -> Self {
        let what = || What::Call { method, tool: "", kind: from.kind, bytes: 0 };
        let span = engine.traces.call(from, what);
        Self { metrics: &engine.metrics, method, started: Instant::now(), span }
    }

    /// Writes the metric and the span.
    pub(crate) fn emit(mut self) {
        self.metrics.call_finished(self.method, "", None, None, 0, self.started.elapsed());
        self.span.end(None);
    }
}

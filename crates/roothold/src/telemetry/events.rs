//! What happens to calls, as structs.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roothold_core::audit::{CallId, Outcome};
use roothold_core::{Fault, FaultKind};

use super::metrics::{Metrics, Successes};
use crate::call::CallRequest;
use crate::catalog::Entry;

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
}

impl CallFinished {
    pub(crate) fn new(request: &CallRequest<'_>, entry: Option<&Entry>) -> Self {
        Self {
            method: request.method,
            tool: entry.map_or("other", |entry| entry.tool.name()),
            successes: entry.map(|entry| Arc::clone(&entry.successes)),
            principal: request.principal.shared_name(),
            request_id: Arc::clone(&request.request_id),
            fault: None,
            rule: None,
            bytes_out: 0,
            cut: false,
            duration: Duration::ZERO,
        }
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

    /// Writes the metric and the log line. Success is a line at `debug` only: the audit log has
    /// every call.
    pub(crate) fn emit(&self, metrics: &Metrics, fault: Option<&Fault>) {
        self.measure(metrics);
        let duration_ms = self.duration.as_secs_f64() * 1e3;
        let (tool, principal, request) = (self.tool, &*self.principal, &*self.request_id);
        match fault {
            None => tracing::debug!(
                tool,
                principal,
                request,
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
                    duration_ms,
                    kind = fault.kind().code(),
                    cause,
                    "call failed"
                );
            }
            Some(fault) => {
                let (kind, rule) = (fault.kind().code(), self.rule);
                tracing::info!(tool, principal, request, duration_ms, kind, rule, "call refused");
            }
        }
    }
}

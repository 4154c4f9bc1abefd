//! The two audit records of a call, and the event at its end.

use std::sync::Arc;
use std::time::Instant;

use roothold_core::audit::{self, AuditError, AuditLog, CallId, Decision, Intent};
use roothold_core::{Action, Actions, Fault, FaultKind, Verb};

use super::{CallRequest, Decided, Engine};
use crate::telemetry::CallFinished;

/// Keeps the promise of one outcome per intent, also when the call's future is dropped.
pub(super) struct Record<'a> {
    engine: &'a Arc<Engine>,
    id: CallId,
    started: Instant,
    finished: CallFinished,
    open: bool,
}

impl<'a> Record<'a> {
    pub(super) fn new(engine: &'a Arc<Engine>, started: Instant, finished: CallFinished) -> Self {
        Self { engine, id: engine.audit.next_call(), started, finished, open: false }
    }

    /// Records a call that may run. If it writes, the record is on disk when this returns.
    pub(super) async fn allow(
        &mut self,
        request: &CallRequest<'_>,
        actions: &Actions,
        decided: &[Decided],
    ) -> Result<(), Fault> {
        let line = Line::new(self.id, request, actions.as_slice(), decided, None);
        if actions.as_slice().iter().any(|action| action.verb == Verb::Write) {
            let engine = Arc::clone(self.engine);
            // It waits for the disk, which an async thread must not.
            tokio::task::spawn_blocking(move || line.write(&engine.audit, AuditLog::intent_write))
                .await
                .map_err(Fault::internal)?
                .map_err(unrecorded)?;
        } else {
            line.write(&self.engine.audit, AuditLog::intent_read).map_err(unrecorded)?;
        }
        self.open = true;
        Ok(())
    }

    /// Records a call that never runs, and returns why.
    pub(super) fn refuse(
        &mut self,
        request: &CallRequest<'_>,
        actions: Option<&Actions>,
        fault: Fault,
    ) -> Fault {
        let rule = match fault.rule() {
            Some(rule) => rule.to_string(),
            None => "arguments".to_owned(),
        };
        self.deny(request, actions, rule).err().unwrap_or(fault)
    }

    /// Records a call that never runs, by the rule that refused it.
    pub(super) fn deny(
        &mut self,
        request: &CallRequest<'_>,
        actions: Option<&Actions>,
        rule: String,
    ) -> Result<(), Fault> {
        let actions = actions.map_or(&[][..], Actions::as_slice);
        let line = Line::new(self.id, request, actions, &[], Some(rule));
        line.write(&self.engine.audit, AuditLog::intent_read).map_err(unrecorded)?;
        self.open = true;
        Ok(())
    }

    /// Records the end. Returns a fault if that was not possible.
    pub(super) fn finish(&mut self, result: Result<usize, &Fault>) -> Option<Fault> {
        self.finished.end(self.started.elapsed(), result);
        let open = std::mem::replace(&mut self.open, false);
        let recorded =
            if open { self.engine.audit.outcome(&self.finished.outcome(self.id)) } else { Ok(()) };
        self.finished.emit(&self.engine.metrics, result.err());
        recorded.err().map(unrecorded)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let fault = if std::thread::panicking() {
            Fault::internal("the tool panicked")
        } else {
            Fault::new(FaultKind::Cancelled, "the client hung up")
        };
        self.finish(Err(&fault));
    }
}

/// What an intent says, owned, so that it can be written on another thread.
struct Line {
    call: CallId,
    principal: Arc<str>,
    tool: String,
    actions: Vec<(Verb, String, Option<&'static str>)>,
    /// `None`: the policy allowed it.
    refused_by: Option<String>,
    request_id: Arc<str>,
}

impl Line {
    fn new(
        call: CallId,
        request: &CallRequest<'_>,
        actions: &[Action],
        decided: &[Decided],
        refused_by: Option<String>,
    ) -> Self {
        let described = |(at, action): (usize, &Action)| {
            // A permit knows where a relative path leads; a denied action is recorded as it was
            // asked for.
            let (target, denied) = match decided.get(at) {
                Some(Ok(permit)) => (permit.target_shown(), None),
                Some(Err(fault)) => (None, fault.rule().map(|rule| rule.name)),
                None => (None, None),
            };
            (action.verb, target.unwrap_or_else(|| action.target_shown()), denied)
        };
        Self {
            call,
            principal: request.principal.shared_name(),
            tool: request.tool.to_owned(),
            actions: actions.iter().enumerate().map(described).collect(),
            refused_by,
            request_id: Arc::clone(&request.request_id),
        }
    }

    fn write(
        &self,
        audit: &AuditLog,
        how: fn(&AuditLog, &Intent<'_>) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let actions: Vec<audit::Action<'_>> = self
            .actions
            .iter()
            .map(|(verb, target, denied)| audit::Action {
                verb: verb.name(),
                target,
                denied: *denied,
            })
            .collect();
        let allowed = self.refused_by.is_none();
        let intent = Intent {
            call: self.call,
            principal: &self.principal,
            tool: &self.tool,
            actions: &actions,
            decision: if allowed { Decision::Allow } else { Decision::Deny },
            rule: self.refused_by.as_deref().unwrap_or("policy"),
            request_id: &self.request_id,
        };
        how(audit, &intent)
    }
}

fn unrecorded(error: AuditError) -> Fault {
    match error {
        AuditError::TooLong => Fault::new(
            FaultKind::Limit,
            "the call names too much to be recorded in one line; ask for fewer items",
        ),
        AuditError::Full => {
            Fault::new(FaultKind::Busy, "the audit queue is full just now; try again in a moment")
        }
        error => Fault::new(
            FaultKind::Unavailable,
            "the audit log cannot be written, so no call is served; tell the operator",
        )
        .with_source(error),
    }
}

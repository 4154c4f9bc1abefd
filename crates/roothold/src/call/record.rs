//! The two audit records of a call, and the event at its end.

use std::sync::Arc;
use std::time::Instant;

use roothold_core::audit::{self, AuditError, AuditLog, CallId, Decision, Intent};
use roothold_core::{Action, Actions, Budget, Fault, FaultKind, Permit, Verb};

use super::admit::Ticket;
use super::{CallRequest, Decided, Engine};
use crate::telemetry::{CallFinished, InFlight};

/// Keeps the promise of one outcome per intent, also when the call's future is dropped. The
/// outcome of a call that may change something comes after the work has ended, whoever waits.
pub(super) struct Record {
    /// `None` once it was handed to those who still work.
    end: Option<End>,
    /// Of a call that may change something, while it runs.
    running: Option<(Arc<Ticket>, Budget)>,
}

/// What the end of a call needs.
struct End {
    engine: Arc<Engine>,
    id: CallId,
    started: Instant,
    finished: CallFinished,
    open: bool,
    /// The server waits for it when it stops.
    _in_flight: InFlight,
}

impl Record {
    pub(super) fn new(engine: &Arc<Engine>, started: Instant, finished: CallFinished) -> Self {
        let end = End {
            engine: Arc::clone(engine),
            id: engine.audit.next_call(),
            started,
            finished,
            open: false,
            _in_flight: engine.metrics.call_began(),
        };
        Self { end: Some(end), running: None }
    }

    /// Says who works on a call that may change something, and under which budget.
    pub(super) fn runs(&mut self, ticket: &Arc<Ticket>, budget: &Budget) {
        self.running = Some((Arc::clone(ticket), budget.clone()));
    }

    /// It is taken out only by `drop`.
    fn end(&mut self) -> Result<&mut End, Fault> {
        self.end.as_mut().ok_or_else(|| Fault::internal("the call has ended"))
    }

    /// Records a call that may run. If it writes, the record is on disk when this returns.
    pub(super) async fn allow(
        &mut self,
        request: &CallRequest<'_>,
        actions: &Actions,
        decided: &[Decided],
    ) -> Result<(), Fault> {
        let end = self.end()?;
        let line = Line::new(end.id, request, actions.as_slice(), decided, None);
        if !may_change(actions) {
            line.write(&end.engine.audit, AuditLog::intent_read).map_err(unrecorded)?;
            end.open = true;
            return Ok(());
        }
        let announced =
            line.write(&end.engine.audit, AuditLog::announce_write).map_err(unrecorded)?;
        // The line has its place, so an outcome is due, also if nobody waits for the disk.
        end.open = true;
        let engine = Arc::clone(&end.engine);
        // It waits for the disk, which an async thread must not.
        tokio::task::spawn_blocking(move || engine.audit.make_durable(&announced))
            .await
            .map_err(Fault::internal)?
            .map_err(unrecorded)
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
        let end = self.end()?;
        let line = Line::new(end.id, request, actions, &[], Some(rule));
        line.write(&end.engine.audit, AuditLog::intent_read).map_err(unrecorded)?;
        end.open = true;
        Ok(())
    }

    /// Records the end. Returns a fault if that was not possible.
    pub(super) fn finish(&mut self, result: Result<usize, &Fault>) -> Option<Fault> {
        self.end.as_mut()?.finish(result)
    }
}

impl End {
    fn finish(&mut self, result: Result<usize, &Fault>) -> Option<Fault> {
        self.finished.end(self.started.elapsed(), result);
        let open = std::mem::replace(&mut self.open, false);
        let recorded =
            if open { self.engine.audit.outcome(&self.finished.outcome(self.id)) } else { Ok(()) };
        self.finished.emit(&self.engine.metrics, result.err());
        recorded.err().map(unrecorded)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut end) = self.end.take().filter(|end| end.open) else { return };
        if std::thread::panicking() {
            end.finish(Err(&Fault::internal("the tool panicked")));
            return;
        }
        let hung_up = Fault::new(FaultKind::Cancelled, "the client hung up");
        let Some((ticket, budget)) = self.running.take() else {
            end.finish(Err(&hung_up));
            return;
        };
        budget.cancel();
        ticket.at_end(move || {
            end.finish(if budget.had_effect() { Ok(0) } else { Err(&hung_up) });
        });
    }
}

/// Whether a call with these actions may change something.
pub(super) fn may_change(actions: &Actions) -> bool {
    actions.as_slice().iter().any(|action| action.verb == Verb::Write)
}

/// An action as an intent shows it.
struct Described {
    verb: Verb,
    target: String,
    denied: Option<&'static str>,
    temp: Option<String>,
}

/// What an intent says, owned, so that it can be written on another thread.
struct Line {
    call: CallId,
    principal: Arc<str>,
    tool: String,
    actions: Vec<Described>,
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
            let permit = decided.get(at).and_then(|decided| decided.as_ref().ok());
            Described {
                verb: action.verb,
                target: target.unwrap_or_else(|| action.target_shown()),
                denied,
                temp: permit.and_then(Permit::temp_name).map(str::to_owned),
            }
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

    fn write<T>(
        &self,
        audit: &AuditLog,
        how: fn(&AuditLog, &Intent<'_>) -> Result<T, AuditError>,
    ) -> Result<T, AuditError> {
        let actions: Vec<audit::Action<'_>> = self
            .actions
            .iter()
            .map(|action| audit::Action {
                verb: action.verb.name(),
                target: &action.target,
                denied: action.denied,
                temp: action.temp.as_deref(),
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

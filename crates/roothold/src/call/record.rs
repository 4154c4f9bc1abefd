//! The two audit records of a call, and the event at its end.

use std::sync::Arc;
use std::time::Instant;

use roothold_core::audit::{self, AuditError, AuditLog, CallId, Decision, Intent};
use roothold_core::{Action, Actions, Budget, Fault, FaultKind, Permit, Verb};

use super::admit::Ticket;
use super::{CallRequest, Decided, Engine};
use crate::telemetry::{CallFinished, Counted, Trace, What};

/// Keeps the promise of one outcome per intent, also when the call's future is dropped. The
/// outcome of a call that may change something comes after the work has ended, whoever waits.
pub(super) struct Record {
    /// `None` once it was handed to those who still work.
    end: Option<End>,
    /// Of a call that may change something, while it runs.
    running: Option<(Arc<Ticket>, Budget)>,
    /// Knows whether the call, or one that is a part of it, changed something.
    budget: Option<Budget>,
    panicked: bool,
}

/// What the end of a call needs.
struct End {
    engine: Arc<Engine>,
    /// The file that its intent stands in.
    log: Arc<AuditLog>,
    id: CallId,
    started: Instant,
    finished: CallFinished,
    open: bool,
    /// The server waits for it when it stops.
    _in_flight: Counted,
}

impl Record {
    /// # Errors
    /// Where nothing can be recorded yet.
    pub(super) fn new(
        engine: &Arc<Engine>,
        started: Instant,
        finished: CallFinished,
    ) -> Result<Self, Fault> {
        let log = engine.audit.current().map_err(unrecorded)?;
        let end = End {
            engine: Arc::clone(engine),
            id: log.next_call(),
            log,
            started,
            finished,
            open: false,
            _in_flight: engine.metrics.call_began(),
        };
        Ok(Self { end: Some(end), running: None, budget: None, panicked: false })
    }

    /// Says which budget the call runs under.
    pub(super) fn began(&mut self, budget: &Budget) {
        self.budget = Some(budget.clone());
    }

    /// Says who works on a call that may change something, and under which budget.
    pub(super) fn runs(&mut self, ticket: &Arc<Ticket>, budget: &Budget) {
        self.running = Some((Arc::clone(ticket), budget.clone()));
    }

    /// Notes that the answer ended at a limit of the call.
    pub(super) fn cut(&mut self) {
        if let Some(end) = &mut self.end {
            end.finished.cut();
        }
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
        trace: &Trace,
    ) -> Result<(), Fault> {
        let end = self.end()?;
        let listed = actions.as_slice();
        if !may_change(actions) {
            write(end, request, listed, decided, None, AuditLog::intent_read)?;
            end.open = true;
            return Ok(());
        }
        let announced = write(end, request, listed, decided, None, AuditLog::announce_write)?;
        // The line has its place, so an outcome is due, also if nobody waits for the disk.
        end.open = true;
        let log = Arc::clone(&end.log);
        let mut step = trace.step(|| What::Audit);
        // It waits for the disk, which an async thread must not.
        let durable = tokio::task::spawn_blocking(move || log.make_durable(&announced));
        let durable = durable.await.map_err(Fault::internal)?.map_err(unrecorded);
        step.end(durable.as_ref().err());
        durable
    }

    /// Records a call that never runs, and returns why.
    pub(super) fn refuse(
        &mut self,
        request: &CallRequest<'_>,
        actions: Option<&Actions>,
        fault: Fault,
    ) -> Fault {
        let rule = fault.rule().map(ToString::to_string);
        let rule = rule.as_deref().unwrap_or("arguments");
        self.deny(request, actions, rule).err().unwrap_or(fault)
    }

    /// Records a call that never runs, by the rule that refused it.
    pub(super) fn deny(
        &mut self,
        request: &CallRequest<'_>,
        actions: Option<&Actions>,
        rule: &str,
    ) -> Result<(), Fault> {
        let actions = actions.map_or(&[][..], Actions::as_slice);
        let end = self.end()?;
        write(end, request, actions, &[], Some(rule), AuditLog::intent_read)?;
        end.open = true;
        Ok(())
    }

    /// Records that the tool panicked, once nobody works for the call any more. One that panicked before
    /// it was decided is on record as refused.
    pub(super) fn panicked(mut self, request: &CallRequest<'_>) {
        self.panicked = true;
        if self.end.as_ref().is_some_and(|end| !end.open) {
            // Nothing can be told to whoever waits but that it failed.
            let _ = self.deny(request, None, "arguments");
        }
    }

    /// Records the end. Returns a fault if that was not possible, which says so if something was changed.
    pub(super) fn finish(&mut self, result: Result<usize, &Fault>) -> Option<Fault> {
        let error = self.end.as_mut()?.finish(result)?;
        let changed = self.budget.as_ref().is_some_and(Budget::had_effect);
        Some(if changed { changed_unrecorded(error) } else { unrecorded(error) })
    }
}

impl End {
    fn finish(&mut self, result: Result<usize, &Fault>) -> Option<AuditError> {
        self.finished.end(self.started.elapsed(), result);
        let open = std::mem::replace(&mut self.open, false);
        let recorded =
            if open { self.log.outcome(&self.finished.outcome(self.id)) } else { Ok(()) };
        self.finished.emit(&self.engine.metrics, result.err());
        recorded.err()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut end) = self.end.take().filter(|end| end.open) else { return };
        let panicked = self.panicked;
        let hung_up = || Fault::new(FaultKind::Cancelled, "the client hung up");
        let why = if panicked { super::panicked() } else { hung_up() };
        let Some((ticket, budget)) = self.running.take() else {
            end.finish(Err(&why));
            return;
        };
        budget.cancel();
        ticket.at_end(move || {
            end.finish(if budget.had_effect() && !panicked { Ok(0) } else { Err(&why) });
        });
    }
}

/// Whether a call with these actions may change something.
pub(super) fn may_change(actions: &Actions) -> bool {
    actions.as_slice().iter().any(|action| action.verb == Verb::Write)
}

/// Writes an intent. `refused_by` is the rule that refused the call; none, if it was allowed.
fn write<T>(
    end: &End,
    request: &CallRequest<'_>,
    actions: &[Action],
    decided: &[Decided],
    refused_by: Option<&str>,
    how: fn(&AuditLog, &Intent<'_>) -> Result<T, AuditError>,
) -> Result<T, Fault> {
    // A permit knows where a relative path leads; a denied action is recorded as it was asked for.
    let permit = |at: usize| decided.get(at).and_then(|decided: &Decided| decided.as_ref().ok());
    let target = |(at, action): (usize, &'_ Action)| -> String {
        permit(at).and_then(Permit::target_shown).unwrap_or_else(|| action.target_shown())
    };
    let targets: Vec<String> = actions.iter().enumerate().map(target).collect();
    let mut described = Vec::with_capacity(actions.len());
    for (at, (action, target)) in actions.iter().zip(&targets).enumerate() {
        let fault = decided.get(at).and_then(|decided: &Decided| decided.as_ref().err());
        described.push(audit::Action {
            verb: action.verb.name(),
            target,
            denied: fault.and_then(Fault::rule).map(|rule| rule.name),
            temp: permit(at).and_then(Permit::temp_name),
            statement: action.statement(),
        });
    }
    let intent = Intent {
        call: end.id,
        principal: request.principal.name(),
        tool: request.tool,
        actions: &described,
        decision: if refused_by.is_none() { Decision::Allow } else { Decision::Deny },
        rule: refused_by.unwrap_or("policy"),
        request_id: &request.request_id,
    };
    how(&end.log, &intent).map_err(unrecorded)
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

/// What was done is done: whoever reads only that the log is out of order would do it once more.
fn changed_unrecorded(error: AuditError) -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        "the call changed something, but its outcome could not be recorded, so its answer is withheld; \
         do not repeat it before you have looked at what is there now, and tell the operator that the \
         audit log cannot be written",
    )
    .with_source(error)
}

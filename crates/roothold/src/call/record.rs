//! The two audit records of a call, and the event at its end.

use std::time::Instant;

use roothold_core::audit::{self, CallId, Decision, Intent};
use roothold_core::{Action, Actions, Fault, FaultKind};

use super::{CallRequest, Decided, Engine};
use crate::telemetry::CallFinished;
use crate::tool::Answer;

/// Keeps the promise of one outcome per intent, also when the call's future is dropped.
pub(super) struct Record<'a> {
    engine: &'a Engine,
    id: CallId,
    started: Instant,
    finished: CallFinished,
    open: bool,
}

impl<'a> Record<'a> {
    pub(super) fn new(engine: &'a Engine, started: Instant, finished: CallFinished) -> Self {
        Self { engine, id: engine.audit.next_call(), started, finished, open: false }
    }

    pub(super) fn intent(
        &mut self,
        request: &CallRequest<'_>,
        decided: Option<(&Actions, &[Decided])>,
        decision: Result<(), (&str, Option<&str>)>,
    ) -> Result<(), Fault> {
        let (actions, decided) =
            decided.map_or((&[][..], &[][..]), |(actions, decided)| (actions.as_slice(), decided));
        // A permit knows where a relative path leads; a denied action is recorded as it was asked for.
        let target = |(at, action): (usize, &Action)| match decided.get(at) {
            Some(Ok(permit)) => permit.target_shown().unwrap_or_else(|| action.target_shown()),
            _ => action.target_shown(),
        };
        let targets: Vec<String> = actions.iter().enumerate().map(target).collect();
        let rule_of = |at: usize| decided.get(at)?.as_ref().err()?.rule().map(|rule| rule.name);
        let actions: Vec<audit::Action<'_>> = actions
            .iter()
            .zip(&targets)
            .enumerate()
            .map(|(at, (action, target))| audit::Action {
                verb: action.verb.name(),
                target,
                denied: rule_of(at),
            })
            .collect();
        let rule = match decision {
            Ok(()) => "policy".to_owned(),
            Err((rule, Some(detail))) => format!("{rule} {detail}"),
            Err((rule, None)) => rule.to_owned(),
        };
        let intent = Intent {
            call: self.id,
            principal: request.principal.name(),
            tool: request.tool,
            actions: &actions,
            decision: if decision.is_ok() { Decision::Allow } else { Decision::Deny },
            rule: &rule,
            request_id: &request.request_id,
        };
        self.engine.audit.intent_read(&intent).map_err(unrecorded)?;
        self.open = true;
        Ok(())
    }

    /// Records a call that never ran.
    pub(super) fn refuse(
        &mut self,
        request: &CallRequest<'_>,
        actions: Option<&Actions>,
        fault: Fault,
    ) -> Result<Answer, Fault> {
        let rule = match fault.rule() {
            Some(rule) => (rule.name, rule.detail.as_deref()),
            None => ("arguments", None),
        };
        self.intent(request, actions.map(|actions| (actions, &[][..])), Err(rule))?;
        Err(fault)
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
        if self.open {
            self.finish(Err(&Fault::new(FaultKind::Cancelled, "the client hung up")));
        }
    }
}

fn unrecorded(error: audit::AuditError) -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        "the audit log cannot be written, so no call is served; tell the operator",
    )
    .with_source(error)
}

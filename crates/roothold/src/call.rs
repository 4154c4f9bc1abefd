//! The choke point: every call of every tool, from every transport, goes through
//! [`Engine::call`], step by step, and nothing else runs a tool.
//!
//! Find the tool → parse its input into actions → ask policy → write the audit intent → admit →
//! run under cancellation and deadline → one [`CallFinished`] event, which is the audit
//! outcome, the metric and the log line.
//!
//! **Invariant**: as many intents as calls, and as many outcomes as intents, whatever happens.

mod admit;
mod arguments;
mod confirm;
mod progress;
mod record;
mod resumed;
mod running;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use roothold_core::handle::Sealer;
use roothold_core::{Actions, Budget, Fault, FaultKind, Permit, Policy, Principal, Roots};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::catalog::{Catalog, Entry};
use crate::config::Limits;
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::Datasets;
use crate::jobs::Jobs;
use crate::long::{AsJob, JobLink};
use crate::rights::{InForce, Rights};
use crate::telemetry::{CallFinished, Metrics, NamedCache, Trace, TraceFrom, Traces, What};
use crate::tool::{Answer, AnyTool, DatabaseUse, Pace, Permits};
use crate::walls::Walls;
use crate::watch::Hub;

pub(crate) use admit::Admission;
use admit::Ticket;
use arguments::{RESULT_BYTES_MIN, digest, page_arguments, whole_numbers};
pub(crate) use confirm::{
    CONFIRM, Confirmations, Dialogue, Question, RULE_CAPABILITIES, Said, visible,
};
pub(crate) use progress::ProgressSink;
pub use progress::{Progress, Teller};
use record::Record;
pub use resumed::Resumed;
pub use running::Call;

/// How long a call that may change something has to come to a safe state once it was told to
/// stop: it waits for a disk at most. After that its outcome no longer waits for it.
const SAFE_STATE_TIMEOUT: Duration = Duration::from_secs(10);

type Decided = Result<Permit, Fault>;

/// Everything that a call needs and that outlives it.
pub(crate) struct Engine {
    pub(crate) catalog: Catalog,
    pub(crate) rights: InForce,
    pub(crate) audit: Audit,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) limits: Limits,
    pub(crate) sealer: Sealer,
    pub(crate) admission: Admission,
    pub(crate) confirmations: Confirmations,
    /// Cancelled when the server no longer waits for what is running.
    pub(crate) stop: CancellationToken,
    /// Cancelled when what clients wait for is to end, so that they can still be told why; and with `stop`.
    pub(crate) cut: CancellationToken,
    pub(crate) walls: Walls,
    pub(crate) hub: Hub,
    /// The jobs, where a tool can make any.
    pub(crate) jobs: Option<Jobs>,
    #[cfg(feature = "datasets")]
    pub(crate) datasets: Datasets,
    pub(crate) databases: Databases,
}

/// One call as it comes from a transport.
pub(crate) struct CallRequest<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) request_id: Arc<str>,
    pub(crate) method: &'static str,
    pub(crate) tool: &'a str,
    pub(crate) arguments: Map<String, Value>,
    /// Cancelled when the client gives up or hangs up.
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) progress: Option<ProgressSink>,
    /// Whether the client takes a task for an answer.
    pub(crate) takes_tasks: bool,
    /// What its user can be asked, and what was said.
    pub(crate) dialogue: Dialogue,
    /// The call that this one is part of.
    pub(crate) within: Option<&'a Call>,
    /// The job that this call is a run of.
    pub(crate) job: Option<Arc<JobLink>>,
    /// The span that it comes from; of a part it is that of the whole.
    pub(crate) trace: TraceFrom,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// There is no tool of that name: an error of the protocol.
    UnknownTool,
    /// The tool answers with tasks only, and the client takes none: an error of the protocol.
    NeedsTasks,
    /// The tool panicked: an error of the protocol.
    Panicked,
    /// An error of the call, which the agent reads.
    Fault(Fault),
}

impl Engine {
    /// The figures of everything that is kept in memory for later calls, by the names of metrics.
    pub(crate) fn caches(&self) -> [NamedCache; 3] {
        let roots = self.roots();
        let (texts, index) = (roots.texts(), roots.index());
        [
            ("content", texts.contents.figures()),
            ("lines", texts.lines.figures()),
            ("index", index.figures()),
        ]
    }

    /// Drops what was kept for later calls and nobody asks for.
    pub(crate) fn drop_idle(&self) {
        let roots = self.roots();
        roots.texts().contents.drop_idle();
        roots.texts().lines.drop_idle();
        roots.index().drop_idle();
    }

    /// The roots, which are those of the start.
    fn roots(&self) -> Roots {
        self.rights.now().policy.roots().clone()
    }

    /// Whether a tool changes databases, for which a person may be asked.
    pub(crate) fn changes_databases(
        &self,
        rights: &Rights,
        principal: &Principal,
        tool: &str,
    ) -> bool {
        let changes = |entry: &Entry| entry.tool.databases() == Some(DatabaseUse::Writes);
        let made = || rights.sql_tools.find(principal, &rights.policy, tool);
        let built_in = self.catalog.get(tool);
        built_in.map_or_else(|| made().is_some_and(|made| changes(&made.entry)), changes)
    }

    /// Runs one call from beginning to end.
    ///
    /// # Cancellation
    /// Dropping the future cancels the call; its outcome is recorded all the same.
    pub(crate) async fn call(
        self: &Arc<Self>,
        mut request: CallRequest<'_>,
    ) -> Result<Answer, CallError> {
        let started = Instant::now();
        // The internal tools are reached by their own methods only.
        let is_reachable = |entry: &&Entry| {
            request.method == entry.tool.name() || !crate::resources::is_internal(request.tool)
        };
        let built_in = self.catalog.get(request.tool).filter(is_reachable);
        let rights = request.within.map_or_else(|| self.rights.now(), Call::rights);
        let made = match built_in {
            None => rights.sql_tools.find(request.principal, &rights.policy, request.tool),
            Some(_) => None,
        };
        let entry = built_in.or(made.as_ref().map(|made| &made.entry));
        let finished = CallFinished::new(&self.traces, &request, entry);
        let trace = finished.trace();
        let mut record = Record::new(self, started, finished).map_err(CallError::Fault)?;
        let Some(entry) = entry else {
            let recorded = record.deny(&request, None, "unknown_tool");
            let fault = recorded.err();
            let unknown = Fault::not_found("there is no tool of that name");
            record.finish(Err(fault.as_ref().unwrap_or(&unknown)));
            return Err(fault.map_or(CallError::UnknownTool, CallError::Fault));
        };
        if entry.tool.as_job() == AsJob::Only && !request.takes_tasks && request.job.is_none() {
            let recorded = record.deny(&request, None, "client_capabilities");
            let fault = recorded.err();
            let unsupported = Fault::new(FaultKind::Unsupported, "the client takes no tasks");
            record.finish(Err(fault.as_ref().unwrap_or(&unsupported)));
            return Err(fault.map_or(CallError::NeedsTasks, CallError::Fault));
        }
        let work = self.decide_and_run(&mut record, entry, &rights, &mut request, trace);
        // A transport's task that panics ends without an answer, and a batch with all of its parts.
        let Ok(result) = AssertUnwindSafe(work).catch_unwind().await else {
            record.panicked(&request);
            return Err(CallError::Panicked);
        };
        match result {
            Ok(answer) => {
                // An answer that could not be recorded is not given.
                record
                    .finish(Ok(answer.len()))
                    .map_or(Ok(answer), |fault| Err(CallError::Fault(fault)))
            }
            Err(fault) => {
                record.finish(Err(&fault));
                Err(CallError::Fault(fault))
            }
        }
    }

    async fn decide_and_run(
        self: &Arc<Self>,
        record: &mut Record,
        entry: &Entry,
        rights: &Arc<Rights>,
        request: &mut CallRequest<'_>,
        trace: Trace,
    ) -> Result<Answer, Fault> {
        let page = match page_arguments(entry, &mut request.arguments) {
            Ok(page) => page,
            Err(fault) => return Err(record.refuse(request, None, fault)),
        };
        whole_numbers(&mut request.arguments);
        let arguments_digest = digest(&request.arguments);
        let resumed = Resumed {
            sealer: &self.sealer,
            tool: entry.tool.name(),
            principal: request.principal.name(),
            cursor: page.0.as_deref(),
            arguments_digest,
            goes_on: request.dialogue.said.is_some(),
        };
        let kept = (entry.tool.as_job() != AsJob::Never).then(|| request.arguments.clone());
        let arguments = Value::Object(std::mem::take(&mut request.arguments));
        let parsed = match entry.tool.parse(arguments, &resumed) {
            Ok(parsed) => parsed,
            Err(fault) => return Err(record.refuse(request, None, fault)),
        };
        let permits = match decide(&rights.policy, request, entry, &parsed.actions, &trace) {
            Ok(permits) => permits,
            Err(fault) => return Err(record.refuse(request, Some(&parsed.actions), fault)),
        };
        record.allow(request, &parsed.actions, &permits, &trace).await?;
        let ticket = match (request.within, &request.job) {
            (Some(call), _) => Arc::clone(&call.ticket),
            (None, None) => Arc::new(self.admit(request, &trace).await?),
            (None, Some(_)) => Arc::new(self.admission.for_job(request.principal)),
        };
        let mut call = self.start(request, entry, rights, page, arguments_digest, ticket);
        call.arguments = kept.map(Arc::new);
        call.trace = trace;
        let budget = call.budget.clone();
        let changes = record::may_change(&parsed.actions);
        record.began(&budget);
        if changes {
            record.runs(&call.ticket, &budget);
        }
        let time = budget.deadline().saturating_duration_since(Instant::now());
        let work = (parsed.run)(call, Permits::new(permits));
        // A run of a job is given back, not ended.
        let end = if request.job.is_some() { &self.stop } else { &self.cut };
        let result = self.wait(work, budget.clone(), (request.cancel, end), changes).await;
        if budget.was_cut() {
            record.cut();
        }
        if let Some(whole) = request.within.filter(|_| budget.had_effect()) {
            whole.budget.note_effect();
        }
        result.map_err(|fault| match fault.kind() {
            FaultKind::Timeout => overdue(fault, entry.tool.as_ref(), time),
            _ => fault,
        })
    }

    /// Waits for a place among the running calls, unless the server stops meanwhile.
    async fn admit(&self, request: &CallRequest<'_>, trace: &Trace) -> Result<Ticket, Fault> {
        if let Some(ticket) = self.admission.at_once(request.principal) {
            return Ok(ticket);
        }
        let mut step = trace.step(|| What::Admission);
        let ticket = Box::pin(self.queue(request)).await;
        step.end(ticket.as_ref().err());
        ticket
    }

    async fn queue(&self, request: &CallRequest<'_>) -> Result<Ticket, Fault> {
        let _waits = self.metrics.call_waits();
        tokio::select! {
            biased;
            ticket = self.admission.admit(request.principal, request.cancel) => ticket,
            () = self.cut.cancelled() => Err(stopping()),
        }
    }

    fn start(
        self: &Arc<Self>,
        request: &CallRequest<'_>,
        entry: &Entry,
        rights: &Arc<Rights>,
        (cursor, bytes_max): (Option<Arc<str>>, Option<u64>),
        arguments_digest: [u8; 8],
        ticket: Arc<Ticket>,
    ) -> Call {
        let limits = &self.limits;
        let ceiling = request
            .within
            .map_or(limits.result_bytes_ceiling, |call| call.budget.result_bytes_max as u64);
        let wanted = bytes_max
            .unwrap_or(limits.result_bytes_default)
            .clamp(RESULT_BYTES_MIN, ceiling.max(RESULT_BYTES_MIN));
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let mut time = match (entry.tool.as_job(), &request.job) {
            (_, Some(job)) => job.remaining(),
            (AsJob::Never, None) => self.timeout(entry.tool.pace()),
            (AsJob::Maybe | AsJob::Only, None) => limits.long_call_timeout(),
        };
        // A part of a call ends before the whole, so that what the other parts found is not lost.
        if let Some(call) = request.within {
            let left = call.budget.deadline().saturating_duration_since(Instant::now());
            time = time.min(left * 9 / 10);
        }
        Call {
            engine: Arc::clone(self),
            rights: Arc::clone(rights),
            principal: request.principal.clone(),
            request_id: Arc::clone(&request.request_id),
            tool: entry.tool.name(),
            budget: Budget::new(wanted, limits.result_entries_max, time),
            cancel: request.cancel.clone(),
            progress: request.progress.clone(),
            cursor,
            arguments_digest,
            nested: request.within.is_some(),
            ticket,
            takes_tasks: request.takes_tasks,
            dialogue: request.dialogue.clone(),
            arguments: None,
            job: request.job.clone(),
            trace: Trace::default(),
        }
    }

    fn timeout(&self, pace: Pace) -> Duration {
        match pace {
            Pace::Call => self.limits.call_timeout(),
            #[cfg(feature = "datasets")]
            Pace::Query => self.datasets.query_timeout(),
            Pace::Database => self.databases.timeout(),
        }
    }

    /// Waits until the tool ends, the client gives up, time is up, or the server stops. What may
    /// change something is then told to stop and waited for, since the answer must say what became of it.
    async fn wait(
        &self,
        work: impl Future<Output = Result<Answer, Fault>>,
        budget: Budget,
        (cancel, end): (&CancellationToken, &CancellationToken),
        changes: bool,
    ) -> Result<Answer, Fault> {
        // Whatever ends the wait, blocking work must notice: also when this future is dropped.
        let stop_work = OnDrop(budget);
        tokio::pin!(work);
        // Many calls never wait: then nothing is armed.
        if let Poll::Ready(result) = futures::poll!(&mut work) {
            return result;
        }
        let deadline = tokio::time::Instant::from_std(stop_work.0.deadline());
        let why = tokio::select! {
            biased;
            result = &mut work => return result,
            () = cancel.cancelled() => Fault::new(FaultKind::Cancelled, "the call was cancelled"),
            () = tokio::time::sleep_until(deadline) => Fault::new(
                FaultKind::Timeout,
                "the call ran out of time; ask for less, such as a smaller directory or range",
            ),
            () = end.cancelled() => stopping(),
        };
        if !changes {
            return Err(why);
        }
        drop(stop_work);
        match tokio::time::timeout(SAFE_STATE_TIMEOUT, work).await {
            Ok(Err(fault)) if fault.kind() == FaultKind::Cancelled => Err(why),
            Ok(result) => result,
            Err(_) => Err(why),
        }
    }
}

fn decide(
    policy: &Policy,
    request: &CallRequest<'_>,
    entry: &Entry,
    actions: &Actions,
    trace: &Trace,
) -> Result<Vec<Decided>, Fault> {
    let mut step = trace.step(|| What::Policy);
    let decided = policy.decide_each(request.principal, entry.tool.granted_as(), actions);
    let decided = decided.and_then(|mut decided| {
        if !entry.tool.independent()
            && let Some(at) = decided.iter().position(Result::is_err)
            && let Err(fault) = decided.swap_remove(at)
        {
            return Err(fault);
        }
        Ok(decided)
    });
    step.end(decided.as_ref().err());
    decided
}

/// A call that ran out of `time`, in words that are about its tool.
fn overdue(fault: Fault, tool: &dyn AnyTool, time: Duration) -> Fault {
    let Some(hint) = tool.when_overdue() else { return fault };
    let what = format!("the call ran longer than {:.0} s; {hint}", time.as_secs_f64());
    Fault::new(FaultKind::Timeout, what)
}

impl Engine {
    /// Takes each lock that every call takes, none of which waits for a disk, and gives it back.
    pub(crate) fn touch(&self) {
        let _ = (self.audit.current().map(|log| log.figures()), self.databases.all());
    }
}

fn stopping() -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        "the server is stopping; try again, another replica will answer",
    )
}

/// What a tool that panicked came to.
pub(crate) fn panicked() -> Fault {
    Fault::internal("the tool panicked")
}

struct OnDrop(Budget);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

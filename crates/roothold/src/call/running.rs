//! What a running tool has of its call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use roothold_core::{Budget, Fault, Policy, Principal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::admit::Ticket;
use super::{CallError, CallRequest, Dialogue, Engine, Progress, ProgressSink, Resumed, Teller};
use crate::config::Limits;
use crate::databases::Databases;
use crate::long::JobLink;
use crate::rights::Rights;
use crate::telemetry::{Step, Trace, TraceFrom, What};
use crate::tool::Answer;
use crate::watch::Hub;

/// What a running tool has of its call.
#[derive(Clone)]
pub struct Call {
    pub(super) engine: Arc<Engine>,
    /// By which it was decided.
    pub(super) rights: Arc<Rights>,
    pub(super) principal: Principal,
    pub(super) request_id: Arc<str>,
    pub(super) tool: &'static str,
    pub(super) budget: Budget,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Option<ProgressSink>,
    pub(super) cursor: Option<Arc<str>>,
    pub(super) arguments_digest: [u8; 8],
    pub(super) nested: bool,
    pub(super) ticket: Arc<Ticket>,
    /// Whether the client takes a task for an answer.
    pub(super) takes_tasks: bool,
    /// What its user can be asked, and what was said.
    pub(super) dialogue: Dialogue,
    /// What the call was made with, of a tool whose calls may become jobs.
    pub(super) arguments: Option<Arc<Map<String, Value>>>,
    /// The job that it is a part of.
    pub(super) job: Option<Arc<JobLink>>,
    pub(super) trace: Trace,
}

impl Call {
    /// The caller.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The limits of this call.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The policy that the call was decided by.
    pub fn policy(&self) -> &Policy {
        &self.rights.policy
    }

    pub(super) fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights)
    }

    /// Cancelled when the client gives up or hangs up.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + '_ {
        self.cancel.cancelled()
    }

    /// Runs blocking work off the async threads.
    ///
    /// # Errors
    /// The work's own, or `Internal` if it panicked.
    ///
    /// # Cancellation
    /// The work gets a budget that it must ask once per entry or block; a dropped call fails
    /// that check. Its place among the admitted calls is held until the work has ended.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Budget) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let mut step = self.trace.step(|| What::Files);
        let (budget, ticket) = (self.budget.clone(), Arc::clone(&self.ticket));
        let metrics = &self.engine.metrics;
        let (thread, counted) =
            (ticket.thread(|| metrics.blocking_waits()).await?, metrics.blocking());
        let work = tokio::task::spawn_blocking(move || {
            let _held = (ticket, thread, counted);
            work(&budget)
        });
        let result = work.await.map_err(Fault::internal)?;
        step.end(result.as_ref().err());
        result
    }

    /// Does what takes neither waiting nor much time, from where the call is: a change of threads
    /// would cost more. `None` where it is not of that kind; then [`Self::blocking`] does it.
    pub fn at_once<T>(
        &self,
        work: impl FnOnce(&Budget) -> Option<Result<T, Fault>>,
    ) -> Option<Result<T, Fault>> {
        let mut step = self.trace.step(|| What::Files);
        let work = AssertUnwindSafe(|| work(&self.budget));
        let done = catch_unwind(work);
        let done = done.unwrap_or_else(|_| Some(Err(Fault::internal("work at once panicked"))));
        match &done {
            Some(result) => step.end(result.as_ref().err()),
            None => step.forget(),
        }
        done
    }

    /// Runs blocking work that says how far it is. Messages that come faster than the client takes
    /// them give way to newer ones, so that the work never waits for it.
    ///
    /// # Errors
    /// As [`Self::blocking`].
    ///
    /// # Cancellation
    /// As [`Self::blocking`].
    pub async fn blocking_with_progress<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Budget, &mut Teller) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let Some(sink) = &self.progress else {
            return self.blocking(move |budget| work(budget, &mut Teller::to_nobody())).await;
        };
        let (mut teller, news) = Teller::new();
        let work = self.blocking(move |budget| work(budget, &mut teller));
        let (result, ()) = tokio::join!(work, sink.follow(news));
        result
    }

    /// Tells the client how far the call is, if it asked to be told.
    ///
    /// # Cancellation
    /// Safe to drop; the message may then be lost.
    pub async fn progress(&self, progress: Progress) {
        if let Some(sink) = &self.progress {
            sink.send(progress).await;
        }
    }

    /// Where the page before this one ended, if the call carries a cursor.
    ///
    /// # Errors
    /// `Invalid`, if the cursor is not one of this principal for this tool with these arguments.
    pub fn resume<T: DeserializeOwned>(&self) -> Result<Option<T>, Fault> {
        self.resumed().position()
    }

    /// Seals where this page ends, for `next_cursor`.
    ///
    /// # Errors
    /// `Internal`, if it cannot be sealed.
    pub fn next_cursor<T: Serialize>(&self, position: &T) -> Result<String, Fault> {
        self.budget.note_cut();
        self.resumed().seal(position)
    }

    fn resumed(&self) -> Resumed<'_> {
        Resumed {
            sealer: &self.engine.sealer,
            tool: self.tool,
            principal: self.principal.name(),
            cursor: self.cursor.as_deref(),
            arguments_digest: self.arguments_digest,
            goes_on: self.dialogue.said.is_some(),
        }
    }

    /// Where in the trace what it does is.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The same call within one of its steps.
    pub(crate) fn within(&self, step: &Step) -> Self {
        Self { trace: step.trace(), ..self.clone() }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn tool(&self) -> &'static str {
        self.tool
    }

    pub(crate) fn takes_tasks(&self) -> bool {
        self.takes_tasks
    }

    pub(crate) fn arguments(&self) -> Option<&Arc<Map<String, Value>>> {
        self.arguments.as_ref()
    }

    pub(crate) fn job(&self) -> Option<&Arc<JobLink>> {
        self.job.as_ref()
    }

    #[cfg(feature = "datasets")]
    pub(crate) fn datasets(&self) -> &crate::datasets::Datasets {
        &self.engine.datasets
    }

    pub(crate) fn databases(&self) -> &Databases {
        &self.engine.databases
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.engine.hub
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.engine.limits
    }

    /// Whether a tool of this name changes files or databases.
    pub(crate) fn changes(&self, tool: &str) -> bool {
        let engine = &self.engine;
        engine.catalog.get(tool).is_some_and(|entry| entry.tool.writes_files())
            || engine.changes_databases(&self.rights, &self.principal, tool)
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    /// Runs another tool as a part of this call: decided and recorded by itself.
    pub(crate) async fn nested(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        bytes_max: usize,
    ) -> Result<Answer, CallError> {
        let mut within = self.clone();
        within.budget = self.budget.with_result_bytes_max(bytes_max);
        let request = CallRequest {
            principal: &self.principal,
            request_id: Arc::clone(&self.request_id),
            method: "tools/call",
            tool,
            arguments,
            cancel: &self.cancel,
            progress: None,
            takes_tasks: false,
            dialogue: Dialogue::default(),
            within: Some(&within),
            job: None,
            trace: TraceFrom::default(),
        };
        // A future that contains its own type must stand behind a pointer.
        Box::pin(self.engine.call(request)).await
    }
}

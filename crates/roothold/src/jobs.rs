//! Jobs: calls that go on after their answer, kept in a store that outlives this process and that
//! replicas share.
//!
//! A job is a call of a tool, with the arguments and in the name of whoever made it. A worker of any
//! replica makes it once more, by the one call path ([`work`]), and goes on from the last chunk that
//! was committed. Owners look at their jobs by the tools of `tools/jobs`, or as tasks of the protocol
//! ([`tasks`], [`listen`]).
//!
//! **Invariant**: a job is in the store before its id is given to anybody.

mod events;
mod found;
mod heads;
mod listen;
mod shown;
mod store;
mod tasks;
mod work;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roothold_core::{Fault, FaultKind, Principal, Scopes};
use roothold_edge::TraceParent;
use roothold_state::{Job, JobId, NewJob, StateStore as _, Whose};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::StartError;
use crate::call::{Call, Engine};
use crate::catalog::Catalog;
use crate::config::{self, Config, ConfigError};
use crate::long::{AsJob, no_jobs};
use crate::plain;
use crate::telemetry::{CallKind, TraceFrom};

pub(crate) use events::JobMetrics;
use events::JobSubmitted;
pub(crate) use found::{cancel, look_up};
pub(crate) use listen::tell;
pub(crate) use roothold_state::Store;
pub(crate) use shown::{
    Answered, JobShown, Progress, answered, shown, shown_to_manager, stored_partial, task,
};
pub(crate) use store::Place;
pub(crate) use tasks::{add, cancel_task, get_task, update_task};

/// How long workers have, once they are to stop, to give back what they hold.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much is kept of what a job is about, in bytes: a list of jobs has to have room for many.
const ABOUT_BYTES_MAX: usize = 512;

/// The beginning of a text, in so many bytes at most.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// The jobs of a server.
pub(crate) struct Jobs {
    settings: config::Jobs,
    place: Place,
    /// Whether the configuration names the place. The one by default is worth less than serving.
    is_named: bool,
    store: OnceLock<Arc<Store>>,
    opening: watch::Sender<Opening>,
    /// Set once workers run.
    working: OnceLock<()>,
    pub(crate) metrics: JobMetrics,
    workers: TaskTracker,
    /// Cancelled when the workers are to stop.
    drain: CancellationToken,
    /// By which the store knows this process's audit log.
    replica: String,
    heads: TaskTracker,
    /// Cancelled when the store is about to be closed.
    closing: CancellationToken,
}

/// How far the opening of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Nobody has begun it.
    Ahead,
    Running,
    /// The store is there, or it failed.
    Over,
}

/// What a job is stored with: the call that it is.
#[derive(Serialize, Deserialize)]
struct Input {
    /// The span of the call that it was, as `traceparent` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// The scopes of the caller's credential; none means all.
    scopes: Option<Vec<String>>,
    arguments: Map<String, Value>,
}

impl Input {
    fn of(
        principal: &Principal,
        arguments: Map<String, Value>,
        trace: Option<TraceParent>,
    ) -> Self {
        let scopes = match principal.scopes() {
            Scopes::All => None,
            Scopes::Only(list) => Some(list.iter().map(ToString::to_string).collect()),
        };
        Self { trace: trace.map(|span| span.to_string()), scopes, arguments }
    }

    /// Where in a trace it belongs, on whichever replica it runs.
    fn trace(&self, job: JobId) -> TraceFrom {
        let message = self.trace.as_ref().and_then(|text| TraceParent::parse(text.as_bytes()));
        TraceFrom { message, request: None, kind: CallKind::Job(job) }
    }

    /// Whose call it is.
    fn principal(&self, owner: &str) -> Principal {
        let scopes = self.scopes.as_ref().map_or(Scopes::All, |list| {
            Scopes::Only(list.iter().map(|scope| Arc::from(scope.as_str())).collect())
        });
        Principal::new(owner, scopes)
    }
}

impl Jobs {
    /// The jobs of a server with these tools; none, where no tool makes any.
    ///
    /// # Errors
    /// A [`ConfigError`] of `[state]`.
    pub(crate) fn new(config: &Config, catalog: &Catalog) -> Result<Option<Self>, ConfigError> {
        if !catalog.iter().any(|entry| entry.tool.as_job() != AsJob::Never) {
            return Ok(None);
        }
        Ok(Some(Self {
            settings: config.jobs.clone(),
            place: Place::of(config)?,
            is_named: config.state.dir.is_some() || config.state.postgres.is_some(),
            store: OnceLock::new(),
            opening: watch::Sender::new(Opening::Ahead),
            working: OnceLock::new(),
            metrics: JobMetrics::new(),
            workers: TaskTracker::new(),
            drain: CancellationToken::new(),
            replica: config.replica(),
            heads: TaskTracker::new(),
            closing: CancellationToken::new(),
        }))
    }

    pub(crate) fn settings(&self) -> &config::Jobs {
        &self.settings
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the configuration names the place.
    pub(crate) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Makes the directory for them; whether there are jobs at all: where nothing can be made in the
    /// place by default, the server does without.
    ///
    /// # Errors
    /// When the directory that the configuration names cannot be made.
    pub(crate) fn make_place(&self) -> Result<bool, StartError> {
        match self.place.make_directory() {
            Err(error) if !self.is_named => {
                tracing::warn!(%error, "there is no place for jobs: calls are not taken in as jobs");
                Ok(false)
            }
            made => made.map(|()| true),
        }
    }

    /// The store. Where it is being opened, this waits for it.
    ///
    /// # Errors
    /// `Unavailable`, before [`Self::begin`], and where it could not be opened.
    ///
    /// # Cancellation
    /// Safe to drop; the opening goes on.
    pub(crate) async fn store(&self) -> Result<Arc<Store>, Fault> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let mut opening = self.opening.subscribe();
        let ended = opening.wait_for(|opening| *opening != Opening::Running).await;
        let what = match ended.map(|opening| *opening) {
            Ok(Opening::Ahead) => "this process keeps no jobs; call a server that runs",
            _ => "the store of jobs could not be opened; tell the operator, the log says why",
        };
        let failed = || Fault::new(FaultKind::Unavailable, what);
        self.store.get().cloned().ok_or_else(failed)
    }

    /// Opens the store, and does nothing with it yet. Wants a runtime. A store in the place by default
    /// that cannot be opened is told in the log, once, and jobs are refused.
    ///
    /// # Errors
    /// Why the store that the configuration names cannot be opened, in one sentence with the key and
    /// the mend.
    pub(crate) async fn open(&self) -> Result<(), StartError> {
        let is_over = *self.opening.borrow() == Opening::Over;
        if self.store.get().is_some() || (is_over && !self.is_named) {
            return Ok(());
        }
        self.opening.send_replace(Opening::Running);
        let opened = self.place.open(&self.settings).await;
        let opened = opened.map(|store| drop(self.store.set(Arc::new(store))));
        self.opening.send_replace(Opening::Over);
        match opened {
            Err(error) if !self.is_named => {
                tracing::error!(%error, "the store of jobs could not be opened: jobs are refused");
                Ok(())
            }
            opened => opened,
        }
    }

    /// [`Self::open`], where the store is a database: that may well be what keeps a server from serving,
    /// as a file of its own hardly ever is.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_shared(&self) -> Result<(), StartError> {
        if self.place.directory().is_none() { self.open().await } else { Ok(()) }
    }

    /// Opens the store, unless it is open, and begins to work on jobs. Wants a runtime.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn begin(&self, engine: &Arc<Engine>) -> Result<(), StartError> {
        self.open().await?;
        if let Some(store) = self.store.get()
            && self.working.set(()).is_ok()
        {
            self.work_on(store, engine);
        }
        Ok(())
    }

    /// Whether a file that is the store by configuration can be opened as it is; none is made, nor is it
    /// brought up to date. A database is not asked. Wants a runtime.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn look(&self) -> Result<(), String> {
        if !self.is_named || self.place.directory().is_none() {
            return Ok(());
        }
        self.place.could_be_opened(&self.settings).await
    }

    /// The same beside what comes next, where that can be: a file that is ours alone is hardly ever
    /// what keeps a server from serving, and a database that others share may well be. Who needs the
    /// store waits for it.
    ///
    /// # Errors
    /// As [`Self::begin`], of a database.
    pub(crate) async fn begin_beside(&self, engine: &Arc<Engine>) -> Result<(), StartError> {
        if self.place.directory().is_none() {
            return self.begin(engine).await;
        }
        self.opening.send_replace(Opening::Running);
        let engine = Arc::clone(engine);
        self.workers.spawn(async move {
            let Some(jobs) = &engine.jobs else { return };
            if let Err(error) = jobs.begin(&engine).await {
                tracing::error!(%error, "the store of jobs could not be opened: jobs are refused");
            }
        });
        Ok(())
    }

    fn work_on(&self, store: &Arc<Store>, engine: &Arc<Engine>) {
        let store = Arc::clone(store);
        let slots = self.settings.running_max;
        tracing::info!(place = %self.place, slots, "jobs are kept");
        for slot in 0..slots {
            self.workers.spawn(work::worker(engine, Arc::clone(&store), slot, self.drain.clone()));
        }
        let (metrics, closing) = (self.metrics.clone(), self.closing.clone());
        let told = (Arc::clone(&store), metrics.clone());
        self.heads.spawn(heads::keep(Arc::clone(engine), self.replica.clone(), told, closing));
        let counting = work::count(Arc::clone(&store), metrics.clone(), self.drain.clone());
        self.workers.spawn(counting);
        self.workers.spawn(work::sweep(store, metrics, self.drain.clone()));
    }

    /// Has the workers give back what they hold, so that other replicas go on with it.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
        self.workers.close();
    }

    /// Waits until the workers have, and closes the store; whether that worked in time.
    pub(crate) async fn close(&self) -> bool {
        self.drain();
        let released = tokio::time::timeout(RELEASE_TIMEOUT, self.workers.wait()).await.is_ok();
        if !released {
            tracing::error!(
                "a worker still holds a job; another replica goes on with it when its lease is over"
            );
        }
        self.closing.cancel();
        self.heads.close();
        if tokio::time::timeout(RELEASE_TIMEOUT, self.heads.wait()).await.is_err() {
            tracing::error!("the state store does not take how far the audit log has come");
        }
        if let Some(store) = self.store.get() {
            store.close().await;
        }
        released
    }

    /// Takes in the call as a job, with what it is about. It is durable when this returns.
    pub(crate) async fn submit(&self, call: &Call, about: Option<String>) -> Result<Job, Fault> {
        let (store, principal) = (self.store().await?, call.principal());
        let arguments = call.arguments().ok_or_else(no_jobs)?;
        let input = Input::of(principal, (**arguments).clone(), call.trace().at());
        let new = NewJob {
            id: JobId::random()?,
            owner: principal.name().to_owned(),
            kind: call.tool().to_owned(),
            about: about.map(|about| cut(plain::line(&about), ABOUT_BYTES_MAX)),
            input: serde_json::to_vec(&input).map_err(Fault::internal)?,
            deadline: self.settings.deadline(),
            retention: self.settings.retention(),
            attempts_max: self.settings.attempts_max,
        };
        let id = new.id;
        store.submit(new).await?;
        let trace_id = call.trace().id();
        let submitted =
            JobSubmitted { job: id, tool: call.tool(), owner: principal.name(), trace_id };
        submitted.emit(&self.metrics);
        Ok(store.get(id, Whose::Of(principal.name())).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_made_once_more_in_the_name_and_with_the_scopes_of_who_made_it() {
        for principal in [
            Principal::local(),
            Principal::new("anna", Scopes::parse("files:read jobs:manage")),
            Principal::new("none", Scopes::parse("")),
        ] {
            let input = serde_json::to_vec(&Input::of(&principal, Map::new(), None)).unwrap();
            let input: Input = serde_json::from_slice(&input).unwrap();
            assert_eq!(input.principal(principal.name()), principal);
        }
    }
}

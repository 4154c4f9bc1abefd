//! From a configuration and tools to a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::audit::{AuditError, AuditOptions, Reads};
use roothold_core::wall::Reach;
use roothold_core::{Policy, PolicyError, RootError, Roots};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::call::{Admission, Confirmations, Engine};
use crate::catalog::Catalog;
use crate::config::{AuditReads, Cache, Config, ConfigError};
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::Known;
use crate::handler::Handler;
use crate::plan::Plan;
use crate::rights::{InForce, Rights};
use crate::telemetry::Metrics;
use crate::tool::Tool;
use crate::walls::{self, Walls};
use crate::watch::{self, Hub};
use crate::{resources, tools};

/// Why a server does not start; each says in one sentence which key is wrong and what to write.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A directory of the server's own.
    #[error("{0}")]
    Place(String),
    /// The audit log.
    #[error("audit.dir: {0}")]
    Audit(#[from] AuditError),
    /// The store of jobs.
    #[error("{0}")]
    State(String),
    /// A principal is granted something that does not exist.
    #[error("{0}")]
    Grant(String),
    /// The front.
    #[error("{0}")]
    Front(String),
    /// What is wrong with nothing that is configured, and may pass by itself: the store of jobs does
    /// not answer, somebody else has an address, a disk is full.
    #[error("{0}")]
    Unavailable(String),
}

/// A server that is ready to be served.
pub struct Roothold {
    pub(crate) config: Config,
    pub(crate) engine: Arc<Engine>,
    /// The addresses that `telemetry.listen` means.
    pub(crate) private: Vec<SocketAddr>,
}

/// Collects what a server is made of.
#[derive(Default)]
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    confine: bool,
    pub(crate) without_jobs: bool,
    reach: Reach,
    #[cfg(feature = "datasets")]
    pub(crate) datasets: Known,
    pub(crate) databases: Databases,
}

impl Roothold {
    /// A builder with the built-in tools.
    pub fn builder() -> Builder {
        let mut catalog = Catalog::default();
        #[cfg(feature = "datasets")]
        let datasets = Known::default();
        tools::add(&mut catalog);
        #[cfg(feature = "datasets")]
        tools::add_datasets(&mut catalog, &datasets);
        let databases = Databases::default();
        tools::add_databases(&mut catalog, &databases);
        tools::add_for_jobs(&mut catalog);
        resources::add(&mut catalog);
        watch::add(&mut catalog);
        Builder {
            catalog,
            #[cfg(feature = "datasets")]
            datasets,
            databases,
            ..Builder::default()
        }
    }

    /// The handler, for any transport of the SDK, or for `roothold_edge` in a program of your own.
    pub fn handler(&self) -> Handler {
        Handler { engine: Arc::clone(&self.engine) }
    }

    /// Opens the store of jobs and begins to work on them, where a tool makes any. [`Self::serve`] and
    /// [`Self::stdio`] do it by themselves; with a transport of your own, do it before you serve the
    /// [`Self::handler`], and call [`Self::end_jobs`] at the end. Wants a runtime.
    ///
    /// # Errors
    /// [`StartError::State`] or [`StartError::Unavailable`], when the store cannot be opened.
    pub async fn begin_jobs(&self) -> Result<(), StartError> {
        match &self.engine.jobs {
            Some(jobs) => jobs.begin(&self.engine).await,
            None => Ok(()),
        }
    }

    /// Gives back the jobs that are worked on here, so that another server goes on with them, and
    /// closes the store; whether that worked in time.
    pub async fn end_jobs(&self) -> bool {
        match &self.engine.jobs {
            Some(jobs) => jobs.close().await,
            None => true,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.engine.rights.now().policy.clone()
    }
}

impl Builder {
    /// Sets the configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a tool of your own. One with the name of a built-in tool takes its place.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.catalog.add(tool);
        tools::add_for_jobs(&mut self.catalog);
        self
    }

    /// Has [`Builder::build`] raise Landlock around the process, as `server.landlock` says: from
    /// then on nothing but the roots, the audit log and the configured files and ports can be
    /// opened, and no program be started. The command line does it for `serve`, `stdio` and `demo`.
    ///
    /// Build before the runtime: threads that run already would not be held, so that is refused.
    #[must_use]
    pub fn confine(mut self) -> Self {
        self.confine = true;
        self
    }

    /// Has no call become a job: nothing is kept, and no place for it is made.
    #[must_use]
    pub(crate) fn without_jobs(mut self) -> Self {
        self.without_jobs = true;
        self
    }

    /// Lets tools of your own reach more behind that wall, such as files or a database's port.
    #[must_use]
    pub fn reach(mut self, more: Reach) -> Self {
        self.reach = self.reach.and(more);
        self
    }

    /// The tools that this server would have, with the internal ones, which stand for methods.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Opens the roots and the audit log, and between them raises the wall, if it is asked for.
    ///
    /// # Errors
    /// A [`StartError`], for a configuration that is unsafe or cannot work.
    pub fn build(self) -> Result<Roothold, StartError> {
        let server = self.build_unrecorded()?;
        server.engine.audit.begin()?;
        Ok(server)
    }

    /// The same with an audit log that begins once the server is about to serve: a start that is refused
    /// until then leaves no trace in it.
    pub(crate) fn build_unrecorded(self) -> Result<Roothold, StartError> {
        let mut plan = self.plan()?;
        keep_in_memory(&self.config.cache, plan.policy.roots());
        plan.make_directories(self.confine)?;
        let walls = if self.confine {
            let reach = plan.reach(&self.config)?.and(self.reach);
            let walls = walls::raise_for_process(&self.config, plan.policy.roots(), &reach)?;
            if walls.stand() {
                let directories = walls::directories_read_again(&self.config);
                plan.databases.stay_within_reach(directories);
            }
            walls
        } else {
            Walls::found()
        };
        Ok(assembled(self.config, self.catalog, plan, walls))
    }
}

/// Has what is kept of files be as the configuration says.
fn keep_in_memory(cache: &Cache, roots: &Roots) {
    let (index, texts) = (roots.index(), roots.texts());
    let idle_max = Duration::from_secs(cache.idle_seconds);
    index.set_bytes_max(cache.index_bytes_max);
    index.set_idle_max(idle_max);
    texts.contents.set_bytes_max(cache.content_bytes_max);
    texts.contents.set_idle_max(idle_max);
    texts.lines.set_bytes_max(cache.lines_bytes_max);
    texts.lines.set_idle_max(idle_max);
}

fn audit_options(config: &Config) -> AuditOptions {
    AuditOptions {
        reads: match config.audit.reads {
            AuditReads::Written => Reads::Written,
            AuditReads::Queued => Reads::Queued,
        },
        replica: config.replica(),
        file_bytes_max: config.audit.file_bytes_max,
        ..AuditOptions::default()
    }
}

/// Puts the parts together.
fn assembled(config: Config, catalog: Catalog, plan: Plan, walls: Walls) -> Roothold {
    let has_sessions = config.server.legacy_sessions.is_some();
    // Without a file nothing is read again, and the tools of a start stay.
    let hub = Hub::new(&config.limits, has_sessions, config.file.is_some());
    let metrics = metrics(&config, &plan, &hub);
    let stop = CancellationToken::new();
    let engine = Engine {
        catalog,
        rights: InForce::new(Rights { policy: plan.policy, sql_tools: plan.sql_tools }),
        audit: Audit::ahead(plan.audit_dir, audit_options(&config)),
        metrics,
        traces: plan.traces,
        hub,
        jobs: plan.jobs,
        #[cfg(feature = "datasets")]
        datasets: plan.datasets,
        databases: plan.databases,
        sealer: plan.sealer,
        admission: Admission::new(&config.limits),
        confirmations: Confirmations::default(),
        limits: config.limits.clone(),
        cut: stop.child_token(),
        stop,
        walls,
    };
    Roothold { config, engine: Arc::new(engine), private: plan.private }
}

/// The metrics of all parts.
fn metrics(config: &Config, plan: &Plan, hub: &Hub) -> Metrics {
    let mut own = vec![("audit", plan.audit_dir.clone())];
    let state = plan.jobs.as_ref().and_then(|jobs| jobs.place().directory());
    own.extend(state.map(|dir| ("state", dir.into())));
    #[cfg(feature = "datasets")]
    own.extend(plan.datasets.spill_directory().map(|dir| ("spill", dir.into())));
    let metrics = Metrics::new(&config.limits, own);
    metrics.with(|registry| {
        hub.register(registry);
        if let Some(jobs) = &plan.jobs {
            jobs.metrics.register(registry);
        }
        #[cfg(feature = "datasets")]
        plan.datasets.metrics.register(registry);
        plan.databases.metrics().register(registry);
        plan.traces.register(registry);
    })
}

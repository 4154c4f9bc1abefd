//! From a configuration and tools to a server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::audit::{AuditError, AuditLog, AuditOptions, Reads};
use roothold_core::wall::Reach;
use roothold_core::{Policy, PolicyError, Root, RootError, Roots};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::call::{Admission, Confirmations, Engine};
use crate::catalog::Catalog;
use crate::config::{AuditReads, Config, ConfigError};
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::{Datasets, Known};
use crate::handler::Handler;
use crate::jobs::{Jobs, Place};
use crate::telemetry::{Metrics, Traces};
use crate::tool::Tool;
use crate::tools::SqlTools;
use crate::walls::{self, Walls};
use crate::watch::{self, Hub};
use crate::{grants, resources, serve, tools};

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
    config: Config,
    catalog: Catalog,
    confine: bool,
    without_jobs: bool,
    reach: Reach,
    #[cfg(feature = "datasets")]
    datasets: Known,
    databases: Databases,
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
    /// [`StartError::State`], when the store cannot be opened.
    pub async fn begin_jobs(&self) -> Result<(), StartError> {
        match &self.engine.jobs {
            Some(jobs) => jobs.begin(&self.engine).await.map_err(StartError::State),
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
    pub fn policy(&self) -> &Policy {
        &self.engine.policy
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
        self.config.check()?;
        grants::check(&self.config, &self.catalog)?;
        let policy = open_policy(&self.config)?;
        let (cache, index, texts) =
            (&self.config.cache, policy.roots().index(), policy.roots().texts());
        index.set_bytes_max(cache.index_bytes_max);
        texts.contents.set_bytes_max(cache.content_bytes_max);
        texts.lines.set_bytes_max(cache.lines_bytes_max);
        let idle_max = Duration::from_secs(cache.idle_seconds);
        index.set_idle_max(idle_max);
        texts.contents.set_idle_max(idle_max);
        texts.lines.set_idle_max(idle_max);
        let options = AuditOptions {
            reads: match self.config.audit.reads {
                AuditReads::Written => Reads::Written,
                AuditReads::Queued => Reads::Queued,
            },
            replica: self.config.replica(),
            ..AuditOptions::default()
        };
        let audit_dir = self.config.audit_dir()?;
        let jobs = if self.without_jobs { None } else { Jobs::new(&self.config, &self.catalog)? };
        #[cfg(feature = "datasets")]
        let datasets = self.datasets_of(&policy)?;
        let databases = self.databases;
        databases.set(&self.config.databases, &policy)?;
        let sql_tools = SqlTools::default();
        sql_tools.take(sql_tools.prepare(&self.config, &self.catalog, &databases)?);
        let traces = Traces::new(&self.config)?;
        // A name is looked up in files that are out of reach later.
        let private = serve::private_addresses(&self.config.telemetry.listen)?;
        let jobs = match jobs {
            Some(jobs) if !jobs.make_place()? => None,
            jobs => jobs,
        };
        let walls = if self.confine {
            AuditLog::make_directory(&audit_dir)?;
            let state = jobs.as_ref().map(Jobs::place);
            let reach = walls::reach(&self.config, Some(&audit_dir), &private)?.and(self.reach);
            let reach = reach.and(state.map(Place::reach).transpose()?.unwrap_or_default());
            #[cfg(feature = "datasets")]
            let reach = reach.and(datasets.reach());
            let reach = reach.and(databases.reach());
            let walls = walls::raise_for_process(&self.config, policy.roots(), &reach)?;
            if walls.stand() {
                databases.stay_within_reach(walls::directories_read_again(&self.config));
            }
            walls
        } else {
            Walls::found()
        };
        let audit = Audit::open(&audit_dir, options)?;
        refuse_served(&policy, "audit.dir", &audit_dir)?;
        if let Some(dir) = jobs.as_ref().and_then(|jobs| jobs.place().directory()) {
            refuse_served(&policy, "state.dir", dir)?;
        }
        let has_sessions = self.config.server.legacy_sessions.is_some();
        let hub = Hub::new(&self.config.limits, has_sessions, !self.config.databases.is_empty());
        #[cfg(feature = "datasets")]
        refuse_spill(&policy, &datasets)?;
        let mut own = vec![("audit", audit_dir.clone())];
        own.extend(
            jobs.as_ref()
                .and_then(|jobs| jobs.place().directory())
                .map(|dir| ("state", dir.into())),
        );
        #[cfg(feature = "datasets")]
        own.extend(datasets.spill_directory().map(|dir| ("spill", dir.into())));
        let metrics = Metrics::new(&self.config.limits, own);
        let metrics = metrics.with(|registry| hub.register(registry));
        let metrics = metrics.with(|registry| {
            if let Some(jobs) = &jobs {
                jobs.metrics.register(registry);
            }
        });
        #[cfg(feature = "datasets")]
        let metrics = metrics.with(|registry| datasets.metrics.register(registry));
        let metrics = metrics.with(|registry| databases.metrics().register(registry));
        let metrics = metrics.with(|registry| traces.register(registry));
        let stop = CancellationToken::new();
        let engine = Engine {
            catalog: self.catalog,
            policy,
            audit,
            metrics,
            traces,
            hub,
            jobs,
            #[cfg(feature = "datasets")]
            datasets,
            databases,
            sql_tools,
            sealer: self.config.sealer()?,
            admission: Admission::new(&self.config.limits),
            confirmations: Confirmations::default(),
            limits: self.config.limits.clone(),
            cut: stop.child_token(),
            stop,
            walls,
        };
        Ok(Roothold { config: self.config, engine: Arc::new(engine), private })
    }
}

#[cfg(feature = "datasets")]
impl Builder {
    fn datasets_of(&self, policy: &Policy) -> Result<Datasets, StartError> {
        let mut datasets = Datasets::new(&self.config, &self.datasets)?;
        datasets.check_places(policy.roots())?;
        policy.set_stores(datasets.store_rules())?;
        // Before it is made: nothing of ours is to be left in a root.
        refuse_spill(policy, &datasets)?;
        if self.confine {
            datasets.make_directory()?;
        }
        Ok(datasets)
    }
}

/// What queries do not hold in memory is nothing for callers: a directory that was chosen for it
/// must not be theirs, and the usual one is at least excluded.
#[cfg(feature = "datasets")]
pub(crate) fn refuse_spill(policy: &Policy, datasets: &Datasets) -> Result<(), StartError> {
    let Some(dir) = datasets.spill_directory() else { return Ok(()) };
    let key = "dataset_engine.spill_dir";
    if datasets.spill_is_configured()
        && let Some(root) = dir.ancestors().find_map(|above| policy.roots().containing(above))
    {
        let uri = root.uri();
        return Err(StartError::Front(format!(
            "{key}: lies below the root {uri}; name a directory outside every root"
        )));
    }
    refuse_served(policy, key, dir)
}

/// Below a root what is the server's own is excluded by the configuration; where it is the root
/// itself, nothing could be served, and everything that is kept there would be.
fn refuse_served(policy: &Policy, key: &str, own: &Path) -> Result<(), StartError> {
    let root_of = |dir: &Path| policy.roots().containing(dir).map(Root::uri);
    let Some(uri) = root_of(own) else { return Ok(()) };
    if own.parent().and_then(root_of) == Some(uri) {
        return Ok(());
    }
    Err(StartError::Front(format!(
        "{key}: is the directory of the root {uri}; name one outside every root"
    )))
}

/// Opens the roots and compiles the policy over them; touches nothing else.
pub(crate) fn open_policy(config: &Config) -> Result<Policy, StartError> {
    // A server of databases or stores alone has no files to serve.
    if config.roots.is_empty() && config.databases.is_empty() && config.stores.is_empty() {
        return Err(RootError::None.into());
    }
    let roots = Roots::open(&config.root_specs()?)?;
    let principals: Vec<_> =
        config.principals.iter().map(crate::config::PrincipalSection::spec).collect();
    Ok(Policy::new(roots, config.policy_spec(), &principals)?)
}

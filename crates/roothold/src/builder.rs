//! From a configuration and tools to a server.

use std::path::Path;
use std::sync::Arc;

use roothold_core::audit::{AuditError, AuditLog, AuditOptions, Reads};
use roothold_core::{Policy, PolicyError, Root, RootError, Roots};
use tokio_util::sync::CancellationToken;

use crate::call::{Admission, Engine};
use crate::catalog::Catalog;
use crate::config::{AuditReads, Config, ConfigError};
use crate::handler::Handler;
use crate::telemetry::Metrics;
use crate::tool::Tool;
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
    /// The audit log.
    #[error("audit.dir: {0}")]
    Audit(#[from] AuditError),
    /// The front.
    #[error("{0}")]
    Front(String),
}

/// A server that is ready to be served.
pub struct Roothold {
    pub(crate) config: Config,
    pub(crate) engine: Arc<Engine>,
}

/// Collects what a server is made of.
#[derive(Default)]
pub struct Builder {
    config: Config,
    catalog: Catalog,
}

impl Roothold {
    /// A builder with the built-in tools.
    pub fn builder() -> Builder {
        let mut catalog = Catalog::default();
        tools::add(&mut catalog);
        resources::add(&mut catalog);
        Builder { config: Config::default(), catalog }
    }

    /// The handler, for any transport of the SDK, or for `roothold_edge` in a program of your own.
    pub fn handler(&self) -> Handler {
        Handler { engine: Arc::clone(&self.engine) }
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
        self
    }

    /// The tools that this server would have, with the internal ones, which stand for methods.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Opens the roots and the audit log.
    ///
    /// # Errors
    /// A [`StartError`], for a configuration that is unsafe or cannot work.
    pub fn build(self) -> Result<Roothold, StartError> {
        self.config.check()?;
        let policy = open_policy(&self.config)?;
        let options = AuditOptions {
            reads: match self.config.audit.reads {
                AuditReads::Written => Reads::Written,
                AuditReads::Queued => Reads::Queued,
            },
            ..AuditOptions::default()
        };
        let audit_dir = self.config.audit_dir()?;
        let audit = AuditLog::open(&audit_dir, options)?;
        refuse_served(&policy, &audit_dir)?;
        let engine = Engine {
            catalog: self.catalog,
            policy,
            audit,
            metrics: Metrics::new(),
            sealer: self.config.sealer()?,
            admission: Admission::new(&self.config.limits),
            limits: self.config.limits.clone(),
            stop: CancellationToken::new(),
        };
        Ok(Roothold { config: self.config, engine: Arc::new(engine) })
    }
}

/// Below a root the audit log is excluded by the configuration; where it is the root itself,
/// nothing could be served, and everything that is recorded would be.
fn refuse_served(policy: &Policy, audit_dir: &Path) -> Result<(), StartError> {
    let root_of = |dir: &Path| policy.roots().containing(dir).map(Root::uri);
    let Some(uri) = root_of(audit_dir) else { return Ok(()) };
    if audit_dir.parent().and_then(root_of) == Some(uri) {
        return Ok(());
    }
    Err(StartError::Front(format!(
        "audit.dir: is the directory of the root {uri}; name one outside every root"
    )))
}

/// Opens the roots and compiles the policy over them; touches nothing else.
pub(crate) fn open_policy(config: &Config) -> Result<Policy, StartError> {
    let roots = Roots::open(&config.root_specs()?)?;
    let principals: Vec<_> =
        config.principals.iter().map(crate::config::PrincipalSection::spec).collect();
    Ok(Policy::new(roots, config.policy_spec(), &principals)?)
}

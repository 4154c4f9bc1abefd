//! Users' databases within the server: which are configured, what a name in an argument means for
//! policy and for the audit log, whether they can be used, and what changes on reload.
//!
//! Where none is configured there is an empty list here, and nothing else: no task, no memory.
//!
//! **Invariant**: a role is had by a permit only, and by one that the configuration in force decided; it is
//! the role of the principal for whom that was.

mod database;
mod events;
mod health;
mod needs;
mod reload;
mod turns;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use roothold_core::wall::Reach;
use roothold_core::{Action, DatabaseRule, Fault, FaultKind, Permit, Policy, Principal, Verb};
use roothold_databases::{Fingerprint, SourceKind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::StartError;
use crate::config::{ConfigError, DatabaseSection};

pub(crate) use database::{Database, Role};
pub(crate) use events::{DatabaseAsked, DatabaseMetrics};
pub(crate) use health::State;
use needs::Needs;
pub(crate) use reload::Reloaded;

/// The longest statement of any database, in bytes: one that is longer is refused before anybody
/// knows which database is meant.
const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Up to this length, in bytes, the time that a fingerprint takes tells nothing.
const STATEMENT_BYTES_SHORT: usize = 1_000;
/// What a call takes besides waiting for a connection and for its statement.
const SLACK: Duration = Duration::from_secs(5);
/// How long closing connections may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The databases of a server. Clones share them; the tools, which are made before there is a
/// configuration, hold one each.
#[derive(Clone, Default)]
pub(crate) struct Databases(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: RwLock<Kept>,
    metrics: DatabaseMetrics,
    /// What the wall lets through, where one stands.
    within: OnceLock<Needs>,
    /// Told when a database should be asked again.
    wake: Arc<Notify>,
    is_watched: AtomicBool,
    end: CancellationToken,
    tasks: TaskTracker,
}

/// The databases of one configuration.
#[derive(Default, Clone)]
struct Kept {
    /// The number that policy gave them.
    generation: u64,
    all: Arc<[Arc<Database>]>,
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().iter().map(|database| &database.section.name)).finish()
    }
}

impl Databases {
    /// Takes those of a configuration, and returns the policy that knows of them. Reads variables and
    /// files, so it must be done before the wall is raised; connects to nothing.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the database and the key.
    pub(crate) fn set(
        &self,
        sections: &[DatabaseSection],
        policy: &Policy,
    ) -> Result<Policy, StartError> {
        let all = self.made(sections, &[])?;
        Ok(self.put(all, policy))
    }

    /// The databases of sections; roles of `before` that mean the same are kept with their connections.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the database and the key.
    fn made(
        &self,
        sections: &[DatabaseSection],
        before: &[Arc<Database>],
    ) -> Result<Vec<Arc<Database>>, ConfigError> {
        let one = |section: &DatabaseSection| {
            let known = before.iter().find(|known| known.section.name == section.name);
            let known = known.map_or(&[][..], |known| known.roles());
            Database::made(section, known, &self.0.wake).map(Arc::new)
        };
        sections.iter().map(one).collect()
    }

    /// Lets calls know of other databases: those that the policy which it returns has decided.
    fn put(&self, all: Vec<Arc<Database>>, policy: &Policy) -> Policy {
        if is_same(&self.kept().all, &all) {
            return policy.clone();
        }
        let rules = all.iter().map(|database| rule(&database.section)).collect();
        let policy = policy.with_databases(rules);
        let mut kept = self.0.kept.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { generation: policy.generation(), all: all.into() };
        policy
    }

    fn kept(&self) -> Kept {
        self.0.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All, in the order of the configuration.
    pub(crate) fn all(&self) -> Arc<[Arc<Database>]> {
        self.kept().all
    }

    /// What asking a database would touch, with the statement's fingerprint for the audit log. It
    /// takes as long and tells as much whether there is a database of that name.
    ///
    /// # Errors
    /// `Invalid`, for a name or a statement that nothing can have.
    pub(crate) fn action(
        &self,
        verb: Verb,
        name: &str,
        sql: Option<&str>,
    ) -> Result<Action, Fault> {
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            return Err(Fault::invalid(
                "no database has such a name; list_databases shows those that there are",
            ));
        }
        if sql.is_some_and(|sql| sql.len() > STATEMENT_BYTES_MAX) {
            let what = format!("the statement is longer than {STATEMENT_BYTES_MAX} bytes");
            return Err(Fault::invalid(what));
        }
        let statement = sql.and_then(|sql| self.fingerprint(name, sql));
        Ok(Action::database(verb, name, statement))
    }

    /// The fingerprint of a statement in the SQL of a database. None where there is no database of that
    /// name, though it takes as long: what is a literal depends on whose SQL it is.
    fn fingerprint(&self, name: &str, sql: &str) -> Option<String> {
        let known = self.named(name).map(|database| database.kind());
        let kind = known.unwrap_or(SourceKind::Postgres);
        let found = if sql.len() <= STATEMENT_BYTES_SHORT {
            Some(Fingerprint::of(kind, sql))
        } else {
            // A long text may be one comment to one kind and a thousand words to another, so that the
            // time would tell whose SQL a database speaks that the caller must not know of.
            let each = SourceKind::ALL.map(|kind| (kind, Fingerprint::of(kind, sql)));
            each.into_iter().find(|(one, _)| *one == kind).map(|(_, found)| found)
        };
        let text = found.map(|Fingerprint { text, hash }| format!("{hash} {text}"));
        text.filter(|_| known.is_some())
    }

    /// The one that is configured by a name, if there is one: for what a call of it would be, not to
    /// be asked.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Database>> {
        self.all().iter().find(|database| database.section.name == name).cloned()
    }

    /// The role by which a permit's principal asks its database.
    ///
    /// # Errors
    /// `Conflict`, when the configuration changed since it was decided.
    pub(crate) fn of(&self, permit: &Permit) -> Result<Arc<Role>, Fault> {
        let permit = permit.of_database()?;
        let all = self.decided_by(permit.generation())?;
        let found = all.iter().find(|database| database.section.name == permit.name());
        let role = found.and_then(|database| database.role_of(permit.principal()));
        role.cloned().ok_or_else(changed)
    }

    /// Those that a principal may use, by the role that it has in each.
    ///
    /// # Errors
    /// `Conflict`, when the configuration is not that of the policy any more.
    pub(crate) fn usable(
        &self,
        policy: &Policy,
        principal: &Principal,
    ) -> Result<Vec<Arc<Role>>, Fault> {
        let all = self.decided_by(policy.generation())?;
        let usable = all.iter().filter(|one| policy.may_use_database(principal, &one.section.name));
        Ok(usable.filter_map(|one| one.role_of(principal.name()).cloned()).collect())
    }

    /// All, as long as they are those that a policy has decided on.
    fn decided_by(&self, generation: u64) -> Result<Arc<[Arc<Database>]>, Fault> {
        let kept = self.kept();
        if kept.generation == generation { Ok(kept.all) } else { Err(changed()) }
    }

    /// How long a call may take, whichever database it asks; each bounds its own besides.
    pub(crate) fn timeout(&self) -> Duration {
        self.all().iter().map(|database| database.timeout()).max().unwrap_or_default() + SLACK
    }

    pub(crate) fn metrics(&self) -> &DatabaseMetrics {
        &self.0.metrics
    }

    /// What must be within reach behind the wall.
    pub(crate) fn reach(&self) -> Reach {
        let all = self.all();
        if all.is_empty() { Reach::default() } else { Needs::of_all(&all).reach() }
    }

    /// Has later configurations keep to what is within reach now: what those of now need, and the
    /// directories that the server reads in any case.
    pub(crate) fn stay_within_reach(&self, directories: BTreeSet<PathBuf>) {
        // A server is built once, so nothing was set before.
        let _ = self.0.within.set(Needs::of_all(&self.all()).and_read(directories));
    }

    /// Whether every database that is required can be used.
    pub(crate) fn required_are_ready(&self) -> bool {
        let all = self.all();
        let mut required = all.iter().filter(|database| database.section.required);
        required.all(|database| database.state() == State::Ready)
    }

    /// Whether every database that is required can be used by each of its roles: what nobody is kept
    /// waiting for may be wanted in whole.
    pub(crate) fn required_are_whole(&self) -> bool {
        let all = self.all();
        let required = all.iter().filter(|database| database.section.required);
        let mut roles = required.flat_map(|database| database.roles());
        roles.all(|role| role.health.state() == State::Ready)
    }

    /// Takes what pools and databases are at over into the metrics.
    pub(crate) fn observe(&self) {
        self.0.metrics.observe(&self.all());
    }

    /// Closes every connection; nothing can be asked afterwards.
    pub(crate) async fn close(&self) {
        self.0.end.cancel();
        let all = self.all();
        let roles = all.iter().flat_map(|database| database.roles());
        let closing = futures::future::join_all(roles.map(|role| role.source.close()));
        self.0.tasks.close();
        let closed = async {
            closing.await;
            self.0.tasks.wait().await;
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("connections to databases did not close in time");
        }
    }
}

/// Whether they mean the same, by the same roles: then what was decided on them is good still.
fn is_same(before: &[Arc<Database>], after: &[Arc<Database>]) -> bool {
    let same_roles = |one: &Database, other: &Database| {
        let mut pairs = one.roles().iter().zip(other.roles());
        one.roles().len() == other.roles().len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    };
    let mut pairs = before.iter().zip(after);
    before.len() == after.len()
        && pairs.all(|(one, other)| one.section == other.section && same_roles(one, other))
}

fn changed() -> Fault {
    let what = "the configuration of the databases changed just now; try again";
    Fault::new(FaultKind::Conflict, what)
}

/// What policy knows of a database.
fn rule(section: &DatabaseSection) -> DatabaseRule {
    DatabaseRule {
        name: section.name.clone(),
        writable: section.access == crate::config::DatabaseAccess::Write,
        principals: section.admitted(),
    }
}

#[cfg(test)]
mod tests;

//! A database, and the roles by which it is asked: a login each, with connections, findings and a
//! health of its own.
//!
//! **Invariant**: who has a role of their own is asked for by no other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::Fault;
use roothold_databases::{Source, SourceKind};
use tokio::sync::Notify;

use super::State;
use super::health::{self, Health};
use super::turns::{Place, Turns};
use crate::call::Call;
use crate::config::{ConfigError, DatabaseSection, resolve_database};

/// A database that is configured.
pub(crate) struct Database {
    pub(crate) section: DatabaseSection,
    /// At least one; the one that belongs to nobody is the first.
    roles: Vec<Arc<Role>>,
}

/// Whom the server is to a database for one principal, or for all who have no role of their own.
pub(crate) struct Role {
    /// The database as it is for the role.
    pub(crate) section: DatabaseSection,
    /// Whose it is.
    principal: Option<String>,
    pub(crate) source: Source,
    pub(crate) health: Health,
    turns: Turns,
    /// Over the connection string and the certificates.
    secrets: [u8; 32],
    /// Told when it should be asked again.
    wake: Arc<Notify>,
}

/// A call's turn with a database.
pub(crate) struct Turn<'a> {
    _trial: health::Turn<'a>,
    _place: Place,
}

impl Database {
    /// The database of a section. Those roles of `known` that mean the same are kept with their
    /// connections.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the database, the role and the key.
    pub(super) fn made(
        section: &DatabaseSection,
        known: &[Arc<Role>],
        wake: &Arc<Notify>,
    ) -> Result<Self, ConfigError> {
        let one = |(principal, section): (Option<String>, DatabaseSection)| {
            let resolved = resolve_database(&section, principal.as_deref())?;
            let is_same = |role: &&Arc<Role>| {
                role.principal == principal
                    && role.section == section
                    && role.secrets == resolved.secrets
            };
            if let Some(role) = known.iter().find(is_same) {
                return Ok(Arc::clone(role));
            }
            let source = Source::new(resolved.spec).map_err(|error| ConfigError::Value {
                key: "databases".to_owned(),
                reason: match &principal {
                    Some(name) => format!("roles: `{}`: {error}", name.escape_debug()),
                    None => error.to_string(),
                },
            })?;
            Ok(Arc::new(Role {
                turns: Turns::new(section.pool_size),
                section,
                principal,
                source,
                health: Health::default(),
                secrets: resolved.secrets,
                wake: Arc::clone(wake),
            }))
        };
        let roles = section.by_role().into_iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self { section: section.clone(), roles })
    }

    pub(crate) fn kind(&self) -> SourceKind {
        self.section.kind.source_kind()
    }

    /// Its roles; the one that belongs to nobody, if there is one, is the first.
    pub(crate) fn roles(&self) -> &[Arc<Role>] {
        &self.roles
    }

    /// The role by which a principal asks it.
    pub(super) fn role_of(&self, principal: &str) -> Option<&Arc<Role>> {
        let own = self.roles.iter().find(|role| role.principal() == Some(principal));
        own.or(self.shared())
    }

    /// The role of all who have none of their own.
    fn shared(&self) -> Option<&Arc<Role>> {
        self.roles.first().filter(|role| role.principal.is_none())
    }

    /// What is known of it: by the role that belongs to nobody; where there is none, by the one that is
    /// best off, since what is wrong with one person's role is no outage of the others.
    pub(crate) fn state(&self) -> State {
        if let Some(shared) = self.shared() {
            return shared.health.state();
        }
        let states = || self.roles.iter().map(|role| role.health.state());
        let best = [State::Ready, State::Unasked, State::Down];
        best.into_iter().find(|state| states().any(|is| is == *state)).unwrap_or(State::Disabled)
    }

    /// The role that tells whether one that is required can be used, which is asked again and again.
    pub(super) fn watched(&self) -> Option<&Arc<Role>> {
        if !self.section.required {
            return None;
        }
        let is_ready = |role: &&Arc<Role>| role.health.state() == State::Ready;
        self.shared().or_else(|| self.roles.iter().find(is_ready))
    }

    /// How long a call of it may take.
    pub(super) fn timeout(&self) -> Duration {
        let longest = |role: &Arc<Role>| {
            let limits = &role.source.spec().limits;
            limits.time + limits.wait
        };
        self.roles.iter().map(longest).max().unwrap_or_default()
    }
}

impl Role {
    pub(crate) fn kind(&self) -> SourceKind {
        self.section.kind.source_kind()
    }

    /// Whose it is; `None` where it is that of all who have none of their own.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// What it is to its database and where that is: the same for as long as both are, in every process,
    /// and of no use to anybody who sees it.
    pub(crate) fn identity(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for byte in self.secrets {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// A call's turn with the database, which it keeps until it was answered. Principals take turns.
    ///
    /// # Errors
    /// `Unavailable`, for one that does not answer and is being tried by another call; `Busy`, when all
    /// connections are in use for too long; `Cancelled`.
    ///
    /// # Cancellation
    /// Dropped, it waits no longer.
    pub(crate) async fn turn(&self, call: &Call) -> Result<Turn<'_>, Fault> {
        let wait = self.source.spec().limits.wait;
        let place = self.turns.take(call.principal().name(), wait, call.budget()).await?;
        let trial = self.health.turn()?;
        if trial.is_trial() {
            // What the call asks may take long; whether the database is back shall not.
            self.health.suspect();
            self.wake.notify_one();
        }
        Ok(Turn { _trial: trial, _place: place })
    }

    /// How many calls wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// Remembers what an answer says about the database itself.
    pub(crate) fn learn<T>(&self, result: &Result<T, Fault>) {
        if self.health.learn_of_call(self, result.as_ref().err()) {
            self.wake.notify_one();
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.section.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Role");
        debug.field("database", &self.section.name).field("principal", &self.principal);
        debug.finish_non_exhaustive()
    }
}

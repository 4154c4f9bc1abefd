//! Who may use which of the users' databases.
//!
//! **Invariant**: a database that is not there and one that is somebody else's are one denial.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::{DatabasePermit, Policy};
use crate::action::{DatabaseTarget, Verb};
use crate::fault::{Fault, Rule};
use crate::principal::Principal;

/// The scope by which databases are read.
pub(super) const SCOPE_READ: &str = "databases:read";
/// The scope by which they are changed.
pub(super) const SCOPE_WRITE: &str = "databases:write";

/// One database, as policy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRule {
    /// The name by which callers know it.
    pub name: String,
    /// Whether anything in it can be changed.
    pub writable: bool,
    /// Who may use it, by name; `None` is everyone who may use databases.
    pub principals: Option<BTreeSet<String>>,
}

impl DatabaseRule {
    fn admits(&self, principal: &Principal) -> bool {
        self.principals.as_ref().is_none_or(|names| names.contains(principal.name()))
    }
}

/// All databases of one configuration.
#[derive(Debug, Default)]
pub(super) struct DatabaseRules {
    generation: u64,
    rules: Vec<DatabaseRule>,
}

/// The scope that a verb needs on a database.
pub(super) fn scope_of(verb: Verb) -> &'static str {
    if verb == Verb::Write { SCOPE_WRITE } else { SCOPE_READ }
}

impl DatabaseRules {
    fn find(&self, principal: &Principal, name: &str) -> Option<&DatabaseRule> {
        self.rules.iter().find(|rule| rule.name == name && rule.admits(principal))
    }

    pub(super) fn decide(
        &self,
        principal: &Principal,
        verb: Verb,
        target: &DatabaseTarget,
    ) -> Result<DatabasePermit, Fault> {
        let deny = |name, hint: &str| Err(Fault::denied(Rule { name, detail: None }, hint));
        let Some(rule) = self.find(principal, &target.name) else {
            let hint =
                "there is no database of that name for you; list_databases shows those that are";
            return deny("databases", hint);
        };
        if verb == Verb::Write && !rule.writable {
            return deny("access", "this database is only read; query_database reads from it");
        }
        Ok(DatabasePermit { name: rule.name.clone(), generation: self.generation })
    }
}

impl Policy {
    pub(super) fn database_rules(&self) -> Arc<DatabaseRules> {
        let rules = self.0.databases.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// Takes other databases instead of those that were there; which ones they are is told by the
    /// number that permits from then on have.
    pub fn set_databases(&self, rules: Vec<DatabaseRule>) -> u64 {
        let mut kept = self.0.databases.write().unwrap_or_else(PoisonError::into_inner);
        let generation = kept.generation + 1;
        *kept = Arc::new(DatabaseRules { generation, rules });
        generation
    }

    /// Whether `principal` may use the database, with a credential that has the scopes. For lists: a
    /// call is decided by [`Self::decide`].
    pub fn may_use_database(&self, principal: &Principal, name: &str) -> bool {
        self.grants_scope(principal, SCOPE_READ)
            && self.database_rules().find(principal, name).is_some()
    }

    /// Whether there is a database that `principal` may use, or, if it is to be changed, one that
    /// can be. For lists of tools.
    pub fn may_use_some_database(&self, principal: &Principal, writes: bool) -> bool {
        let scope = if writes { SCOPE_WRITE } else { SCOPE_READ };
        let rules = self.database_rules();
        let mut fitting = rules.rules.iter().filter(|rule| rule.writable || !writes);
        fitting.any(|rule| rule.admits(principal)) && self.grants_scope(principal, scope)
    }

    /// Whether the configuration grants `principal` a scope, whatever the credential says.
    fn grants_scope(&self, principal: &Principal, scope: &str) -> bool {
        self.grant(principal).is_ok_and(|grant| grant.is_none_or(|grant| grant.allows_scope(scope)))
    }
}

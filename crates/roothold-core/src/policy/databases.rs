//! Who may use which of the users' databases.
//!
//! **Invariant**: a database that is not there and one that is somebody else's are one denial.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{DatabasePermit, Inner, Policy};
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

/// Whether a verb needs the right to change a database. To use it is to ask whether a change may be
/// made: that wants the same right, and changes nothing.
fn changes(verb: Verb) -> bool {
    matches!(verb, Verb::Write | Verb::Use)
}

/// The scope that a verb needs on a database.
pub(super) fn scope_of(verb: Verb) -> &'static str {
    if changes(verb) { SCOPE_WRITE } else { SCOPE_READ }
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
        if changes(verb) && !rule.writable {
            return deny("access", "this database is only read; query_database reads from it");
        }
        Ok(DatabasePermit {
            name: rule.name.clone(),
            generation: self.generation,
            principal: principal.name().to_owned(),
        })
    }
}

impl Policy {
    /// The same policy with other databases; which ones they are is told by the number that its
    /// permits have.
    #[must_use]
    pub fn with_databases(&self, rules: Vec<DatabaseRule>) -> Self {
        let databases = DatabaseRules { generation: self.generation() + 1, rules };
        Self(Arc::new(Inner { databases: Arc::new(databases), ..Inner::clone(&self.0) }))
    }

    /// The number of its databases.
    pub fn generation(&self) -> u64 {
        self.0.databases.generation
    }

    /// Whether `principal` may use the database, with a credential that has the scopes. For lists: a
    /// call is decided by [`Self::decide`].
    pub fn may_use_database(&self, principal: &Principal, name: &str) -> bool {
        self.grants_scope(principal, SCOPE_READ) && self.0.databases.find(principal, name).is_some()
    }

    /// Whether `principal` may use the database with its credential, or, if it is to be changed, change
    /// it. For lists of tools.
    pub fn may_use_for(&self, principal: &Principal, name: &str, writes: bool) -> bool {
        let scope = if writes { SCOPE_WRITE } else { SCOPE_READ };
        self.grants_scope(principal, scope)
            && principal.scopes().contains(scope)
            && self.0.databases.find(principal, name).is_some_and(|rule| rule.writable || !writes)
    }

    /// Whether there is a database that `principal` may use with its credential, or, if it is to be
    /// changed, one that can be. For lists of tools.
    pub fn may_use_some_database(&self, principal: &Principal, writes: bool) -> bool {
        let scope = if writes { SCOPE_WRITE } else { SCOPE_READ };
        let mut fitting = self.0.databases.rules.iter().filter(|rule| rule.writable || !writes);
        fitting.any(|rule| rule.admits(principal))
            && principal.scopes().contains(scope)
            && self.grants_scope(principal, scope)
    }

    /// Whether the configuration grants `principal` a scope, whatever the credential says.
    pub(super) fn grants_scope(&self, principal: &Principal, scope: &str) -> bool {
        self.grant(principal).is_ok_and(|grant| grant.is_none_or(|grant| grant.allows_scope(scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, Actions};
    use crate::fault::FaultKind;
    use crate::policy::{PolicySpec, PrincipalSpec};
    use crate::{Roots, Scopes};

    fn rule(name: &str, writable: bool, principals: Option<&[&str]>) -> DatabaseRule {
        let principals =
            principals.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        DatabaseRule { name: name.to_owned(), writable, principals }
    }

    fn policy(principals: &[PrincipalSpec]) -> Policy {
        let roots = Roots::open(&[]).unwrap();
        let policy = Policy::new(roots, PolicySpec::default(), principals).unwrap();
        policy
            .with_databases(vec![rule("shop", false, None), rule("ledger", true, Some(&["anna"]))])
    }

    fn decided(policy: &Policy, who: &Principal, verb: Verb, name: &str) -> Result<(), Fault> {
        let actions = Actions::one(Action::database(verb, name, None));
        let permits = policy.decide(who, "query_database", &actions)?;
        let permit = permits[0].of_database().unwrap();
        assert_eq!((permit.name(), permit.principal()), (name, who.name()));
        Ok(())
    }

    #[test]
    fn a_database_of_others_is_one_that_is_not_there() {
        let policy = policy(&[]);
        let (anna, bob) = (Principal::new("anna", Scopes::All), Principal::new("bob", Scopes::All));
        decided(&policy, &anna, Verb::Read, "ledger").unwrap();
        decided(&policy, &bob, Verb::Read, "shop").unwrap();
        let of_others = decided(&policy, &bob, Verb::Read, "ledger").unwrap_err();
        for verb in [Verb::Read, Verb::Write] {
            for name in ["ledger", "nothing", "SHOP", "", "shop "] {
                let fault = decided(&policy, &bob, verb, name).unwrap_err();
                assert_eq!(fault.kind(), FaultKind::Denied);
                assert_eq!(fault.public(), of_others.public(), "{name}");
            }
        }
        assert!(!policy.may_use_database(&bob, "ledger"));
        assert!(policy.may_use_database(&anna, "ledger"));
        assert!(policy.may_use_some_database(&bob, false));
        assert!(!policy.may_use_some_database(&bob, true));
        assert!(policy.may_use_some_database(&anna, true));
    }

    #[test]
    fn only_what_can_be_changed_is_changed_and_each_has_its_scope() {
        let policy = policy(&[]);
        let only = |scopes: &str| Principal::new("anna", Scopes::parse(scopes));
        let fault = decided(&policy, &only("databases:write"), Verb::Write, "shop").unwrap_err();
        assert_eq!(fault.rule().unwrap().name, "access");
        decided(&policy, &only("databases:write"), Verb::Write, "ledger").unwrap();
        for (scopes, verb, missing) in [
            ("databases:read", Verb::Write, "databases:write"),
            ("databases:read", Verb::Use, "databases:write"),
            ("databases:write", Verb::Read, "databases:read"),
            ("files:read datasets:read", Verb::Read, "databases:read"),
        ] {
            // The same for one that is not there: who lacks the scope learns nothing of names.
            for name in ["ledger", "nothing"] {
                let fault = decided(&policy, &only(scopes), verb, name).unwrap_err();
                assert_eq!(fault.missing_scopes(), Some(missing));
            }
        }
    }

    #[test]
    fn who_may_not_change_a_database_may_not_ask_either() {
        let policy = policy(&[]);
        let (anna, bob) = (Principal::new("anna", Scopes::All), Principal::new("bob", Scopes::All));
        decided(&policy, &anna, Verb::Use, "ledger").unwrap();
        for (who, name) in [(&anna, "shop"), (&bob, "ledger"), (&bob, "shop"), (&anna, "nothing")] {
            let [asking, changing] = [Verb::Use, Verb::Write]
                .map(|verb| decided(&policy, who, verb, name).unwrap_err().public().to_owned());
            assert_eq!(asking, changing, "{name}");
        }
        let reads = Principal::new("anna", Scopes::parse("databases:read"));
        for (who, name, reads_it, changes_it) in [
            (&anna, "ledger", true, true),
            (&anna, "shop", true, false),
            (&bob, "ledger", false, false),
            (&reads, "ledger", true, false),
            (&anna, "nothing", false, false),
        ] {
            assert_eq!(policy.may_use_for(who, name, false), reads_it, "{name}");
            assert_eq!(policy.may_use_for(who, name, true), changes_it, "{name}");
        }
    }

    #[test]
    fn a_grant_without_the_scope_hides_databases_from_lists() {
        let spec = |name: &str, scope: &str| PrincipalSpec {
            name: name.to_owned(),
            scopes: Some(vec![scope.to_owned()]),
            ..PrincipalSpec::default()
        };
        let policy = policy(&[spec("anna", "files:read"), spec("bob", "databases:read")]);
        let (anna, bob) = (Principal::new("anna", Scopes::All), Principal::new("bob", Scopes::All));
        assert!(!policy.may_use_database(&anna, "shop"));
        assert!(!policy.may_use_some_database(&anna, false));
        assert!(policy.may_use_database(&bob, "shop"));
        let nobody = Principal::new("carol", Scopes::All);
        assert!(!policy.may_use_some_database(&nobody, false));
    }

    #[test]
    fn a_permit_says_which_configuration_it_is_from() {
        let policy = policy(&[]);
        let anna = Principal::new("anna", Scopes::All);
        let actions = Actions::one(Action::database(Verb::Read, "shop", None));
        let generation = |policy: &Policy| {
            let permits = policy.decide(&anna, "query_database", &actions).unwrap();
            permits[0].of_database().unwrap().generation()
        };
        let before = generation(&policy);
        let other = policy.with_databases(vec![rule("shop", false, None)]);
        assert_eq!((other.generation(), generation(&other)), (before + 1, before + 1));
        assert_eq!(generation(&policy), before, "the one before is as it was");
        let none = other.with_databases(Vec::new());
        assert!(none.decide(&anna, "query_database", &actions).is_err());
    }
}

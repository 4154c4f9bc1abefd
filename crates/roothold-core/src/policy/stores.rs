//! Who may read which stores over the network.
//!
//! **Invariant**: a URL in no store, one in a store of others, and a name that no dataset has are
//! one denial.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Inner, Policy, StorePermit};
use crate::action::{ObjectTarget, Verb};
use crate::fault::{Fault, Rule};
use crate::object::ObjectUrl;
use crate::principal::Principal;

/// The scope by which objects are read.
pub(super) const SCOPE: &str = "datasets:read";
const HINT: &str = "there is no such dataset and no such store for you; list_datasets shows those that are, and a file of that name is named by its path, such as ./name";

/// One store, as policy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRule {
    /// What lies below it is of the store.
    pub url: ObjectUrl,
    /// Who may read it, by name; `None` is everyone who may read datasets.
    pub principals: Option<BTreeSet<String>>,
}

impl StoreRule {
    fn admits(&self, principal: &Principal) -> bool {
        self.principals.as_ref().is_none_or(|names| names.contains(principal.name()))
    }
}

fn nothing_there() -> Fault {
    Fault::denied(Rule { name: "stores", detail: None }, HINT)
}

impl Policy {
    /// The same policy with these stores.
    #[must_use]
    pub fn with_stores(&self, rules: Vec<StoreRule>) -> Self {
        Self(Arc::new(Inner { stores: rules.into(), ..Inner::clone(&self.0) }))
    }

    /// Whether `principal` may read the store at that place of the list. For lists: a call is decided
    /// by [`Self::decide`].
    pub fn may_read_store(&self, principal: &Principal, store: usize) -> bool {
        self.grants_scope(principal, SCOPE)
            && self.0.stores.get(store).is_some_and(|rule| rule.admits(principal))
    }

    pub(super) fn decide_object(
        &self,
        principal: &Principal,
        verb: Verb,
        target: &ObjectTarget,
    ) -> Result<StorePermit, Fault> {
        let ObjectTarget::Url(url) = target else { return Err(nothing_there()) };
        let is_it = |rule: &StoreRule| rule.admits(principal) && rule.url.below(url).is_some();
        let store = self.0.stores.iter().position(is_it).ok_or_else(nothing_there)?;
        if !matches!(verb, Verb::Read | Verb::Search) {
            let rule = Rule { name: "access", detail: Some("ro".to_owned()) };
            return Err(Fault::denied(rule, "stores over the network are only read"));
        }
        self.refuse_excluded_object(url)?;
        Ok(StorePermit { store, url: url.clone() })
    }

    /// Refuses an object that a pattern of the policy excludes, by its key or what lies above it.
    pub(super) fn refuse_excluded_object(&self, url: &ObjectUrl) -> Result<(), Fault> {
        match self.0.rules.exclude.covering(url.path().as_bytes()).map(str::to_owned) {
            None => Ok(()),
            detail => Err(Fault::denied(
                Rule { name: "exclude", detail },
                "excluded from every tool; leave it, or ask the operator",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, Actions};
    use crate::fault::FaultKind;
    use crate::policy::{Permit, PolicySpec, PrincipalSpec};
    use crate::{FilePath, Roots, Scopes};

    fn url(text: &str) -> ObjectUrl {
        ObjectUrl::parse(text).unwrap()
    }

    fn policy(principals: &[PrincipalSpec]) -> Policy {
        let roots = Roots::open(&[]).unwrap();
        let policy = Policy::new(roots, PolicySpec::default(), principals).unwrap();
        let anna = Some(BTreeSet::from(["anna".to_owned()]));
        let rules = vec![
            StoreRule { url: url("s3://lake/open"), principals: None },
            StoreRule { url: url("https://data.example.org/x"), principals: anna },
        ];
        policy.with_stores(rules)
    }

    fn decided(policy: &Policy, who: &Principal, verb: Verb, text: &str) -> Result<Permit, Fault> {
        let target = match ObjectUrl::parse(text) {
            Ok(url) => ObjectTarget::Url(url),
            Err(_) => ObjectTarget::Unknown(text.to_owned()),
        };
        let actions = Actions::one(Action::object(verb, target));
        Ok(policy.decide(who, "query_dataset", &actions)?.remove(0))
    }

    #[test]
    fn a_store_of_others_is_one_that_is_not_there() {
        let policy = policy(&[]);
        let (anna, bob) = (Principal::new("anna", Scopes::All), Principal::new("bob", Scopes::All));
        let permit = decided(&policy, &anna, Verb::Read, "https://data.example.org/x/a.csv");
        let permit = permit.unwrap();
        assert_eq!(permit.of_object().unwrap().store(), 1);
        assert_eq!(permit.of_object().unwrap().url().key(), "x/a.csv");
        assert!(permit.of_database().is_err() && permit.jobs().is_err());
        decided(&policy, &bob, Verb::Search, "s3://lake/open").unwrap();
        let of_others =
            decided(&policy, &bob, Verb::Read, "https://data.example.org/x/a.csv").unwrap_err();
        assert_eq!(of_others.kind(), FaultKind::Denied);
        for text in [
            "https://data.example.org/x/nothing",
            "https://data.example.org/other",
            "http://data.example.org/x/a.csv",
            "https://data.example.org:8443/x/a.csv",
            "http://169.254.169.254/latest/meta-data",
            "s3://lake/opened/a.csv",
            "s3://lake",
            "a_name",
        ] {
            let fault = decided(&policy, &bob, Verb::Read, text).unwrap_err();
            assert_eq!(fault.public(), of_others.public(), "{text}");
        }
        assert!(policy.may_read_store(&anna, 1) && !policy.may_read_store(&bob, 1));
        assert!(policy.may_read_store(&bob, 0) && !policy.may_read_store(&bob, 2));
    }

    #[test]
    fn objects_are_only_read_and_excludes_hold_for_them() {
        let policy = policy(&[]);
        let anna = Principal::new("anna", Scopes::All);
        let fault = decided(&policy, &anna, Verb::Write, "s3://lake/open/a.csv").unwrap_err();
        assert_eq!(fault.rule().unwrap().name, "access");
        for text in ["s3://lake/open/.env", "s3://lake/open/.SSH/a.csv", "s3://lake/open/.env/b"] {
            let fault = decided(&policy, &anna, Verb::Read, text).unwrap_err();
            assert_eq!(fault.rule().unwrap().name, "exclude", "{text}");
        }
        let below = decided(&policy, &anna, Verb::Search, "s3://lake/open/a").unwrap();
        assert!(below.admits_object(&url("s3://lake/open/a/b.csv")));
        for other in ["s3://lake/open/a/.env", "s3://lake/open/b.csv", "s3://other/open/a/b.csv"] {
            assert!(!below.admits_object(&url(other)), "{other}");
        }
    }

    #[test]
    fn reading_needs_the_scope_and_a_file_permit_reads_no_object() {
        let policy = policy(&[]);
        for scopes in ["files:read", "databases:read"] {
            let who = Principal::new("anna", Scopes::parse(scopes));
            for text in ["s3://lake/open/a.csv", "s3://nowhere/a.csv", "a_name"] {
                let fault = decided(&policy, &who, Verb::Read, text).unwrap_err();
                assert_eq!(fault.missing_scopes(), Some(SCOPE), "{text}");
            }
        }
        let path = FilePath::parse("s3://lake/open/a.csv");
        assert!(path.is_err(), "a URL of a store is no path");
        let without = Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &[]).unwrap();
        let anna = Principal::new("anna", Scopes::All);
        assert!(decided(&without, &anna, Verb::Read, "s3://lake/open/a.csv").is_err());
    }
}

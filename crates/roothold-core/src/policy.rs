//! The one place that decides: may this principal, with this tool, do this to that?
//!
//! Effective right = scopes of the credential ∩ what the configuration grants the principal
//! ∩ the root's own access ∩ tool enabled. [`Policy::decide`] answers with a [`Permit`], which
//! nothing else can make and which the functions that touch bytes demand.
//!
//! A policy never changes: another configuration has another, over the same roots. Which one is in
//! force is for whoever serves them to say.
//!
//! **Invariant**: deciding reads no disk. What the disk says later (a link that leads elsewhere)
//! is decided again by the gate, through [`Permit::decide_again`], on the path of what was opened.

mod databases;
mod grant;
mod permit;
mod rules;
mod spec;
mod stores;
mod subtree;

mod temp;

use std::collections::HashMap;
use std::sync::Arc;

use crate::action::{Action, Actions, JobOwner, Target, Verb};
use crate::fault::{Fault, FaultKind, Rule};
use crate::path::FilePath;
use crate::pattern::PatternSet;
use crate::principal::Principal;
use crate::roots::{Access, Root, Roots};

pub use databases::DatabaseRule;
use databases::DatabaseRules;
use grant::Grant;
pub use permit::{DatabasePermit, JobPermit, Permit, StorePermit};
pub(crate) use rules::{RootRules, join};
pub use spec::{DEFAULT_EXCLUDES, PolicyError, PolicySpec, PrincipalSpec};
pub use stores::StoreRule;
pub(crate) use temp::TempName;

pub(crate) const RULE_SCOPES: &str = "scopes";
pub(crate) const RULE_ROOTS: &str = "roots";
/// The scope by which jobs of others are seen and cancelled.
const SCOPE_JOBS: &str = "jobs:manage";
const HINT_ROOTS: &str =
    "the path is not inside a root that you may use; call listRoots to see them";

/// The policy of one configuration. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    roots: Roots,
    rules: Arc<Rules>,
    /// Who may use which database.
    databases: Arc<DatabaseRules>,
    /// Who may use which store.
    stores: Arc<[StoreRule]>,
}

/// What patterns and grants were compiled to.
#[derive(Debug)]
struct Rules {
    /// Those of each root.
    of_roots: Vec<RootRules>,
    /// What is excluded in stores.
    exclude: PatternSet,
    spec: PolicySpec,
    /// Empty: everyone who authenticated has the whole policy.
    grants: HashMap<String, Grant>,
    /// The grant of `*`, for principals without one of their own.
    anyone: Option<Grant>,
}

impl Rules {
    fn compile(
        roots: &Roots,
        spec: PolicySpec,
        principals: &[PrincipalSpec],
    ) -> Result<Self, PolicyError> {
        let of_roots =
            roots.iter().map(|root| RootRules::compile(&spec, root)).collect::<Result<_, _>>()?;
        let exclude = PatternSet::excluding(&spec.exclude)
            .map_err(|source| PolicyError::Pattern { key: "policy.exclude".to_owned(), source })?;
        let mut grants = HashMap::new();
        let mut anyone = None;
        for principal in principals {
            let grant = Grant::compile(principal, roots)?;
            if principal.name == "*" {
                anyone = Some(grant);
            } else if grants.insert(principal.name.clone(), grant).is_some() {
                return Err(PolicyError::DuplicatePrincipal(principal.name.clone()));
            }
        }
        Ok(Self { of_roots, exclude, spec, grants, anyone })
    }
}

impl Policy {
    /// Compiles a policy over opened roots, with no databases and no stores.
    ///
    /// # Errors
    /// A [`PolicyError`] that names the configuration key and what to mend.
    pub fn new(
        roots: Roots,
        spec: PolicySpec,
        principals: &[PrincipalSpec],
    ) -> Result<Self, PolicyError> {
        let rules = Arc::new(Rules::compile(&roots, spec, principals)?);
        let (databases, stores) = (Arc::default(), Arc::default());
        Ok(Self(Arc::new(Inner { roots, rules, databases, stores })))
    }

    /// A policy of other patterns and other principals, over the same roots, databases and stores.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn again(
        &self,
        spec: PolicySpec,
        principals: &[PrincipalSpec],
    ) -> Result<Self, PolicyError> {
        let rules = Arc::new(Rules::compile(&self.0.roots, spec, principals)?);
        Ok(Self(Arc::new(Inner { rules, ..Inner::clone(&self.0) })))
    }

    /// Whether it is the very one that another is: one of the same configuration, however alike.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The roots, in the order of the configuration.
    pub fn roots(&self) -> &Roots {
        &self.0.roots
    }

    /// The patterns as they were written.
    pub fn spec(&self) -> &PolicySpec {
        &self.0.rules.spec
    }

    /// Whether the configuration grants `principal` the use of `tool`. For lists of tools:
    /// a call is decided by [`Self::decide`], which asks this too.
    pub fn grants_tool(&self, principal: &Principal, tool: &str) -> bool {
        self.grant(principal).is_ok_and(|grant| grant.is_none_or(|grant| grant.allows_tool(tool)))
    }

    /// The roots that `principal` may use.
    pub fn roots_of<'a>(&'a self, principal: &Principal) -> impl Iterator<Item = &'a Arc<Root>> {
        let grant = self.grant(principal);
        self.0.roots.iter().enumerate().filter_map(move |(at, root)| {
            grant
                .as_ref()
                .is_ok_and(|grant| grant.is_none_or(|grant| grant.allows_root(at)))
                .then_some(root)
        })
    }

    /// Whether `principal` may use a root in which anything can be changed. For lists of tools.
    pub fn may_write_somewhere(&self, principal: &Principal) -> bool {
        self.roots_of(principal).any(|root| root.access() == Access::ReadWrite)
    }

    /// Decides every action of a call; the permits come in the order of the actions.
    ///
    /// # Errors
    /// The first denial by rule. Missing scopes are collected over all actions, so that a client
    /// can ask for all of them at once.
    pub fn decide(
        &self,
        principal: &Principal,
        tool: &str,
        actions: &Actions,
    ) -> Result<Vec<Permit>, Fault> {
        self.decide_each(principal, tool, actions)?.into_iter().collect()
    }

    /// Decides every action of a call whose parts do not depend on each other: a denial of one
    /// is that one's.
    ///
    /// # Errors
    /// What concerns the whole call: an unknown principal, a tool that is not granted, scopes.
    pub fn decide_each(
        &self,
        principal: &Principal,
        tool: &str,
        actions: &Actions,
    ) -> Result<Vec<Result<Permit, Fault>>, Fault> {
        let grant = self.grant(principal)?;
        if grant.is_some_and(|grant| !grant.allows_tool(tool)) {
            let rule = Rule { name: "tools", detail: None };
            return Err(Fault::denied(
                rule,
                "this tool is not enabled for you; tools/list shows those that are",
            ));
        }
        check_scopes(principal, grant, actions)?;
        let decide = |action| self.decide_one(principal, grant, action);
        Ok(actions.as_slice().iter().map(decide).collect())
    }

    /// A permit to remove what an unfinished write left beside `path`, whoever asked for it.
    pub(crate) fn permit_to_sweep(&self, path: FilePath) -> Result<Permit, Fault> {
        self.decide_one(&Principal::local(), None, &Action::file(Verb::Write, path))
    }

    fn grant(&self, principal: &Principal) -> Result<Option<&Grant>, Fault> {
        let rules = &*self.0.rules;
        if rules.grants.is_empty() && rules.anyone.is_none() {
            return Ok(None);
        }
        rules.grants.get(principal.name()).or(rules.anyone.as_ref()).map(Some).ok_or_else(|| {
            let rule = Rule { name: "principals", detail: None };
            Fault::denied(
                rule,
                "nothing is granted to you; ask the operator for a [[principals]] entry",
            )
        })
    }

    fn decide_one(
        &self,
        principal: &Principal,
        grant: Option<&Grant>,
        action: &Action,
    ) -> Result<Permit, Fault> {
        let path = match &action.target {
            Target::Named { .. } => return Ok(Permit::named(self.clone(), action.verb)),
            Target::Job(jobs) => {
                return Ok(Permit::job(self.clone(), action.verb, jobs, principal));
            }
            Target::Database(database) => {
                let permit = self.0.databases.decide(principal, action.verb, database)?;
                return Ok(Permit::database(self.clone(), action.verb, permit));
            }
            Target::Object(object) => {
                let permit = self.decide_object(principal, action.verb, object)?;
                return Ok(Permit::object(self.clone(), action.verb, permit));
            }
            Target::File(path) => path,
        };
        let (root, rel) = self.place(grant, path)?;
        let temp = (action.verb == Verb::Write).then(TempName::random).transpose()?;
        let permit =
            Permit::file(self.clone(), action.verb, root, rel, path.wants_directory(), temp);
        let rules = &self.0.rules.of_roots[root];
        let lexical = normalised(permit.rel()).ok_or_else(outside_roots)?;
        if lexical != permit.rel() {
            // `a/.ssh/../b` is `a/b` only where there is a `.ssh`: any answer would tell.
            for place in before_dot_dot(permit.rel()) {
                rules.refuse_excluded(&place)?;
            }
        }
        rules.decide(action.verb, &lexical, None)?;
        Ok(permit)
    }

    /// Which root a path lies in, and the rest of it below that root, `..` included.
    fn place(&self, grant: Option<&Grant>, path: &FilePath) -> Result<(usize, Vec<u8>), Fault> {
        let allowed = |at: usize| grant.is_none_or(|grant| grant.allows_root(at));
        if !path.is_absolute() {
            let mut usable = (0..self.0.roots.len()).filter(|at| allowed(*at));
            return match (usable.next(), usable.next()) {
                (Some(only), None) => Ok((only, path.as_bytes().to_vec())),
                (None, _) => Err(outside_roots()),
                _ => Err(self.ambiguous(grant)),
            };
        }
        self.0
            .roots
            .iter()
            .enumerate()
            .filter(|(at, _)| allowed(*at))
            .find_map(|(at, root)| Some((at, root.below(path.as_bytes())?.to_vec())))
            .ok_or_else(outside_roots)
    }

    fn ambiguous(&self, grant: Option<&Grant>) -> Fault {
        let roots: Vec<String> = (0..self.0.roots.len())
            .filter(|at| grant.is_none_or(|grant| grant.allows_root(*at)))
            .map(|at| crate::path::shown(self.0.roots.at(at).public()))
            .collect();
        Fault::new(
            FaultKind::Invalid,
            format!(
                "a relative path is ambiguous with several roots; begin it with one of {}",
                roots.join(", ")
            ),
        )
    }
}

pub(crate) fn outside_roots() -> Fault {
    Fault::denied(Rule { name: RULE_ROOTS, detail: None }, HINT_ROOTS)
}

fn check_scopes(
    principal: &Principal,
    grant: Option<&Grant>,
    actions: &Actions,
) -> Result<(), Fault> {
    let mut missing: Vec<&str> = Vec::new();
    for action in actions.as_slice() {
        let needed = match &action.target {
            Target::File(_) => action.verb.file_scope(),
            Target::Named { scope, .. } => scope.as_deref(),
            Target::Database(_) => Some(databases::scope_of(action.verb)),
            Target::Object(_) => Some(stores::SCOPE),
            Target::Job(jobs) => match &jobs.owner {
                JobOwner::Caller => None,
                JobOwner::Principal(name) if name == principal.name() => None,
                JobOwner::Principal(_) | JobOwner::Anyone => Some(SCOPE_JOBS),
            },
        };
        let Some(needed) = needed else { continue };
        let granted = grant.is_none_or(|grant| grant.allows_scope(needed));
        if !granted {
            let rule = Rule { name: "principal_scopes", detail: Some(needed.to_owned()) };
            return Err(Fault::denied(
                rule,
                "the configuration does not grant you this; ask the operator",
            ));
        }
        if !principal.scopes().contains(needed) && !missing.contains(&needed) {
            missing.push(needed);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let rule = Rule { name: RULE_SCOPES, detail: Some(missing.join(" ")) };
    Err(Fault::denied(rule, "your credential lacks these scopes; ask for a token that has them"))
}

/// The path with `..` folded as text, or `None` if it would leave the root.
pub(crate) fn normalised(rel: &[u8]) -> Option<Vec<u8>> {
    if !rel.split(|byte| *byte == b'/').any(|component| component == b"..") {
        return Some(rel.to_vec());
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in rel.split(|byte| *byte == b'/') {
        match component {
            b".." => {
                kept.pop()?;
            }
            b"" => {}
            other => kept.push(other),
        }
    }
    Some(kept.join(&b'/'))
}

/// The places, as text, that a path is at before each of its `..`; up to where it leaves the root.
fn before_dot_dot(rel: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    rel.split(|byte| *byte == b'/')
        .map_while(move |component| {
            if component != b".." {
                kept.push(component);
                return Some(None);
            }
            let above = kept.join(&b'/');
            kept.pop()?;
            Some(Some(above))
        })
        .flatten()
}

/// Whether an action needs the target to be visible, readable or writable; for messages.
pub(crate) fn verb_rule(verb: Verb) -> &'static str {
    match verb {
        Verb::Write => "write",
        Verb::List | Verb::Stat | Verb::Read | Verb::Search | Verb::Use => "read",
    }
}

#[cfg(test)]
mod tests;

//! The proof that policy said yes, which carries what it said yes to.

use super::temp::TempName;
use super::{Inner, Policy, RootRules, join, outside_roots};
use crate::action::{JobOwner, JobTarget, Verb};
use crate::fault::Fault;
use crate::files::{Index, KeptTexts};
use crate::object::ObjectUrl;
use crate::path::shown;
use crate::principal::Principal;
use crate::roots::Root;

/// Proof that [`Policy::decide`] allowed one action; only it can make one.
///
/// The functions that touch bytes take the path from the permit, never again from the input, so
/// what was checked is what is opened.
#[derive(Debug, Clone)]
pub struct Permit {
    policy: Policy,
    verb: Verb,
    subject: Subject,
}

/// What it is for. Permits of files are made by the thousand, so what others need is kept elsewhere.
#[derive(Debug, Clone)]
enum Subject {
    Named,
    File(Placed),
    Job(Box<JobPermit>),
    Database(Box<DatabasePermit>),
    Object(Box<StorePermit>),
}

/// The database that a permit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePermit {
    /// Its name.
    pub(super) name: String,
    pub(super) generation: u64,
    pub(super) principal: String,
}

impl DatabasePermit {
    /// The name that the configuration gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For whom it was decided: the database is asked by the role that this principal has in it.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Which [`Policy::with_databases`] it was decided by: another one may mean another database by
    /// the same name.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The object, or the prefix, that a permit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePermit {
    /// The store that it lies in, by its place in the configuration.
    pub(super) store: usize,
    pub(super) url: ObjectUrl,
}

impl StorePermit {
    /// The store that it lies in, by its place in the list that [`Policy::with_stores`] was given.
    pub fn store(&self) -> usize {
        self.store
    }

    /// The object, or the prefix.
    pub fn url(&self) -> &ObjectUrl {
        &self.url
    }
}

/// The jobs that a permit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPermit {
    id: Option<String>,
    owner: Option<String>,
}

impl JobPermit {
    /// The one job, by its id in public form; `None` for all that [`Self::owner`] has.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whose jobs may be looked at; `None` for everybody's. A job of another is none that is there.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
}

#[derive(Debug, Clone)]
struct Placed {
    root: usize,
    rel: Vec<u8>,
    wants_directory: bool,
    temp: Option<TempName>,
}

impl Permit {
    pub(super) fn named(policy: Policy, verb: Verb) -> Self {
        Self { policy, verb, subject: Subject::Named }
    }

    pub(super) fn job(
        policy: Policy,
        verb: Verb,
        target: &JobTarget,
        principal: &Principal,
    ) -> Self {
        let owner = match &target.owner {
            JobOwner::Caller => Some(principal.name().to_owned()),
            JobOwner::Principal(name) => Some(name.clone()),
            JobOwner::Anyone => None,
        };
        let job = JobPermit { id: target.id.clone(), owner };
        Self { policy, verb, subject: Subject::Job(Box::new(job)) }
    }

    pub(super) fn database(policy: Policy, verb: Verb, database: DatabasePermit) -> Self {
        Self { policy, verb, subject: Subject::Database(Box::new(database)) }
    }

    pub(super) fn object(policy: Policy, verb: Verb, object: StorePermit) -> Self {
        Self { policy, verb, subject: Subject::Object(Box::new(object)) }
    }

    pub(super) fn file(
        policy: Policy,
        verb: Verb,
        root: usize,
        rel: Vec<u8>,
        wants_directory: bool,
        temp: Option<TempName>,
    ) -> Self {
        let placed = Placed { root, rel, wants_directory, temp };
        Self { policy, verb, subject: Subject::File(placed) }
    }

    fn placed(&self) -> Option<&Placed> {
        if let Subject::File(placed) = &self.subject { Some(placed) } else { None }
    }

    /// What was allowed.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The policy that allowed it.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The jobs that it is for, if it is for jobs.
    ///
    /// # Errors
    /// `Internal`, if it is for something else: a function was handed the wrong permit.
    pub fn jobs(&self) -> Result<&JobPermit, Fault> {
        match &self.subject {
            Subject::Job(job) => Ok(job),
            _ => Err(Fault::internal("a permit that is for no job")),
        }
    }

    /// The database that it is for, if it is for one.
    ///
    /// # Errors
    /// `Internal`, if it is for something else: a function was handed the wrong permit.
    pub fn of_database(&self) -> Result<&DatabasePermit, Fault> {
        match &self.subject {
            Subject::Database(database) => Ok(database),
            _ => Err(Fault::internal("a permit that is for no database")),
        }
    }

    /// The object that it is for, if it is for one.
    ///
    /// # Errors
    /// `Internal`, if it is for something else: a function was handed the wrong permit.
    pub fn of_object(&self) -> Result<&StorePermit, Fault> {
        match &self.subject {
            Subject::Object(object) => Ok(object),
            _ => Err(Fault::internal("a permit that is for no object")),
        }
    }

    /// Whether an object below the prefix that it is for can be read: no pattern excludes it.
    pub fn admits_object(&self, url: &ObjectUrl) -> bool {
        self.of_object().is_ok_and(|object| object.url.below(url).is_some())
            && self.policy.refuse_excluded_object(url).is_ok()
    }

    /// The public path of the file as it was asked for, made absolute; `None` for what is no file.
    pub fn target_shown(&self) -> Option<String> {
        let placed = self.placed()?;
        let root = self.policy.0.roots.at(placed.root);
        Some(shown(&join(root.public(), &placed.rel)))
    }

    /// The name of the temporary file that a write may make beside its target. It is known
    /// before the audit intent is written, so that what a crash leaves can be told from
    /// other people's files.
    pub fn temp_name(&self) -> Option<&str> {
        self.temp().map(TempName::as_str)
    }

    pub(crate) fn temp(&self) -> Option<&TempName> {
        self.placed()?.temp.as_ref()
    }

    /// Whether two permits are for the same target, as it was asked for.
    pub(crate) fn same_target(&self, other: &Self) -> bool {
        let target =
            |permit: &'_ Self| permit.placed().map(|placed| (placed.root, placed.rel.clone()));
        self.placed().is_some() && target(self) == target(other)
    }

    /// The root and its rules.
    ///
    /// # Errors
    /// A denial, if the permit is for something that is not a file: a file function was handed
    /// the wrong permit.
    pub(crate) fn root(&self) -> Result<(&Root, &RootRules), Fault> {
        let placed = self.placed().ok_or_else(outside_roots)?;
        let Inner { roots, rules, .. } = &*self.policy.0;
        Ok((roots.at(placed.root), &rules.of_roots[placed.root]))
    }

    /// What is kept of texts.
    pub(crate) fn texts(&self) -> &KeptTexts {
        self.policy.0.roots.texts()
    }

    /// What directories were found to hold.
    pub(crate) fn index(&self) -> &Index {
        self.policy.0.roots.index()
    }

    /// The path below the root as it was asked for, `..` included; empty for the root itself.
    pub(crate) fn rel(&self) -> &[u8] {
        self.placed().map_or(&[], |placed| &placed.rel)
    }

    pub(crate) fn wants_directory(&self) -> bool {
        self.placed().is_some_and(|placed| placed.wants_directory)
    }

    /// Decides again, on the path that was really opened and with what it turned out to be.
    pub(crate) fn decide_again(&self, rel: &[u8], is_directory: bool) -> Result<(), Fault> {
        let (_, rules) = self.root()?;
        rules.decide(self.verb, rel, Some(is_directory))
    }
}

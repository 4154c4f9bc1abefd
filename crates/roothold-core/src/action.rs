//! What a call would touch, said before anything happens.

use crate::object::ObjectUrl;
use crate::path::FilePath;

/// What would be done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// List a directory, and walk below it.
    List,
    /// Learn size, times and mode of a file or directory.
    Stat,
    /// Read a file's bytes.
    Read,
    /// Find text in a file, or in the files below a directory.
    Search,
    /// Create, replace or change a file or directory.
    Write,
    /// Use something that is not a file: the server's own description, or what a tool of the
    /// embedding program defines.
    Use,
}

impl Verb {
    /// The stable name, as audit records and `explain` use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::Search => "search",
            Self::Write => "write",
            Self::Use => "use",
        }
    }

    /// The OAuth scope that the verb needs on files.
    pub(crate) fn file_scope(self) -> Option<&'static str> {
        match self {
            Self::List | Self::Stat | Self::Read | Self::Search => Some("files:read"),
            Self::Write => Some("files:write"),
            Self::Use => None,
        }
    }
}

/// What would be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file or directory, by its public path.
    File(FilePath),
    /// Something else, by a name that means something to the tool; it ends up in the audit log,
    /// so it must not hold secrets. `scope` is the OAuth scope that using it needs.
    Named {
        /// The name.
        name: String,
        /// The scope, if one is needed.
        scope: Option<String>,
    },
    /// Durable work that a call began: one job, or a list of jobs.
    Job(JobTarget),
    /// A user's database, by the name that the configuration gives it.
    Database(DatabaseTarget),
    /// Objects in a store over the network.
    Object(ObjectTarget),
}

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectTarget {
    /// The object of a URL, or those below it.
    Url(ObjectUrl),
    /// Those of a name that no dataset has. It is decided on like any other, so that a name of nobody
    /// and one of others are one denial.
    Unknown(String),
}

/// Which database is meant, and what it would be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTarget {
    /// The name of the database, as the caller wrote it.
    pub name: String,
    /// The statement without its literals, for the audit log.
    pub statement: Option<String>,
}

/// Which jobs are meant. Those of others need the scope `jobs:manage`; whether a job is there, and
/// whose it is, is found out when it is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTarget {
    /// The job, by its id in public form; `None` for those that there are.
    pub id: Option<String>,
    /// Whose.
    pub owner: JobOwner,
}

/// Whose jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOwner {
    /// The caller's.
    Caller,
    /// Those of a principal, by name.
    Principal(String),
    /// Everybody's.
    Anyone,
}

impl JobTarget {
    /// As the audit log shows it.
    fn shown(&self) -> String {
        let what = self.id.as_deref().unwrap_or("jobs");
        match &self.owner {
            JobOwner::Caller => what.to_owned(),
            JobOwner::Principal(name) => format!("{what} of {name}"),
            JobOwner::Anyone => format!("{what} of anyone"),
        }
    }
}

/// One thing that a call would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What would be done.
    pub verb: Verb,
    /// To what.
    pub target: Target,
}

impl Action {
    /// An action on a file or directory.
    pub fn file(verb: Verb, path: FilePath) -> Self {
        Self { verb, target: Target::File(path) }
    }

    /// The use of something that is not a file, with the OAuth scope that it needs, if any.
    pub fn named(name: impl Into<String>, scope: Option<&str>) -> Self {
        Self {
            verb: Verb::Use,
            target: Target::Named { name: name.into(), scope: scope.map(str::to_owned) },
        }
    }

    /// Something done to jobs: they are listed, read, or cancelled, which is written.
    pub fn job(verb: Verb, target: JobTarget) -> Self {
        Self { verb, target: Target::Job(target) }
    }

    /// A database that is read from, or changed; `statement` is what it is asked, without literals.
    pub fn database(verb: Verb, name: impl Into<String>, statement: Option<String>) -> Self {
        Self { verb, target: Target::Database(DatabaseTarget { name: name.into(), statement }) }
    }

    /// An object in a store that is read, or a prefix below which objects are searched.
    pub fn object(verb: Verb, target: ObjectTarget) -> Self {
        Self { verb, target: Target::Object(target) }
    }

    /// The target as the audit log shows it.
    pub fn target_shown(&self) -> String {
        match &self.target {
            Target::File(path) => path.to_string(),
            Target::Named { name, .. } => name.clone(),
            Target::Job(jobs) => jobs.shown(),
            Target::Database(database) => format!("database {}", database.name),
            Target::Object(ObjectTarget::Url(url)) => url.to_string(),
            Target::Object(ObjectTarget::Unknown(name)) => format!("dataset {name}"),
        }
    }

    /// The statement that a database is asked, without its literals.
    pub fn statement(&self) -> Option<&str> {
        match &self.target {
            Target::Database(database) => database.statement.as_deref(),
            Target::File(_) | Target::Named { .. } | Target::Job(_) | Target::Object(_) => None,
        }
    }
}

/// A non-empty list of actions: a call that touches nothing still says what it uses.
#[derive(Debug, Clone)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// One action.
    pub fn one(action: Action) -> Self {
        Self(vec![action])
    }

    /// A first action and others after it.
    pub fn many(first: Action, rest: impl IntoIterator<Item = Action>) -> Self {
        let mut actions = vec![first];
        actions.extend(rest);
        Self(actions)
    }

    /// The actions, in the order in which the tool will receive their permits.
    pub fn as_slice(&self) -> &[Action] {
        &self.0
    }
}

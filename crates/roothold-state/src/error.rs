//! Why the store refused, or could not answer.

use std::error::Error as StdError;
use std::time::Duration;

use roothold_core::{Fault, FaultKind};

use crate::JobId;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a store could not do what was asked. The text names no host path and no part of a
/// connection string; the cause is for the log.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The lease is over: another worker has the job, or it has ended. Stop, and commit nothing.
    #[error("the lease on the job is lost: another worker has it, or it has ended")]
    Fenced,
    /// There is no such job, or it is somebody else's, which reads the same.
    #[error("there is no job {0}; list_jobs names those that there are")]
    NotFound(JobId),
    /// As many of this kind as one may have.
    #[error("{what} are limited to {limit}; {hint}")]
    Quota {
        /// What is limited.
        what: &'static str,
        /// How many there may be.
        limit: u64,
        /// What to do next.
        hint: &'static str,
    },
    /// Something is larger than the store keeps.
    #[error("{what} has {bytes} bytes, more than the {limit} that are kept")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A chunk does not begin where the job stands: a defect of the worker.
    #[error("the chunk begins at {from}, and the job stands at {stands}")]
    Gap {
        /// Where the chunk says that it begins.
        from: u64,
        /// Where the last committed chunk ended.
        stands: u64,
    },
    /// An argument that no store accepts.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store cannot be reached, or has no room; the same may succeed later.
    #[error("the state store is not available just now; try again later")]
    Unavailable(#[source] Cause),
    /// It did not answer in time; whether it did what was asked is not known.
    #[error("the state store did not answer within {} ms; try again later", .0.as_millis())]
    Timeout(Duration),
    /// The store was closed.
    #[error("the state store is closed: the server is stopping")]
    Closed,
    /// What is stored does not read, or a statement failed: a defect.
    #[error("the state store met an unexpected condition; the server's log has the cause")]
    Internal(#[source] Cause),
}

impl StateError {
    /// Whether the same may succeed later. What was asked may have been done all the same; every
    /// operation of a store can be repeated.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout(_))
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::NotFound(_) => FaultKind::NotFound,
            Self::Quota { .. } | Self::TooLarge { .. } => FaultKind::Limit,
            Self::Invalid(_) => FaultKind::Invalid,
            Self::Unavailable(_) | Self::Timeout(_) | Self::Closed => FaultKind::Unavailable,
            Self::Fenced => FaultKind::Conflict,
            Self::Gap { .. } | Self::Internal(_) => FaultKind::Internal,
        }
    }
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        match error.kind() {
            FaultKind::Internal => Self::internal(error),
            kind => Self::new(kind, error.to_string()).with_source(error),
        }
    }
}

/// Why a store could not be opened. It is told at the start, to whoever starts the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict themselves or are unsafe.
    #[error("{0}")]
    Options(String),
    /// A limit is out of its bounds.
    #[error("state.limits: {name} must be from {min} to {max}, and is {is}")]
    Limit {
        /// The limit.
        name: &'static str,
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
        /// What it was given as.
        is: u64,
    },
    /// A newer version of the program was here.
    #[error(
        "the state store has schema version {found}, and this program knows versions up to \
         {known}: a newer version used it; start that one, or give this one a store of its own"
    )]
    Newer {
        /// The version that was found.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// What a migration was is not what this program takes it for.
    #[error(
        "the state store's migration {version} is not the one of this program: the store was made \
         by another build or changed by hand; restore it from a backup, or start with an empty one"
    )]
    Altered {
        /// The migration's number.
        version: i64,
    },
    /// There is none, and none was to be made.
    #[error("there is no state store: no server has kept a job there yet")]
    Absent,
    /// An older version of the program made it, and it was not to be changed.
    #[error(
        "the state store has schema version {found}, and this program wants {known}: start this \
         version's server once, which brings it up to date"
    )]
    Older {
        /// The version that was found.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Something else is in the file or the schema.
    #[error("the state store holds something else: {0}")]
    Foreign(&'static str),
    /// It cannot be opened or reached.
    #[error("the state store cannot be opened: {0}")]
    Unreachable(String),
    /// A migration failed; it was rolled back as a whole.
    #[error("migration {version} of the state store failed and was rolled back: {cause}")]
    Migration {
        /// The migration's number.
        version: i64,
        /// What the database said.
        cause: String,
    },
}

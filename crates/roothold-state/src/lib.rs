//! Roothold's own state: durable jobs with their checkpoints and results, and the heads of audit
//! chains. It knows no protocol, and nothing of what a job computes.
//!
//! A job is durable before its id is returned. Whoever runs it holds a [`Lease`]: an epoch that
//! grows at every claim, so that a worker which was thought dead is refused when it comes back.
//! A chunk's checkpoint and its part of the result are committed together, guarded by the epoch
//! and by the offset at which the chunk began; so no chunk counts twice and none is lost.
//!
//! **Invariant**: time is the store's, never a replica's. Content of jobs is in no error and no
//! log line, nor is any part of a connection string.

mod change;
mod either;
mod error;
mod head;
mod id;
mod job;
mod limits;
mod migrations;
mod pg;
mod rows;
mod sqlite;
mod store;
mod time;
pub mod worker;

pub use change::{Change, Changes, What};
pub use either::Store;
pub use error::{OpenError, StateError};
pub use head::ChainHead;
pub use id::{JobId, JobIdError};
pub use job::{
    Checkpoint, Claimed, Commit, Content, Counts, Directive, Expired, Failure, Job, JobPage,
    JobState, Lease, NewJob, Outcome, Part, Progress, Release, Whose,
};
pub use limits::{LEASE_MAX, Limits};
pub use pg::{PgOptions, PgReach, PgStore};
pub use sqlite::SqliteStore;
pub use store::{Claim, StateStore};
pub use time::{Clock, SystemClock, UnixMillis};

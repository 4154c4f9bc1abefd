//! The audit log: what was asked, what was decided and how it ended, as hash-chained JSON lines.
//!
//! One chain per file. The first line is `boot`, the last of an orderly end is `stop`; a file that goes
//! on from another names it and the line that it had come to. Each line carries the SHA-256 of itself and of the line before it, so that
//! [`verify`] can name the first line that was changed, removed or added. The chain is not
//! keyed: whoever can rewrite the whole file can make a new valid chain, so keep signed
//! [`Checkpoint`]s somewhere else and hand their [`Head`]s to [`verify_against`].
//!
//! What it does not do: it decides nothing, not even when another file begins, and never sees the
//! content of a file, only the names of what was touched.
//!
//! **Invariant**: a line is on disk (written or synced, as configured) before the answer it
//! stands for leaves the process; once a line could not be stored, every later call is refused.

mod chain;
mod checkpoint;
mod commit;
mod escape;
mod figures;
mod links;
mod log;
mod read;
mod record;
mod sink;
mod stamp;
mod unfinished;
mod verify;
mod worker;

pub use chain::Head;
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointKey, CheckpointPublicKey};
pub use figures::AuditFigures;
pub use links::{Absent, Link, Series};
pub use log::{Announced, AuditError, AuditLog, AuditOptions, Reads};
pub use read::{Event, ReadAction, ReadError, Record, records};
pub use record::{
    Action, AuthFailure, CallId, Decision, Intent, LINE_BYTES_MAX, Outcome, STRING_BYTES_MAX,
};
pub use unfinished::Left;
pub use verify::{Broken, BrokenReason, Summary, verify, verify_against};

#[cfg(test)]
mod tests;

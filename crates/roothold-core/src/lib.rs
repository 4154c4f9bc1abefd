//! Policy, roots, confined files, limits, faults and audit records: what Roothold decides
//! and what it touches, as plain synchronous Rust.
//!
//! **Invariant**: nothing here awaits, opens a socket, or knows the protocol.

mod action;
pub mod audit;
mod budget;
mod fault;
pub mod files;
mod gate;
pub mod handle;
mod object;
mod path;
mod pattern;
mod policy;
mod principal;
mod roots;
#[cfg(test)]
mod testing;
pub mod wall;

pub use action::{
    Action, Actions, DatabaseTarget, JobOwner, JobTarget, ObjectTarget, Target, Verb,
};
pub use budget::Budget;
pub use fault::{Fault, FaultKind, Rule};
pub use object::{ObjectUrl, Scheme};
pub use path::{FilePath, NAME_BYTES_MAX, PATH_BYTES_MAX, shown, uri};
pub use pattern::{PathGlobs, PatternError};
pub use policy::{
    DEFAULT_EXCLUDES, DatabasePermit, DatabaseRule, JobPermit, Permit, Policy, PolicyError,
    PolicySpec, PrincipalSpec, StorePermit, StoreRule,
};
pub use principal::{Principal, Scopes};
pub use roots::{Access, Hardlinks, Root, RootError, RootPatterns, RootSpec, Roots};

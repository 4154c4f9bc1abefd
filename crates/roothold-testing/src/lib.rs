//! What tests and benches of several packages need: real PostgreSQL and MariaDB servers, a receiver
//! of traces, a web server that misbehaves, and the batteries of hostile statements. Whatever is missing is
//! a panic that says so: nothing is skipped.
//!
//! **Invariant**: it is never shipped: `cargo xtask tidy` lets only tests and xtask name it.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests look for programs and read what servers left"
)]

pub mod battery;
mod collector;
mod keeper;
mod mariadb;
mod postgres;
pub mod web;

pub use collector::{Behaviour, Collector, Received};
pub use keeper::Keeper;
pub use mariadb::MariaDb;
pub use postgres::{Postgres, binaries};

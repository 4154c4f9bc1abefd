//! The state store as its users see it: one contract, every backend.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests set files up and look at what became of them, and say which seed it was"
)]

mod contract;
mod pg;
mod sim;
mod sqlite;
mod worker;

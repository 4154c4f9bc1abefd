//! The product as its clients and operators see it: the real binary, real sockets on loopback,
//! real files below a temporary directory.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests set files up and look at what became of them"
)]

mod attacks;
mod batch;
mod catalog;
mod cli;
mod databases;
#[cfg(feature = "datasets")]
mod datasets;
mod durable;
mod failing;
mod failing_log;
mod full_log;
mod heads;
mod hints;
mod http;
mod index;
mod jobs;
mod killed;
mod killed_steps;
mod large;
mod managed;
mod monitoring;
mod paging;
mod panicking;
#[cfg(feature = "datasets")]
mod processing;
mod product;
mod replicas;
mod rights;
mod rotating;
mod searching;
mod shutdown;
#[cfg(feature = "datasets")]
mod stdio_start;
#[cfg(feature = "datasets")]
mod storm;
mod support;
mod traces;
mod walls;
mod watch;
mod writing;

//! The front as its clients see it: real sockets on loopback, a small handler behind.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod battery;
mod client;
mod drain;
mod fixture;
mod refusals;
mod revisions;
mod sessions;
mod tasks;
mod transport;

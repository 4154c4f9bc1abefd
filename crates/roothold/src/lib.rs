//! Roothold: a scoped, audited and measured MCP server for files.
//!
//! [`Roothold::builder`] makes a server out of a configuration and, if you like, tools of your
//! own: whatever [`Tool`] you add is decided by the same policy, bounded by the same budget and
//! recorded in the same audit log as the built-in ones.

mod aggregates;
mod asking;
mod audit;
mod builder;
mod call;
mod catalog;
pub mod cli;
pub mod config;
mod databases;
#[cfg(feature = "datasets")]
mod datasets;
mod escape;
mod form;
mod grants;
mod handler;
mod jobs;
mod long;
mod passing;
mod plain;
mod plan;
mod process;
mod resources;
mod rights;
mod serve;
mod telemetry;
mod tool;
mod tools;
mod verbatim;
mod walls;
mod watch;
mod wire;

pub use builder::{Builder, Roothold, StartError};
pub use call::{Call, Progress, Resumed, Teller};
pub use handler::Handler;
pub use long::{AsJob, Chunk, Long, Resume, Step, Steps, Underway, Wish};
pub use roothold_core as core;
pub use schemars;
pub use serve::{Ended, on_signals};
pub use telemetry::{LogFormat, metrics_reference, undescribed};
pub use tool::{About, Answer, Blocks, Effect, Permits, Reply, Structured, Text, Tool};

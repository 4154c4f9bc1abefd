//! Logs and metrics. Things that happen are structs, whose `emit` writes the log line and the
//! metric together, so that they cannot drift.

mod configuration;
pub(crate) mod described;
mod edge;
mod events;
mod logs;
mod metrics;
mod reference;
mod server;
mod system;

pub(crate) use configuration::ConfigurationRead;
pub(crate) use edge::EdgeMetrics;
pub(crate) use events::CallFinished;
pub use logs::LogFormat;
pub(crate) use logs::{check_filter, init as init_logs};
pub(crate) use metrics::{Counted, Metrics, NamedCache, Successes};
pub(crate) use reference::Sample;
pub use reference::{metrics_reference, undescribed};
pub(crate) use server::Found;

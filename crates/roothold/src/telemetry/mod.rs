//! Logs and metrics. Things that happen are structs, whose `emit` writes the log line and the
//! metric together, so that they cannot drift.

mod configuration;
mod events;
mod logs;
mod metrics;

pub(crate) use configuration::ConfigurationRead;
pub(crate) use events::CallFinished;
pub use logs::LogFormat;
pub(crate) use logs::{check_filter, init as init_logs};
pub(crate) use metrics::{EdgeMetrics, InFlight, Metrics, NamedCache, Successes};

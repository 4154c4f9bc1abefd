//! Logs, metrics and traces. Things that happen are structs, whose `emit` writes the log line, the
//! metric and the span together, so that they cannot drift.

mod configuration;
pub(crate) mod described;
mod edge;
mod events;
mod lines;
mod logs;
mod metrics;
mod reference;
mod server;
mod system;
mod traces;

pub(crate) use configuration::ConfigurationRead;
pub(crate) use edge::EdgeMetrics;
pub(crate) use events::{CallFinished, ListAsked, NO_TOOL};
pub(crate) use lines::lost as log_lines_lost;
pub use logs::LogFormat;
pub(crate) use logs::{check_filter, init as init_logs};
pub(crate) use metrics::{Counted, Metrics, NamedCache, Successes};
pub(crate) use reference::Sample;
pub use reference::{metrics_reference, undescribed};
pub(crate) use server::Found;
pub(crate) use system::whole;
pub(crate) use traces::{CallKind, Step, Trace, TraceFrom, Traces, What};

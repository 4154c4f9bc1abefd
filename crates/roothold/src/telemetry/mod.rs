//! Logs, metrics and traces. Things that happen are structs, whose `emit` writes the log line, the
//! metric and the span together, so that they cannot drift.

mod events;
mod logs;
mod metrics;
mod traces;

pub(crate) use events::{CallFinished, ListAsked, NO_TOOL};
pub use logs::LogFormat;
pub(crate) use logs::{check_filter, init as init_logs};
pub(crate) use metrics::{EdgeMetrics, InFlight, Metrics, NamedCache, Successes};
pub(crate) use traces::{CallKind, Step, Trace, TraceFrom, Traces, What};

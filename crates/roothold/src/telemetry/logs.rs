//! Log lines on stderr, one event a line.

use std::io::IsTerminal;

use anyhow::Context as _;
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::lines;

/// Drivers of databases, whose lines hold statements with their values.
const DRIVERS: [&str; 3] = ["tokio_postgres", "mysql_async", "rusqlite"];

/// The form of the log lines.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON, unless stderr is a terminal.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Whether a log filter can be used.
///
/// # Errors
/// When it cannot be parsed.
pub(crate) fn check_filter(level: &str) -> anyhow::Result<()> {
    filter(level).map(drop)
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    // rmcp writes three lines per request at info.
    EnvFilter::try_new(format!("rmcp=warn,{level}")).with_context(|| {
        format!("telemetry.log: `{level}` is no log filter; write `info` or `roothold=debug,info`")
    })
}

/// Whether a line may be logged if the filter says so, too: none of a driver's may, whatever it
/// says. What went wrong comes as an error.
fn is_ours_to_log(metadata: &Metadata<'_>) -> bool {
    !DRIVERS.iter().any(|driver| metadata.target().starts_with(driver))
}

/// Starts logging. `level` is a filter such as `info` or `roothold=debug,info`.
///
/// # Errors
/// When the filter cannot be parsed, or logging has been started before.
pub(crate) fn init(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines::stderr)
        // Else what goes wrong with a line is told on stderr itself, which panics when whoever read it
        // has gone: a lost line must not cost a call.
        .log_internal_errors(false);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let quiet = filter_fn(is_ours_to_log);
    let started = if json {
        let lines = builder.json().flatten_event(true).with_current_span(false);
        lines.with_span_list(false).finish().with(quiet).try_init()
    } else {
        builder.with_target(false).finish().with(quiet).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("{error}"))
}

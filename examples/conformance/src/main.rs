//! Serves the fixtures of the official MCP conformance suite through `roothold-edge`.
//!
//! It shows how any rmcp server is put behind the front, and it lets the suite test that front.
//! Its long tools are tools of Roothold's library, and so are the tasks that they become.
//! It does not touch files, data or credentials, and it is never part of the product.
//! Invariant: every fixture behaves as the suite words it; nothing here knows which check is run.
#![expect(deprecated, reason = "the 2025-11-25 suite asks for logging, sampling and subscribe")]

mod client_requests;
mod content;
mod jobs;
mod mrtr;
mod prompts;
mod resources;
mod server;
mod tasks;
mod tools;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::Parser;
use roothold::Roothold;
use roothold::config::Config;
use roothold_edge::{Edge, EdgeConfig, SessionLimits, Shutdown};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "example-conformance", about = "Fixtures of the official MCP conformance suite")]
struct Args {
    /// The loopback address to listen on; port 0 takes a free one, which is logged.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Keep sessions for clients of the revisions before 2026-07-28, as server-to-client requests need.
    #[arg(long)]
    sessions: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("error,example_conformance=info")
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    anyhow::ensure!(args.listen.ip().is_loopback(), "the fixture listens on loopback only");
    serve(args).await
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("a directory for jobs and their audit log")?;
    let root = tempfile::tempdir().context("a root")?;
    let jobs = Roothold::builder()
        .config(own_config(scratch.path(), root.path()))
        .tool(jobs::SlowCompute)
        .tool(jobs::FailingJob)
        .tool(jobs::ProtocolErrorJob)
        .tool(jobs::ToolWithTask)
        .build()?;
    jobs.begin_jobs().await?;
    let fixture = server::Fixture::new(jobs.handler()).context("making the fixture")?;
    let config = EdgeConfig {
        legacy_sessions: args.sessions.then(SessionLimits::default),
        ..EdgeConfig::default()
    };
    let edge = Edge::builder(fixture).config(config).build()?;
    let listener = TcpListener::bind(args.listen).await.context("listening")?;
    tracing::info!(address = %listener.local_addr()?, "serving the fixtures");
    let shutdown = Shutdown::new();
    stop_on_signal(shutdown.clone())?;
    let drained = edge.serve(listener, shutdown, async {}).await?;
    anyhow::ensure!(jobs.end_jobs().await, "a job was not given back");
    anyhow::ensure!(drained.is_clean(), "requests were cut off: {drained:?}");
    Ok(())
}

/// The part of the fixture that is Roothold: a root without files, and as many jobs at once as the
/// suite begins.
fn own_config(scratch: &Path, root: &Path) -> Config {
    let mut config = Config::default();
    config.set_directories(&[root.to_path_buf()], false);
    config.audit.dir = Some(scratch.join("audit"));
    config.state.dir = Some(scratch.join("state"));
    (config.jobs.running_max, config.jobs.running_per_principal_max) = (16, 16);
    config
}

/// Begins the shutdown at the first SIGTERM or SIGINT.
fn stop_on_signal(shutdown: Shutdown) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.begin();
    });
    Ok(())
}

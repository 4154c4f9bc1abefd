//! `roothold serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use roothold_edge::Shutdown;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use toml::Value;

use super::{ConfigArgs, runtime, start_logs};
use crate::builder::Builder;
use crate::config::Config;
use crate::serve::{Reasons, Stamps, on_signals, reload_for_ever};

/// Serves over HTTP until SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Directories to serve instead of the configured roots; each is a root whose URI is its path.
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Let callers change files in those directories.
    #[arg(long)]
    write: bool,
    /// The address to listen on.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

const EXAMPLES: &str = "MCP is at /mcp, /health and /ready are beside it. The first SIGTERM or SIGINT ends the server when what runs has been answered, the second ends it at once. SIGHUP, and a change of the file, has the configuration read again: `[policy]`, `[[principals]]`, `[[databases]]` and `[[tools]]` can change while the server runs.

Examples:
  roothold serve --config roothold.toml
  roothold serve ~/projects --listen 127.0.0.1:8000
  ROOTHOLD_SERVER__LISTEN=127.0.0.1:9000 roothold serve --config roothold.toml

Exit code: 0 everything was answered and stored, 1 not everything, 2 the command line or the configuration is wrong, 75 it cannot start now and may later with nothing changed: the state store does not answer, an address is in use, the disk of the audit log is full, the directory of a root is not mounted.";

impl Serve {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let seen = Stamps::of(self.config.config.as_deref());
        let config = self.load()?;
        start_logs(&config)?;
        let listener = listen(&config)?;
        serve(config, builder(), listener, (seen, move || self.load()), |_| {})
    }

    fn load(&self) -> anyhow::Result<Config> {
        let address = self.listen.map(|address| Value::String(address.to_string()));
        let address = address.map(|address| ("server.listen", address));
        self.config.load(&self.directories, self.write, address.into_iter().collect())
    }
}

/// How many connections may wait to be accepted; the system has its own ceiling.
const BACKLOG: i32 = 1024;

/// Takes the address of a configuration.
pub(super) fn listen(config: &Config) -> anyhow::Result<std::net::TcpListener> {
    let listen = config.server.listen;
    let cannot = || format!("server.listen: {listen} cannot be used");
    let listener = std::net::TcpListener::bind(listen).with_context(cannot)?;
    rustix::net::listen(&listener, BACKLOG).with_context(cannot)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves a configuration until a signal, with Landlock around the process; `started` is told the
/// address that is listened on, and `load` reads the configuration again, on SIGHUP and when it is no
/// longer the file that was `seen` before it was read.
pub(super) fn serve(
    config: Config,
    builder: Builder,
    listener: std::net::TcpListener,
    (seen, load): (Stamps, impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static),
    started: impl FnOnce(SocketAddr),
) -> anyhow::Result<u8> {
    crate::serve::check(&config)?;
    crate::process::raise_file_limit();
    let mut runtime = runtime(&config, tokio::runtime::Builder::new_multi_thread());
    let (reasons, seen) = (Reasons::files(&config), seen.with(&config));
    let server = builder.config(config).confine().build_unrecorded()?;
    let runtime = runtime.build()?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let shutdown = Shutdown::new();
        let signals = tokio::spawn(on_signals(shutdown.clone())?);
        let reloading = reload_for_ever(server.reloader(), load, reasons.and_hangups()?, seen);
        let reloading = AbortOnDropHandle::new(tokio::spawn(reloading));
        let ended = Box::pin(server.serve_and_tell(listener, shutdown, started)).await?;
        signals.abort();
        drop(reloading);
        anyhow::Ok(ended)
    })?;
    // Blocking work that ignores its budget must not keep the process.
    runtime.shutdown_background();
    tracing::info!(clean = ended.clean, "stopped");
    Ok(u8::from(!ended.clean))
}

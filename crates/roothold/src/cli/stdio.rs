//! `roothold stdio`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use roothold_edge::Shutdown;
use tokio_util::task::AbortOnDropHandle;

use super::{ConfigArgs, runtime, start_logs};
use crate::builder::Builder;
use crate::config::Config;
use crate::serve::{Reasons, Stamps, on_signals, reload_for_ever};

/// Serves one local client over stdin and stdout, as the reference server does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Stdio {
    /// Directories to serve, read-only without `--write`; each is a root whose URI is its path.
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Let the client change files in them.
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

const EXAMPLES: &str =
    "A client starts this command by itself; `roothold install` writes the entry for it.

Examples:
  roothold stdio ~/projects
  roothold stdio --write ~/projects ~/notes
  roothold stdio --config roothold.toml";

impl Stdio {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let seen = Stamps::of(self.config.config.as_deref());
        let config = self.load()?;
        if config.roots.is_empty() && config.databases.is_empty() && config.stores.is_empty() {
            bail!(
                "nothing to serve; write `roothold stdio DIR`, or give a --config with [[roots]] or [[databases]]"
            );
        }
        start_logs(&config)?;
        crate::process::raise_file_limit();
        // One client: threads that hand its messages to each other would cost more than they save.
        let mut runtime = runtime(&config, tokio::runtime::Builder::new_current_thread());
        let (reasons, seen) = (Reasons::files(&config), seen.with(&config));
        let server = builder().config(config).confine().build_unrecorded()?;
        let runtime = runtime.build()?;
        let ended = runtime.block_on(async {
            let shutdown = Shutdown::new();
            let signals = tokio::spawn(on_signals(shutdown.clone())?);
            let load = move || self.load();
            let reloading = reload_for_ever(server.reloader(), load, reasons, seen);
            let reloading = AbortOnDropHandle::new(tokio::spawn(reloading));
            let ended = Box::pin(server.stdio(shutdown)).await?;
            signals.abort();
            drop(reloading);
            anyhow::Ok(ended)
        })?;
        // A thread that still waits for stdin must not keep the process.
        runtime.shutdown_background();
        Ok(u8::from(!ended.clean))
    }

    fn load(&self) -> anyhow::Result<Config> {
        self.config.load(&self.directories, self.write, Vec::new())
    }
}

//! `roothold audit verify`.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use roothold_core::audit::{Head, Summary, verify_against};
use roothold_state::StateStore as _;

use super::super::{ConfigArgs, disk, print, say};
use super::logs_in;
use crate::jobs::Place;

/// Says whether logs are whole, or names the first bad line and why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// Log files, or directories of them.
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// The configuration of the servers whose logs they are: then each log must still hold the line that their state store knows it by.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "Exit code: 0 every log is whole, 1 one is not.

A call is unfinished if it was allowed and has no outcome: it was cut off, or still runs. A log that a server still writes may end within a line; ask again.

Servers that keep jobs tell their state store every 30 seconds, and at their end, how far their log has come. With --config a log that was cut off or written anew before that is broken, too.

Examples:
  roothold audit verify /var/lib/roothold/audit
  roothold audit verify --config roothold.toml /var/lib/roothold/audit
  roothold audit verify audit-20260101T000000Z-1f2e.jsonl";

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let heads = self.config.as_deref().map(kept_heads).transpose()?.unwrap_or_default();
        let mut broken = 0;
        for path in self.paths {
            let files = if disk::is_directory(&path) { logs_in(&path)? } else { vec![path] };
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let kept = heads.get(&*name).map_or(&[][..], std::slice::from_ref);
                match verify_against(BufReader::new(disk::open(&file)?), kept) {
                    Ok(summary) => {
                        let known =
                            if kept.is_empty() { "" } else { "; as the state store knows it" };
                        print(&format!("{}: whole; {}{known}", file.display(), line(&summary)));
                    }
                    Err(bad) => {
                        broken += 1;
                        say(&format!("{}: broken at {bad}", file.display()));
                    }
                }
            }
        }
        Ok(u8::from(broken > 0))
    }
}

/// How far each log had come, by the name of its file, as the state store knows.
fn kept_heads(config: &Path) -> anyhow::Result<HashMap<String, Head>> {
    let source = ConfigArgs { config: Some(config.to_owned()), ..ConfigArgs::default() };
    let config = source.load(&[], false, Vec::new())?;
    let place = Place::of(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = match place.open_existing(&config.jobs).await {
            Ok(store) => store,
            Err(error) => bail!("{place}: {error}"),
        };
        let heads = store.chain_heads(None).await.with_context(|| place.to_string())?;
        store.close().await;
        let by_name =
            |head: roothold_state::ChainHead| (head.chain, Head { seq: head.seq, hash: head.hash });
        Ok(heads.into_iter().map(by_name).collect())
    })
}

fn line(summary: &Summary) -> String {
    let end = if summary.stopped { "stopped in order" } else { "not stopped" };
    format!(
        "{} lines, {} intents, {} outcomes, {} unfinished, {} authentication failures, {} unannounced, \
         {end}; {} to {}; head {} {}",
        summary.lines,
        summary.intents,
        summary.outcomes,
        summary.unfinished,
        summary.auth_failures,
        summary.unannounced,
        summary.first_ts,
        summary.last_ts,
        summary.head.seq,
        summary.head.hash
    )
}

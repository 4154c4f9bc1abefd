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

A log is made before its first line is written, and that line before any call is served. One that was never written to is that of a server that was ended in between; one that was emptied later is broken, as is one of which the state store knows a line.

A call is unfinished if it was allowed and has no outcome: it was cut off, or still runs. A log that a server still writes may end within a line; ask again.

Servers that keep jobs tell their state store every 30 seconds, and at their end, how far their log has come. With --config a log that was cut off or written anew before that is broken, too.

Examples:
  roothold audit verify /var/lib/roothold/audit
  roothold audit verify --config roothold.toml /var/lib/roothold/audit
  roothold audit verify audit-20260101T000000Z-1f2e.jsonl";

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let heads = self.config.as_deref().map(kept_heads).transpose()?.unwrap_or_default();
        let mut broken = 0_u64;
        for path in self.paths {
            let files = if disk::is_directory(&path) { logs_in(&path)? } else { vec![path] };
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let kept = heads.get(&*name).map_or(&[][..], std::slice::from_ref);
                broken += u64::from(!is_whole(&file, kept)?);
            }
        }
        Ok(u8::from(broken > 0))
    }
}

/// Says what a log is, and whether it is whole.
fn is_whole(path: &Path, kept: &[Head]) -> anyhow::Result<bool> {
    let (file, place) = (disk::open(path)?, path.display());
    if kept.is_empty() && disk::was_never_written(&file) {
        print(&format!("{place}: empty; its server was ended before it served a call"));
        return Ok(true);
    }
    match verify_against(BufReader::new(file), kept) {
        Ok(summary) => {
            let known = if kept.is_empty() { "" } else { "; as the state store knows it" };
            print(&format!("{place}: whole; {}{known}", line(&summary)));
            Ok(true)
        }
        Err(bad) => {
            say(&format!("{place}: broken at {bad}"));
            Ok(false)
        }
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

//! `roothold audit verify`.

use std::collections::{HashMap, HashSet};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use roothold_core::audit::{Absent, Head, Series, Summary};
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

A log that has grown goes on in another file, which names it and its last line. Files are checked from the newest to the oldest, and each must hold what later ones say of it. One that others name and that is not here was moved away, or removed; it is said and breaks nothing. Name the directory that it was moved to as well.

Servers that keep jobs tell their state store every 30 seconds, and at their end, how far their log has come. With --config a log that was cut off or written anew before that is broken, too.

Examples:
  roothold audit verify /var/lib/roothold/audit
  roothold audit verify --config roothold.toml /var/lib/roothold/audit
  roothold audit verify /archive/audit /var/lib/roothold/audit
  roothold audit verify audit-20260101T000000.000000Z-1f2e3d4c.jsonl";

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let heads = self.config.as_deref().map(kept_heads).transpose()?.unwrap_or_default();
        let known: HashSet<String> = heads.keys().cloned().collect();
        let mut series = Series::new(heads);
        let mut is_good = true;
        for file in newest_first(self.paths)? {
            is_good &= is_whole(&file, &known, &mut series)?;
        }
        for absent in series.absent() {
            is_good &= may_be_away(&absent);
        }
        Ok(u8::from(!is_good))
    }
}

/// All logs, by their names, which begin with their times.
fn newest_first(paths: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(if disk::is_directory(&path) { logs_in(&path)? } else { vec![path] });
    }
    files.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    Ok(files)
}

/// Says what is known of a log that others name and that is not here, and whether that may be.
fn may_be_away(Absent { log, named_by, is_contradicted }: &Absent) -> bool {
    if *is_contradicted {
        say(&format!(
            "{log}: broken: one of its lines is known by two hashes; it is not here, and {named_by} names it"
        ));
        return false;
    }
    print(&format!(
        "{log}: nothing of it is here; {named_by} names it, so it was moved away or removed"
    ));
    true
}

/// Says what a log is, and whether it is whole.
fn is_whole(path: &Path, known: &HashSet<String>, series: &mut Series) -> anyhow::Result<bool> {
    let (file, place) = (disk::open(path)?, path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if series.heads(&name).is_empty() && disk::was_never_written(&file) {
        print(&format!("{place}: empty; its server was ended before it served a call"));
        return Ok(true);
    }
    match series.verify(&name, BufReader::new(file)) {
        Ok(summary) => {
            let known = if known.contains(&*name) { "; as the state store knows it" } else { "" };
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
    let end = match &summary.next {
        Some(next) => &format!("closed, and goes on in {next}"),
        None if summary.stopped => "stopped in order",
        None => "not stopped",
    };
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

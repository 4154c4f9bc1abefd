//! `roothold audit verify`.

use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use roothold_core::audit::{Summary, verify};

use super::super::{disk, print, say};
use super::logs_in;

/// Says whether logs are whole, or names the first bad line and why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// Log files, or directories of them.
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
}

const EXAMPLES: &str = "Exit code: 0 every log is whole, 1 one is not.

A call is unfinished if it was allowed and has no outcome: it was cut off, or still runs. A log that a server still writes may end within a line; ask again.

Examples:
  roothold audit verify /var/lib/roothold/audit
  roothold audit verify audit-20260101T000000Z-1f2e.jsonl";

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let mut broken = 0;
        for path in self.paths {
            let files = if disk::is_directory(&path) { logs_in(&path)? } else { vec![path] };
            for file in files {
                match verify(BufReader::new(disk::open(&file)?)) {
                    Ok(summary) => print(&format!("{}: whole; {}", file.display(), line(&summary))),
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

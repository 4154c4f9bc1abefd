//! `roothold audit`: what the log says, and whether it is whole.

mod tail;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, Subcommand};

use super::disk;

/// Checks and shows the audit log.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  roothold audit verify /var/lib/roothold/audit
  roothold audit tail -f";

#[derive(Debug, Subcommand)]
enum Command {
    /// Says whether logs are whole, or names the first bad line and why.
    Verify(verify::Verify),
    /// Shows the last records, and follows new ones.
    Tail(tail::Tail),
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        match self.command {
            Command::Verify(verify) => verify.run(),
            Command::Tail(tail) => tail.run(),
        }
    }
}

/// The logs in a directory, oldest first: their names begin with their times.
fn logs_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut names = disk::names(directory)?;
    names.retain(|name| {
        name.starts_with("audit-") && Path::new(name).extension().is_some_and(|end| end == "jsonl")
    });
    ensure!(
        !names.is_empty(),
        "there is no audit log in {}; name the directory that audit.dir names",
        directory.display()
    );
    Ok(names.iter().map(|name| directory.join(name)).collect())
}

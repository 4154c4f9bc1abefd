//! `roothold jobs`: what servers keep as jobs, for whoever operates them.
//!
//! It asks the store itself, and no server: so all owners' jobs are seen, also while no server runs.
//! Nothing is made where no store is, and a store of another version is left as it is.

mod cancel;
mod list;
mod show;
mod stores;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use roothold_state::Job;
use serde_json::{Value, json};

use super::table::line;
use crate::jobs::{Progress, shown};

/// Lists, shows and cancels the jobs of all owners.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Jobs {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "The store of jobs is asked, and no server. Without a configuration, all stores are that servers of this user keep by default.

Examples:
  roothold jobs list --config roothold.toml
  roothold jobs list --owner anna --live
  roothold jobs list --state-dir /var/lib/roothold/state
  roothold jobs show job-0123456789abcdef0123456789abcdef
  roothold jobs cancel --config roothold.toml job-0123456789abcdef0123456789abcdef";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists jobs, newest first.
    List(list::List),
    /// Shows how far a job is, why it failed, and what it has found.
    Show(show::Show),
    /// Has jobs stopped, also those that a running server works on.
    Cancel(cancel::Cancel),
}

/// Which store, and whose jobs.
#[derive(Debug, Clone, Default, Args)]
struct Which {
    /// The configuration whose store is meant.
    #[arg(long, short, value_name = "FILE", env = "ROOTHOLD_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The directory of the store, as `state.dir` would name it, or the one in which servers without it keep theirs.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state_dir: Option<PathBuf>,
    /// Only jobs of this principal.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

impl Jobs {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(async {
            match self.command {
                Command::List(list) => list.run().await,
                Command::Show(show) => show.run().await,
                Command::Cancel(cancel) => cancel.run().await,
            }
        });
        // A store that does not answer must not keep the process.
        runtime.shutdown_background();
        done
    }
}

/// A job for programs: as its owner's `get_job` tells it, with what only the operator sees.
fn value(job: &Job) -> Value {
    let mut value = json!(shown(job));
    value["owner"] = job.owner.clone().into();
    value["worker"] = job.worker.clone().into();
    value["claims"] = job.epoch.into();
    value["attempts"] = job.attempts.into();
    value["attempts_max"] = job.attempts_max.into();
    value["cancel_asked"] = job.cancel_asked.into();
    value
}

/// Where a job is in its life.
fn status(job: &Job) -> String {
    let asked = if job.cancel_asked && job.state.is_live() { ", to be cancelled" } else { "" };
    format!("{}{asked}", job.state.as_str())
}

/// How far a job is, in figures; in the words of its last chunk where it has none.
fn progress(job: &Job) -> String {
    let figures = Progress::of(job).text();
    if figures.is_empty() { job.message.clone().unwrap_or_default() } else { figures }
}

/// Why a job failed.
fn error(job: &Job) -> String {
    let failure = job.failure.as_ref();
    failure.map_or_else(String::new, |failure| {
        line(&format!("{}: {}", failure.kind.code(), failure.public))
    })
}

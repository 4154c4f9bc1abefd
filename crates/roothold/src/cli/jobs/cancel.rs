//! `roothold jobs cancel`.

use std::time::{Duration, Instant};

use clap::Args;
use roothold_state::{Job, JobId, JobState, StateStore as _, Whose};

use super::super::{print, say};
use super::stores::{Opened, find};
use super::{Which, value};

/// Has jobs stopped, also those that a running server works on.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 they are cancelled, or their servers have been told; 1 one is not there, or had ended before."
)]
pub(super) struct Cancel {
    /// The ids of the jobs, as `roothold jobs list` shows them.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<JobId>,
    #[command(flatten)]
    which: Which,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How long a server's word that a job has stopped is waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Cancel {
    pub(super) async fn run(self) -> anyhow::Result<u8> {
        let stores = self.which.open().await?;
        let (mut asked, mut code) = (Vec::new(), 0);
        for id in &self.ids {
            let Some((opened, before)) = find(&stores, *id, self.which.whose()).await? else {
                say(&super::show::not_there(*id, &self.which));
                code = 1;
                continue;
            };
            let after = opened.store.cancel(*id, self.which.whose()).await?;
            // One that a cancellation found ended stays as it was.
            if !before.state.is_live() || !after.cancel_asked && after.state != JobState::Cancelled
            {
                code = 1;
            }
            asked.push((opened, after));
        }
        let until = Instant::now() + STOP_TIMEOUT;
        for (opened, job) in asked {
            let job = ended(opened, job, until).await?;
            if self.json {
                print(&value(&job).to_string());
            } else {
                print(&sentence(&job));
            }
        }
        Ok(code)
    }
}

/// The job once it has ended, or as it is when it is time to go.
async fn ended(opened: &Opened, mut job: Job, until: Instant) -> anyhow::Result<Job> {
    while job.state.is_live() && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        job = opened.store.get(job.id, Whose::Anyone).await?;
    }
    Ok(job)
}

fn sentence(job: &Job) -> String {
    let what = match job.state {
        JobState::Cancelled => "is cancelled",
        JobState::Completed => "has completed, and stays so",
        JobState::Failed => "has failed, and stays so",
        JobState::Queued | JobState::Running => {
            "is to be cancelled: the server that works on it stops it, or else the next that looks"
        }
    };
    format!("{} {what}", job.id)
}

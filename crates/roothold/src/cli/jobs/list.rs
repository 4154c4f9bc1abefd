//! `roothold jobs list`.

use clap::Args;
use roothold_state::{Job, StateStore as _};

use super::super::print;
use super::super::table::{Align, Table};
use super::stores::Opened;
use super::{Which, error, progress, status, value};

/// Lists jobs, newest first.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// Only those that wait or run.
    #[arg(long)]
    live: bool,
    /// How many at most, of each store.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How many are asked for at once.
const PAGE: u32 = 100;

impl List {
    pub(super) async fn run(self) -> anyhow::Result<u8> {
        let stores = self.which.open().await?;
        let mut any = false;
        for opened in &stores {
            let (jobs, more) = self.of(opened).await?;
            any |= !jobs.is_empty();
            if self.json {
                for job in &jobs {
                    let mut value = value(job);
                    value["store"] = opened.to_string().into();
                    print(&value.to_string());
                }
                continue;
            }
            if !jobs.is_empty() {
                print(&format!("{opened}\n{}", table(&jobs, more)));
            }
        }
        if !any && !self.json {
            print("no jobs");
        }
        Ok(0)
    }

    /// The jobs of one store, and whether there are more.
    async fn of(&self, opened: &Opened) -> anyhow::Result<(Vec<Job>, bool)> {
        let (mut jobs, mut before) = (Vec::new(), None);
        loop {
            let page = opened.store.list(self.which.whose(), before, PAGE).await?;
            for job in page.jobs {
                if self.live && !job.state.is_live() {
                    continue;
                }
                if jobs.len() == self.limit {
                    return Ok((jobs, true));
                }
                jobs.push(job);
            }
            before = page.before;
            if before.is_none() {
                return Ok((jobs, false));
            }
        }
    }
}

fn table(jobs: &[Job], more: bool) -> String {
    // Most of them have none.
    let failed = jobs.iter().any(|job| job.failure.is_some());
    let head = ["job", "owner", "tool", "about", "status", "progress", "submitted"];
    let head = head.into_iter().chain(failed.then_some("error"));
    let mut table = Table::new(head.map(|name| (name, Align::Left)));
    for job in jobs {
        let submitted = super::show::time(job.submitted_at);
        table.push([
            job.id.to_string(),
            job.owner.clone(),
            job.kind.clone(),
            job.about.clone().unwrap_or_default(),
            status(job),
            progress(job),
            submitted,
            error(job),
        ]);
    }
    let more = if more { "\n… and older ones; --limit shows more" } else { "" };
    table.text() + more
}

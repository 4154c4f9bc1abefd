//! `list_jobs`: the jobs that there are, newest first.

use roothold_core::files::json_len;
use roothold_core::{Action, Actions, Fault, JobTarget, Verb};
use roothold_state::{StateStore as _, Whose};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::owner;
use crate::call::Call;
use crate::jobs::{JobShown, shown, shown_to_manager};
use crate::long::no_jobs;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::LIST_JOBS;
use crate::tools::page::{Room, note};

pub(in crate::tools) struct ListJobs;

/// How many jobs are asked for at once.
const AT_ONCE: u32 = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// A principal, or `*`; needs jobs:manage
    owner: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    jobs: Vec<JobShown>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Tool for ListJobs {
    const NAME: &'static str = LIST_JOBS;
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List Jobs",
            description: "Lists your jobs, newest first, with how far each is.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        let jobs = JobTarget { id: None, owner: owner(input.owner.as_deref()) };
        Ok(Actions::one(Action::job(Verb::List, jobs)))
    }

    async fn run(&self, call: Call, permits: Permits, _: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let store = call.engine().jobs.as_ref().ok_or_else(no_jobs)?.store().await?;
        let own = permit.jobs()?.owner() == Some(call.principal().name());
        let whose = permit.jobs()?.owner().map_or(Whose::Anyone, Whose::Of);
        let mut before: Option<u64> = call.resume()?;
        let (mut room, mut jobs, mut lines) = (Room::of(&call), Vec::new(), Vec::new());
        let truncated = 'pages: loop {
            call.budget().check()?;
            let page = store.list(whose, before, AT_ONCE).await?;
            for job in &page.jobs {
                let record = if own { shown(job) } else { shown_to_manager(job) };
                let line = record.line();
                let json = serde_json::to_string(&record).map_err(Fault::internal)?;
                if !room.take(json.len() + json_len(&line), &job.seq.to_le_bytes())? {
                    break 'pages true;
                }
                before = Some(job.seq);
                jobs.push(record);
                lines.push(line);
            }
            if page.before.is_none() {
                break false;
            }
            before = page.before;
        };
        let next_cursor =
            before.filter(|_| truncated).map(|at| call.next_cursor(&at)).transpose()?;
        let text = if lines.is_empty() { "no jobs".to_owned() } else { lines.join("\n") };
        let note = note(next_cursor.as_deref(), &[], 0);
        Ok(Structured { value: Page { jobs, truncated, next_cursor }, text, note })
    }
}

//! `cancel_job`: has a job stop.

use roothold_core::{Actions, Fault, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one;
use crate::call::Call;
use crate::jobs::{self, JobShown};
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::CANCEL_JOB;

pub(in crate::tools) struct CancelJob;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The job's id.
    job_id: String,
    /// A principal, or `*`; needs jobs:manage
    owner: Option<String>,
}

// The job as it is now: one that runs ends a moment later.
#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Cancelled {
    job: JobShown,
}

impl Tool for CancelJob {
    const NAME: &'static str = CANCEL_JOB;
    type Input = Input;
    type Output = Structured<Cancelled>;

    fn about(&self) -> About {
        About {
            title: "Cancel Job",
            description: "Stops a job. What it had found by then stays readable by get_job. One that has ended stays as it is.",
            effect: Effect::Writes { destructive: true, idempotent: true },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(one(Verb::Write, &input.job_id, input.owner.as_deref())))
    }

    async fn run(&self, call: Call, permits: Permits, _: Input) -> Result<Self::Output, Fault> {
        let found = jobs::cancel(&call, &permits.one()?).await?;
        let job =
            if found.is_own { jobs::shown(&found.job) } else { jobs::shown_to_manager(&found.job) };
        let text = if found.job.state.is_live() {
            format!("{}\nit was told to stop", job.line())
        } else {
            job.line()
        };
        Ok(Structured { value: Cancelled { job }, text, note: None })
    }
}

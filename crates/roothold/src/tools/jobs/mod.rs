//! Jobs for clients without the tasks extension: the same objects as its tasks.

mod cancel_job;
mod get_job;
mod list_jobs;

pub(super) use cancel_job::CancelJob;
pub(super) use get_job::GetJob;
pub(super) use list_jobs::ListJobs;

use roothold_core::{Action, JobOwner, JobTarget, Verb};

/// Who stands for everybody in the argument `owner`.
const ANYONE: &str = "*";

/// Whose jobs are meant.
fn owner(named: Option<&str>) -> JobOwner {
    match named {
        None => JobOwner::Caller,
        Some(ANYONE) => JobOwner::Anyone,
        Some(name) => JobOwner::Principal(name.to_owned()),
    }
}

/// Something done to one job.
fn one(verb: Verb, id: &str, named: Option<&str>) -> Action {
    Action::job(verb, JobTarget { id: Some(id.to_owned()), owner: owner(named) })
}

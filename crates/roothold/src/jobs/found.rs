//! One job, looked up by a permit.

use std::sync::Arc;

use roothold_core::{Fault, Permit, Rule};
use roothold_state::{Content, Job, JobId, JobState, Part, StateStore as _, Whose};

use super::Store;
use crate::call::Call;
use crate::long::no_jobs;

/// A job that the caller may look at.
pub(crate) struct Found {
    store: Arc<Store>,
    pub(crate) job: Job,
    /// Whether it is the caller's own: only then they may see what it is about.
    pub(crate) is_own: bool,
}

/// Finds the job of a permit.
///
/// # Errors
/// `NotFound`, for one that is not there or is somebody else's; `Denied`, for one's own when its
/// tool is not granted any more.
pub(crate) async fn look_up(call: &Call, permit: &Permit) -> Result<Found, Fault> {
    let (store, id) = wanted(call, permit).await?;
    let whose = permit.jobs()?.owner().map_or(Whose::Anyone, Whose::Of);
    let job = store.get(id, whose).await?;
    found(call, store, job)
}

/// Has the job of a permit cancelled, and returns it as it is then.
///
/// # Errors
/// As [`look_up`].
pub(crate) async fn cancel(call: &Call, permit: &Permit) -> Result<Found, Fault> {
    let (store, id) = wanted(call, permit).await?;
    let whose = permit.jobs()?.owner().map_or(Whose::Anyone, Whose::Of);
    let job = store.cancel(id, whose).await?;
    call.budget().note_effect();
    let is_own = job.owner == call.principal().name();
    Ok(Found { store, job, is_own })
}

async fn wanted(call: &Call, permit: &Permit) -> Result<(Arc<Store>, JobId), Fault> {
    let jobs = call.engine().jobs.as_ref().ok_or_else(no_jobs)?;
    let id = permit.jobs()?.id().unwrap_or_default();
    // What is no id is the id of no job.
    let id = id
        .parse()
        .map_err(|error: roothold_state::JobIdError| Fault::not_found(error.to_string()))?;
    Ok((jobs.store().await?, id))
}

fn found(call: &Call, store: Arc<Store>, job: Job) -> Result<Found, Fault> {
    let is_own = job.owner == call.principal().name();
    if is_own && !call.policy().grants_tool(call.principal(), &job.kind) {
        let rule = Rule { name: "tools", detail: None };
        return Err(Fault::denied(
            rule,
            "the tool that made this job is not enabled for you any more",
        ));
    }
    Ok(Found { store, job, is_own })
}

impl Found {
    fn whose(&self) -> Whose<'_> {
        Whose::Of(&self.job.owner)
    }

    /// What it was completed with: the result of a `tools/call`, as JSON.
    pub(crate) async fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        if self.job.state != JobState::Completed {
            return Ok(None);
        }
        Ok(self.store.content(self.job.id, self.whose(), Content::Result).await?)
    }

    /// The result so far, as JSON.
    pub(crate) async fn partial(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.store.content(self.job.id, self.whose(), Content::Partial).await?)
    }

    /// Parts of the result, each as JSON.
    pub(crate) async fn parts(&self, from: u64, limit: u32) -> Result<Vec<Part>, Fault> {
        Ok(self.store.parts(self.job.id, self.whose(), from, limit).await?)
    }
}

//! Telling a client of the tasks that its subscription follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    NotificationMetaObject, ServerNotification, TaskStatusNotification,
    TaskStatusNotificationParams,
};
use rmcp::service::SubscriptionContext;
use roothold_core::FaultKind;
use roothold_state::{Job, JobId, StateStore as _, Whose};
use tokio::time::Instant;

use super::Store;
use super::tasks::tasks_of;
use crate::call::Engine;
use crate::handler::{Handler, Origin};

/// How often it is looked whether a task has changed when nothing says so: another process that
/// shares a file of SQLite wakes nobody here.
const POLL: Duration = Duration::from_secs(2);

/// What was told of a task: it is told again when this is different.
type Told = (u64, u64, i64);

/// Tells of these tasks, each as it is when this begins and then when it has changed, until all
/// have ended or the client is gone. A task that ended is told of once more and then no longer.
pub(crate) async fn tell(handler: &Handler, context: &SubscriptionContext, ids: &[String]) {
    let engine = &handler.engine;
    let Some(store) = store(engine).await else { return };
    let origin = Origin::of(context.request_context()).apart();
    let mut changes = store.changes();
    let mut following: BTreeMap<JobId, Option<Told>> =
        ids.iter().filter_map(|id| Some((id.parse().ok()?, None))).collect();
    let interval = Duration::from_secs(engine.limits.notification_interval_seconds);
    while !following.is_empty() {
        let round = Instant::now();
        if !tell_changed(handler, context, &origin, &mut following).await {
            return;
        }
        let concerns = async {
            // A missed or unknown change concerns all.
            while let Some(change) = changes.next().await {
                if following.keys().any(|id| change.concerns(*id)) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(POLL, concerns).await;
        tokio::time::sleep_until(round + interval).await;
    }
}

async fn store(engine: &Engine) -> Option<Arc<Store>> {
    engine.jobs.as_ref()?.store().await.ok()
}

/// One round; whether the client is still there, and may be told.
async fn tell_changed(
    handler: &Handler,
    context: &SubscriptionContext,
    origin: &Origin,
    following: &mut BTreeMap<JobId, Option<Told>>,
) -> bool {
    let request = context.request_context();
    let owner = Whose::Of(origin.principal().name());
    let Some(store) = store(&handler.engine).await else { return false };
    let mut changed: Vec<(JobId, Option<Told>, bool)> = Vec::new();
    for (id, told) in following.iter() {
        match store.get(*id, owner).await {
            Ok(job) if *told != Some(mark(&job)) => {
                changed.push((*id, Some(mark(&job)), !job.state.is_live()));
            }
            Ok(_) => {}
            Err(roothold_state::StateError::NotFound(_)) => changed.push((*id, None, true)),
            Err(error) => tracing::debug!(%error, "a task could not be looked at now"),
        }
    }
    if changed.is_empty() {
        return true;
    }
    let ids: Vec<String> = changed.iter().map(|(id, ..)| id.to_string()).collect();
    let tasks = match tasks_of(handler, origin, &ids, &request.ct).await {
        Ok(tasks) => tasks,
        // It is theirs no more: nothing is told from then on.
        Err(fault) if fault.kind() == FaultKind::Denied => return false,
        Err(fault) => {
            tracing::debug!(%fault, "a change of a task was not told yet");
            return true;
        }
    };
    for task in tasks {
        let mut meta = NotificationMetaObject::new();
        meta.set_subscription_id(request.id.clone());
        let params = TaskStatusNotificationParams::new(task).with_meta(meta);
        let note = ServerNotification::TaskStatusNotification(TaskStatusNotification::new(params));
        if request.peer.send_notification(note).await.is_err() {
            return false;
        }
        handler.engine.hub.told();
    }
    for (id, mark, has_ended) in changed {
        if has_ended {
            following.remove(&id);
        } else {
            following.insert(id, mark);
        }
    }
    true
}

/// By what a change shows.
fn mark(job: &Job) -> Told {
    (job.epoch, job.chunks, job.updated_at.0)
}

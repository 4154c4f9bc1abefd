//! `subscriptions/listen` of revision 2026-07-28: one request that lasts as long as its
//! subscription.

use rmcp::model::SubscriptionFilter;
use rmcp::service::{RequestContext, SubscriptionContext, SubscriptionSendError};
use rmcp::{ErrorData, RoleServer};
use roothold_core::{FaultKind, Principal};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::subscription::Subscription;
use super::tool_list::Following;
use super::tools::{LISTEN, SUBSCRIBE, UPDATED, Uris, permits_of};
use crate::call::{CallError, CallRequest, Dialogue, Engine};
use crate::handler::{Handler, Origin};
use crate::telemetry::TraceFrom;
use crate::{jobs, resources, wire};

/// What of a filter is honoured for whoever sends the request: the URIs that policy lets them
/// watch. The SDK says so to the client before it calls [`listen`].
pub(crate) fn accepted(handler: &Handler, requested: &SubscriptionFilter) -> SubscriptionFilter {
    let caller = roothold_edge::current_caller();
    let local = Principal::local();
    let principal = caller.as_ref().map_or(&local, |caller| caller.principal());
    let rights = handler.engine.rights.now();
    let may = |uri: &&String| !permits_of(&rights.policy, principal, uri).is_empty();
    let mut filter = SubscriptionFilter::default();
    filter.resource_subscriptions = requested
        .resource_subscriptions
        .as_ref()
        .map(|uris| uris.iter().filter(may).cloned().collect());
    let is_told = handler.engine.hub.tool_list.is_told;
    filter.tools_list_changed = requested.tools_list_changed.filter(|wanted| *wanted && is_told);
    filter
}

/// Runs a subscription until the client ends it or the server stops.
pub(crate) async fn listen(
    handler: &Handler,
    context: SubscriptionContext,
) -> Result<(), ErrorData> {
    let request = context.request_context();
    let uris = context.requested().resource_subscriptions.clone().unwrap_or_default();
    let hub = &handler.engine.hub;
    let tasks = roothold_edge::accepted_tasks(&request.extensions);
    let tasks = tasks.as_ref().map_or(&[][..], |accepted| &accepted.0);
    let telling_of_tasks = async {
        jobs::tell(handler, &context, tasks).await;
        // The subscription lasts: a client that wants no more ends it.
        std::future::pending::<()>().await;
    };
    let origin = Origin::of(request);
    let telling_of_tools = async {
        if context.sink().accepted().tools_list_changed == Some(true) {
            tell_of_tools(handler, &context, origin.principal()).await;
        }
        std::future::pending::<()>().await;
    };
    if uris.is_empty() {
        // Perhaps nothing that was asked for is ever told here, and the request lasts all the same:
        // it takes a place.
        let place = hub.place(origin.principal(), tasks.len());
        let _place = place.map_err(|fault| wire::request_error(&fault))?;
        tokio::select! {
            biased;
            () = context.cancelled() => {}
            () = hub.end.cancelled() => {}
            () = telling_of_tasks => {}
            () = telling_of_tools => {}
        }
        return Ok(());
    }
    let subscription = begin(handler, request, LISTEN, uris).await?;
    let stop = &request.ct;
    let telling = async {
        loop {
            let uris = subscription.next(&handler.engine, origin.principal()).await;
            let allowed = still_allowed(&handler.engine, &origin, uris, stop).await;
            let Some(uris) = allowed else { continue };
            for uri in uris {
                match context.sink().notify_resource_updated(uri).await {
                    Ok(()) => hub.told.inc(),
                    Err(SubscriptionSendError::NotificationNotAccepted(_)) => continue,
                    Err(_) => return,
                };
            }
            subscription.told();
        }
    };
    tokio::select! {
        biased;
        () = context.cancelled() => {}
        () = hub.end.cancelled() => {}
        () = telling => {}
        () = telling_of_tasks => {}
        () = telling_of_tools => {}
    }
    Ok(())
}

/// Tells of each change of the tools, until that is not possible any more.
async fn tell_of_tools(handler: &Handler, context: &SubscriptionContext, principal: &Principal) {
    let mut following = Following::begin(&handler.engine, principal);
    loop {
        following.next().await;
        if context.sink().notify_tool_list_changed().await.is_err() {
            return;
        }
        handler.engine.hub.told();
    }
}

/// Makes a subscription, by the one call path.
pub(super) async fn begin(
    handler: &Handler,
    context: &RequestContext<RoleServer>,
    tool: &'static str,
    uris: Vec<String>,
) -> Result<Subscription, ErrorData> {
    debug_assert!([LISTEN, SUBSCRIBE].contains(&tool), "the two that fill a slot");
    let slot = handler.engine.hub.slots.new_slot();
    let arguments =
        Map::from_iter([("slot".to_owned(), json!(slot.id)), ("uris".to_owned(), json!(uris))]);
    let _: Uris = resources::call(handler, context, tool, arguments).await?;
    slot.take().ok_or_else(|| ErrorData::internal_error("the subscription was not made", None))
}

/// What of the URIs may be told: decided again, and recorded; `None` where that is not possible now.
pub(super) async fn still_allowed(
    engine: &std::sync::Arc<Engine>,
    origin: &Origin,
    uris: Vec<String>,
    cancel: &CancellationToken,
) -> Option<Vec<String>> {
    let request = CallRequest {
        principal: origin.principal(),
        request_id: origin.request_id(),
        method: UPDATED,
        tool: UPDATED,
        arguments: Map::from_iter([("uris".to_owned(), json!(uris))]),
        cancel,
        progress: None,
        takes_tasks: false,
        dialogue: Dialogue::default(),
        within: None,
        job: None,
        trace: TraceFrom::default(),
    };
    match engine.call(request).await {
        Ok(answer) => {
            let uris: Option<Uris> = serde_json::from_value(answer.structured?.value()).ok();
            uris.map(|uris| uris.uris)
        }
        // What whoever listens may see no more is silent.
        Err(CallError::Fault(fault)) if fault.kind() == FaultKind::Denied => Some(Vec::new()),
        Err(CallError::Fault(fault)) => {
            tracing::debug!(%fault, "a change was not told yet");
            None
        }
        Err(CallError::UnknownTool | CallError::NeedsTasks | CallError::Panicked) => None,
    }
}

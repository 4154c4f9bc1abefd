//! `resources/subscribe` and `resources/unsubscribe` of the older revisions: a subscription a URI,
//! for as long as the session, or the one client of stdio, is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::Extensions;
use rmcp::service::{Peer, RequestContext};
use rmcp::{ErrorData, RoleServer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::listen::{begin, still_allowed};
use super::subscription::Subscription;
use super::tools::SUBSCRIBE;
use crate::call::Engine;
use crate::handler::{Handler, Origin};

/// The header by which a session is named.
const SESSION_ID: &str = "mcp-session-id";
/// How often it is looked whether the session of a subscription is still there.
const SESSION_POLL: Duration = Duration::from_secs(5);

/// A session, by its id, and a URI.
type Key = (Arc<str>, String);

/// The subscriptions of sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, AbortOnDropHandle<()>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, AbortOnDropHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, key: &Key) {
        let ended = self.lock().remove(key);
        drop(ended);
    }
}

/// Watches one URI for a session. One that is watched already stays so.
pub(crate) async fn subscribe(
    handler: &Handler,
    uri: String,
    context: RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let key = (session_of(handler, &context.extensions)?, uri);
    let sessions = &handler.engine.hub.sessions;
    if sessions.lock().contains_key(&key) {
        return Ok(());
    }
    let subscription = begin(handler, &context, SUBSCRIBE, vec![key.1.clone()]).await?;
    let telling = tell(
        Arc::clone(&handler.engine),
        Origin::of(&context),
        context.peer.clone(),
        subscription,
        key.clone(),
    );
    // It is in the map before it can take itself out.
    let replaced = {
        let mut open = sessions.lock();
        open.insert(key, AbortOnDropHandle::new(tokio::spawn(telling)))
    };
    drop(replaced);
    Ok(())
}

/// Watches a URI no longer; one that is not watched is no error.
pub(crate) fn unsubscribe(
    handler: &Handler,
    uri: String,
    context: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    handler.engine.hub.sessions.remove(&(session_of(handler, &context.extensions)?, uri));
    Ok(())
}

/// The session of a request.
pub(super) fn session_of(
    handler: &Handler,
    extensions: &Extensions,
) -> Result<Arc<str>, ErrorData> {
    let Some(parts) = extensions.get::<http::request::Parts>() else {
        return Ok("".into());
    };
    let id = parts.headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
    id.filter(|_| handler.engine.hub.has_sessions).map(Arc::from).ok_or_else(|| {
        let reason = "there is no session to tell of changes; use subscriptions/listen of revision 2026-07-28, \
                      or ask the operator for server.legacy_sessions";
        ErrorData::invalid_request(reason, None)
    })
}

/// Tells of changes until the session is gone or the server stops.
async fn tell(
    engine: Arc<Engine>,
    origin: Origin,
    peer: Peer<RoleServer>,
    subscription: Subscription,
    key: Key,
) {
    let hub = &engine.hub;
    let stop = CancellationToken::new();
    let telling = async {
        loop {
            let uris = subscription.next(&engine, origin.principal()).await;
            let Some(uris) = still_allowed(&engine, &origin, uris, &stop).await else { continue };
            for uri in uris {
                let update = rmcp::model::ResourceUpdatedNotificationParam::new(uri);
                if peer.notify_resource_updated(update).await.is_err() {
                    return;
                }
                hub.told.inc();
            }
            subscription.told();
        }
    };
    let gone = async {
        while !peer.is_transport_closed() {
            tokio::time::sleep(SESSION_POLL).await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = gone => {}
        () = hub.end.cancelled() => {}
    }
    drop(subscription);
    hub.sessions.remove(&key);
}

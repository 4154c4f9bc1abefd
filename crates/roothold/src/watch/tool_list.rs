//! Telling clients that the tools which they have are others: a reload took or brought some.
//!
//! **Invariant**: a client is told only when what it would list is different from what it was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::NotificationContext;
use roothold_core::Principal;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch::{Receiver, Sender};

use super::sessions::session_of;
use crate::call::Engine;
use crate::handler::{Handler, Origin};

/// How often it is looked whether a session is still there.
const SESSION_POLL: Duration = Duration::from_secs(5);

/// Whether and when the list of tools changes.
pub(crate) struct ToolList {
    /// Whether it can.
    pub(crate) is_told: bool,
    changes: Sender<u64>,
    /// The sessions that are told.
    followed: Mutex<HashSet<Arc<str>>>,
}

impl ToolList {
    pub(crate) fn new(is_told: bool) -> Self {
        Self { is_told, changes: Sender::new(0), followed: Mutex::default() }
    }

    /// Other tools, or other databases for them, are in force from now on.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn followed(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one principal would list, and when that becomes something else.
pub(super) struct Following<'a> {
    engine: &'a Engine,
    principal: &'a Principal,
    changes: Receiver<u64>,
    shown: [u8; 32],
}

impl<'a> Following<'a> {
    pub(super) fn begin(engine: &'a Engine, principal: &'a Principal) -> Self {
        // First: a change between the two is then told, perhaps for nothing.
        let changes = engine.hub.tool_list.changes.subscribe();
        Self { engine, principal, changes, shown: shown(engine, principal) }
    }

    /// Ends when the list is another one; never, where it cannot change.
    ///
    /// # Cancellation
    /// Safe to drop: the change is told the next time.
    pub(super) async fn next(&mut self) {
        loop {
            if self.changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = shown(self.engine, self.principal);
            if now != self.shown {
                self.shown = now;
                return;
            }
        }
    }
}

fn shown(engine: &Engine, principal: &Principal) -> [u8; 32] {
    let tools = serde_json::to_vec(&engine.listed_tools(principal)).unwrap_or_default();
    Sha256::digest(tools).into()
}

/// Tells the client of a session, or the one of stdio, until it is gone or the server stops. One that
/// says twice that it is there is told once.
pub(crate) async fn tell_session(handler: &Handler, context: NotificationContext<RoleServer>) {
    let engine = &handler.engine;
    let hub = &engine.hub;
    if !hub.tool_list.is_told {
        return;
    }
    let Ok(session) = session_of(handler, &context.extensions) else { return };
    if !hub.tool_list.followed().insert(Arc::clone(&session)) {
        return;
    }
    let _end = Unfollow { list: &hub.tool_list, session };
    let origin = Origin::of_extensions(&context.extensions);
    let mut following = Following::begin(engine, origin.principal());
    let telling = async {
        loop {
            following.next().await;
            if context.peer.notify_tool_list_changed().await.is_err() {
                return;
            }
            hub.told();
        }
    };
    let gone = async {
        while !context.peer.is_transport_closed() {
            tokio::time::sleep(SESSION_POLL).await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = gone => {}
        () = hub.end.cancelled() => {}
    }
}

struct Unfollow<'a> {
    list: &'a ToolList,
    session: Arc<str>,
}

impl Drop for Unfollow<'_> {
    fn drop(&mut self) {
        self.list.followed().remove(&self.session);
    }
}

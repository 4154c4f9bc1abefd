//! Sessions of revisions before 2026-07-28, where they are switched on: capped, ended when idle,
//! and bound to the principal that made them.
//!
//! rmcp keeps the sessions; this keeps whose they are. Invariant: a session id of another
//! principal is answered exactly like one that does not exist.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

use crate::config::SessionLimits;

/// Whose session is whose.
pub(crate) struct Sessions {
    manager: Arc<LocalSessionManager>,
    max: usize,
    opening: AtomicUsize,
    bound: Mutex<HashMap<Box<str>, Bound>>,
}

struct Bound {
    principal: Arc<str>,
    streaming: Arc<AtomicBool>,
}

/// A session being opened; counts against the cap until it is dropped.
pub(crate) struct Opening<'a>(&'a AtomicUsize);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The one standalone stream of a session.
#[derive(Debug)]
pub(crate) struct StreamLease(Arc<AtomicBool>);

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Sessions {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(limits.idle_timeout);
        Self {
            manager: Arc::new(manager),
            max: limits.sessions_max,
            opening: AtomicUsize::new(0),
            bound: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn manager(&self) -> Arc<LocalSessionManager> {
        Arc::clone(&self.manager)
    }

    /// Takes a place for a new session, or nothing where all are taken.
    pub(crate) async fn open(&self) -> Option<Opening<'_>> {
        let opening = self.opening.fetch_add(1, Ordering::Relaxed);
        let place = Opening(&self.opening);
        let live = self.manager.sessions.read().await;
        self.bound().retain(|id, _| live.contains_key(&**id));
        (live.len() + opening < self.max).then_some(place)
    }

    /// Binds a new session to its principal.
    pub(crate) fn bind(&self, id: &str, principal: Arc<str>) {
        let streaming = Arc::new(AtomicBool::new(false));
        self.bound().insert(id.into(), Bound { principal, streaming });
    }

    /// Whether the session is this principal's.
    pub(crate) fn owned_by(&self, id: &str, principal: &str) -> bool {
        self.bound().get(id).is_some_and(|bound| *bound.principal == *principal)
    }

    /// Takes the session's standalone stream, or nothing where it is taken: a second one must not
    /// replace the first.
    pub(crate) fn lease_stream(&self, id: &str) -> Option<StreamLease> {
        let streaming = Arc::clone(&self.bound().get(id)?.streaming);
        let free = !streaming.swap(true, Ordering::AcqRel);
        free.then_some(StreamLease(streaming))
    }

    fn bound(&self) -> MutexGuard<'_, HashMap<Box<str>, Bound>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_capped_and_given_back() {
        let limits = SessionLimits { sessions_max: 1, ..SessionLimits::default() };
        let sessions = Sessions::new(limits);
        let place = sessions.open().await;
        assert!(place.is_some());
        assert!(sessions.open().await.is_none());
        drop(place);
        assert!(sessions.open().await.is_some());
    }

    #[test]
    fn a_session_has_one_owner_and_one_stream() {
        let sessions = Sessions::new(SessionLimits::default());
        sessions.bind("s", "anna".into());
        assert!(sessions.owned_by("s", "anna"));
        assert!(!sessions.owned_by("s", "ben"));
        assert!(!sessions.owned_by("t", "anna"));
        let lease = sessions.lease_stream("s").unwrap();
        assert!(sessions.lease_stream("s").is_none());
        drop(lease);
        assert!(sessions.lease_stream("s").is_some());
    }
}

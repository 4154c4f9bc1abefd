//! Sessions of revisions before 2026-07-28, where they are switched on: capped, ended when idle,
//! and bound to the principal that made them.
//!
//! rmcp keeps the sessions; this keeps whose they are. Invariant: a session id of another
//! principal is answered exactly like one that does not exist.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

use crate::config::SessionLimits;

/// One principal holds at most one of so many parts of all places, rounded up, so that it cannot
/// take the places of the others.
const SHARES: usize = 4;

/// Whose session is whose.
pub(crate) struct Sessions {
    manager: Arc<LocalSessionManager>,
    max: usize,
    per_principal_max: usize,
    held: Mutex<Held>,
}

/// The places that are taken, and by whom.
#[derive(Default)]
struct Held {
    bound: HashMap<Box<str>, Bound>,
    /// Who is opening a session, once for each.
    opening: Vec<Arc<str>>,
}

/// Why there is no place for a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionsFull {
    /// The principal holds its share.
    OfPrincipal,
    /// All places are taken.
    OfAll,
}

struct Bound {
    principal: Arc<str>,
    streaming: Arc<AtomicBool>,
}

/// A session being opened; counts against the caps until it is dropped.
pub(crate) struct Opening<'a> {
    sessions: &'a Sessions,
    principal: Arc<str>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut held = self.sessions.held();
        if let Some(at) = held.opening.iter().position(|name| *name == self.principal) {
            held.opening.swap_remove(at);
        }
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
    /// `one_principal` where nobody authenticates: then all callers are one, and may hold all.
    pub(crate) fn new(limits: SessionLimits, one_principal: bool) -> Self {
        let share = limits.sessions_max.div_ceil(SHARES);
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(limits.idle_timeout);
        Self {
            manager: Arc::new(manager),
            max: limits.sessions_max,
            per_principal_max: if one_principal { limits.sessions_max } else { share },
            held: Mutex::default(),
        }
    }

    pub(crate) fn manager(&self) -> Arc<LocalSessionManager> {
        Arc::clone(&self.manager)
    }

    /// Takes a place for a new session of this principal.
    pub(crate) async fn open(&self, principal: Arc<str>) -> Result<Opening<'_>, SessionsFull> {
        let live = self.manager.sessions.read().await;
        let mut held = self.held();
        held.bound.retain(|id, _| live.contains_key(&**id));
        if live.len() + held.opening.len() >= self.max {
            return Err(SessionsFull::OfAll);
        }
        let its_bound = held.bound.values().filter(|bound| bound.principal == principal).count();
        let its_opening = held.opening.iter().filter(|name| **name == principal).count();
        if its_bound + its_opening >= self.per_principal_max {
            return Err(SessionsFull::OfPrincipal);
        }
        held.opening.push(Arc::clone(&principal));
        Ok(Opening { sessions: self, principal })
    }

    /// Binds a new session to its principal.
    pub(crate) fn bind(&self, id: &str, principal: Arc<str>) {
        let streaming = Arc::new(AtomicBool::new(false));
        self.held().bound.insert(id.into(), Bound { principal, streaming });
    }

    /// Whether the session is this principal's.
    pub(crate) fn owned_by(&self, id: &str, principal: &str) -> bool {
        self.held().bound.get(id).is_some_and(|bound| *bound.principal == *principal)
    }

    /// Takes the session's standalone stream, or nothing where it is taken: a second one must not
    /// replace the first.
    pub(crate) fn lease_stream(&self, id: &str) -> Option<StreamLease> {
        let streaming = Arc::clone(&self.held().bound.get(id)?.streaming);
        let free = !streaming.swap(true, Ordering::AcqRel);
        free.then_some(StreamLease(streaming))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_capped_and_given_back() {
        let limits = SessionLimits { sessions_max: 1, ..SessionLimits::default() };
        let sessions = Sessions::new(limits, false);
        let open = |name: &str| sessions.open(name.into());
        let place = open("anna").await.ok();
        assert!(place.is_some());
        assert_eq!(open("ben").await.err(), Some(SessionsFull::OfAll));
        drop(place);
        assert!(open("ben").await.is_ok());
    }

    #[tokio::test]
    async fn one_principal_cannot_take_every_place() {
        let limits = SessionLimits { sessions_max: 5, ..SessionLimits::default() };
        let sessions = Sessions::new(limits, false);
        let open = |name: &str| sessions.open(name.into());
        let held = [open("anna").await, open("anna").await];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(open("anna").await.err(), Some(SessionsFull::OfPrincipal));
        assert!(open("ben").await.is_ok());
        let all_are_one = Sessions::new(limits, true);
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(all_are_one.open("local".into()).await.ok().unwrap());
        }
        assert_eq!(all_are_one.open("local".into()).await.err(), Some(SessionsFull::OfAll));
    }

    #[test]
    fn a_session_has_one_owner_and_one_stream() {
        let sessions = Sessions::new(SessionLimits::default(), false);
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

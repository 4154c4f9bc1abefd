//! Who sent the request that a handler is serving, and what the handler may tell the front about it.
//!
//! It decides nothing: a handler's policy decides, and says through [`Caller::require_scopes`] that
//! a wider credential would have been allowed.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use roothold_core::Principal;

use crate::trace::TraceParent;

/// The authenticated sender of one request.
#[derive(Debug)]
pub struct Caller {
    principal: Principal,
    request_id: Arc<str>,
    remote: IpAddr,
    span: Option<TraceParent>,
    received: Instant,
    missing_scopes: OnceLock<Box<[String]>>,
}

impl Caller {
    pub(crate) fn new(
        principal: Principal,
        request_id: Arc<str>,
        remote: IpAddr,
        span: Option<TraceParent>,
        received: Instant,
    ) -> Self {
        let missing_scopes = OnceLock::new();
        Self { principal, request_id, remote, span, received, missing_scopes }
    }

    /// Who was authenticated.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The id of the HTTP request: `X-Request-Id` where the balancer sent a sound one, else made
    /// here. It is echoed in the answer, and is not the JSON-RPC id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The same id, shared: cloning it allocates nothing.
    pub fn shared_request_id(&self) -> Arc<str> {
        Arc::clone(&self.request_id)
    }

    /// The remote address of the connection: the balancer's, where there is one.
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// The span of the HTTP request: the one that the observer made of it
    /// ([`Observer::request_began`](crate::Observer::request_began)), else the sender's, where its
    /// `traceparent` header is well formed.
    pub fn span(&self) -> Option<TraceParent> {
        self.span
    }

    /// When the head of the request had arrived.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// Says that the request was denied for want of these scopes, all of which it needs. The front
    /// then answers HTTP 403 with an `insufficient_scope` challenge, unless a stream has begun. The
    /// first call counts.
    pub fn require_scopes(&self, scopes: &[&str]) {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self.missing_scopes.get_or_init(|| scopes);
    }

    pub(crate) fn missing_scopes(&self) -> Option<&[String]> {
        self.missing_scopes.get().map(|scopes| &**scopes)
    }
}

/// Finds the caller of a request in the extensions of its `RequestContext`.
///
/// It is there for every request that came through the front, on both ways.
pub fn caller(extensions: &rmcp::model::Extensions) -> Option<Arc<Caller>> {
    if let Some(caller) = extensions.get::<Arc<Caller>>() {
        return Some(Arc::clone(caller));
    }
    extensions.get::<http::request::Parts>()?.extensions.get::<Arc<Caller>>().cloned()
}

tokio::task_local! {
    static CURRENT: Arc<Caller>;
}

/// Who sent the request, in the one method of a handler that is given no context:
/// `accepted_subscription_filter`.
pub fn current_caller() -> Option<Arc<Caller>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Runs something where [`current_caller`] answers with this caller.
pub(crate) fn with_caller<F: Future>(
    caller: Arc<Caller>,
    work: F,
) -> impl Future<Output = F::Output> {
    CURRENT.scope(caller, work)
}

/// The same for what does not wait.
pub(crate) fn with_caller_now<T>(caller: Option<&Arc<Caller>>, work: impl FnOnce() -> T) -> T {
    match caller {
        Some(caller) => CURRENT.sync_scope(Arc::clone(caller), work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_scopes_count() {
        let caller = Caller::new(
            Principal::local(),
            "1".into(),
            IpAddr::from([127, 0, 0, 1]),
            None,
            Instant::now(),
        );
        assert!(caller.missing_scopes().is_none());
        caller.require_scopes(&["files:write"]);
        caller.require_scopes(&["jobs:manage"]);
        assert_eq!(caller.missing_scopes().unwrap(), ["files:write"]);
    }
}

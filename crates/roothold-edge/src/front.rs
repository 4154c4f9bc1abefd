//! One request, from its head to its answer: the checks in their order, and who answers.
//!
//! The order: Host, Origin, method, authentication, rate, media types, body; then `dispatch.rs`.
//! Invariant: nothing of a body is read before its sender is authenticated.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body;
use rmcp::handler::server::ServerHandler;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use roothold_core::Principal;

use crate::answers::{self, AnswerBudget};
use crate::auth::{Authenticator, FailureLimit, RateLimit};
use crate::body::{self, BodyBudget, BodyRefused, EdgeBody};
use crate::caller::Caller;
use crate::calls::ToolCalls;
use crate::config::EdgeConfig;
use crate::conn::ConnState;
use crate::dispatch::{Message, Route};
use crate::edge::ReadyCheck;
use crate::fast::FastPath;
use crate::finish::Finish;
use crate::headers::ParamHeaders;
use crate::observer::{MethodClass, Observer};
use crate::origin::{Names, Origin};
use crate::reply::{self, Reply, X_REQUEST_ID};
use crate::sessions::Sessions;
use crate::shutdown::{Phase, Shutdown};
use crate::stamp::Stamped;
use crate::tasks::TaskListeners;
use crate::trace::TraceParent;

pub(crate) type Rmcp<H> = StreamableHttpService<Arc<Stamped<H>>, LocalSessionManager>;

/// Everything that requests share.
pub(crate) struct Front<H: ServerHandler> {
    pub(crate) config: EdgeConfig,
    pub(crate) names: Names,
    pub(crate) auth: Authenticator,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) failures: Option<FailureLimit>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) ready: Option<ReadyCheck>,
    pub(crate) shutdown: Shutdown,
    pub(crate) handler: Arc<Stamped<H>>,
    pub(crate) supported: Cow<'static, [ProtocolVersion]>,
    /// Whether the handler may send log messages in revisions that have no `logLevel` per request.
    pub(crate) logs_to_older: bool,
    pub(crate) params: ParamHeaders,
    pub(crate) bodies: BodyBudget,
    pub(crate) answers: AnswerBudget,
    pub(crate) fast: FastPath<H>,
    pub(crate) calls: Option<Arc<dyn ToolCalls>>,
    pub(crate) task_listeners: Option<Arc<dyn TaskListeners>>,
    pub(crate) stateless: Rmcp<H>,
    pub(crate) stateful: Option<(Sessions, Rmcp<H>)>,
    pub(crate) request_ids: RequestIds,
}

/// Makes request ids: a random prefix for the process, then a count.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u32,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(prefix: u32) -> Self {
        Self { prefix, count: AtomicU64::new(0) }
    }

    /// The id that the balancer sent, where it is sound, or a new one.
    fn id_of(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(X_REQUEST_ID) {
            let sound =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let bytes = given.as_bytes();
            if (1..=64).contains(&bytes.len()) && bytes.iter().all(sound) {
                return given.clone();
            }
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // As `{prefix:08x}-{count:x}`, without the machinery of `format!`.
        let mut id = [0_u8; 8 + 1 + 16];
        let at = push_hex(&mut id, 0, u64::from(self.prefix), 8);
        id[at] = b'-';
        let digits = (16 - count.leading_zeros() as usize / 4).max(1);
        let end = push_hex(&mut id, at + 1, count, digits);
        HeaderValue::from_bytes(&id[..end]).expect("hex digits are a header value")
    }
}

/// Writes the lowest `digits` of a number and returns where they end.
fn push_hex(out: &mut [u8], at: usize, number: u64, digits: usize) -> usize {
    for (place, byte) in out[at..at + digits].iter_mut().enumerate() {
        let nibble = (number >> (4 * (digits - 1 - place))) & 15;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    at + digits
}

/// What the client takes as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    JsonAndStream,
    OnlyJson,
    OnlyStream,
    Neither,
}

/// The connection that a request came in on.
pub(crate) struct Via {
    pub(crate) remote: IpAddr,
    pub(crate) conn: Arc<ConnState>,
}

/// What may be said of a request before its body is read.
struct Entered {
    /// The origin that its answer may be read by, where the request has one.
    origin: Option<HeaderValue>,
    admitted: Result<Admitted, Box<Reply>>,
}

/// A request that may be served.
struct Admitted {
    caller: Arc<Caller>,
    /// What a message's sender takes; none for `GET` and `DELETE` of a session.
    takes: Option<Takes>,
}

impl<H: ServerHandler> Front<H> {
    /// Answers one request.
    pub(crate) async fn handle<B>(&self, request: Request<B>, via: &Via) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let version = request.version();
        if version == Version::HTTP_2 {
            via.conn.is_http2();
        }
        let mut finish = Finish::begin(Arc::clone(&self.observer), Arc::clone(&via.conn));
        let has_body = !request.body().is_end_stream();
        let id = self.request_ids.id_of(request.headers());
        let mut reply = if request.uri().path() == self.config.path {
            if *request.method() == Method::POST {
                finish.belongs_to(TraceParent::of_headers(request.headers()));
            }
            let entered = self.enter(&request, via, &id, &mut finish);
            let mut reply = match entered.admitted {
                Ok(admitted) => self.admitted(request, admitted, &mut finish).await,
                Err(refusal) => *refusal,
            };
            if let Some(origin) = entered.origin {
                let headers = reply.headers_mut();
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
            reply
        } else {
            self.plain(&request, &mut finish)
        };
        reply.headers_mut().insert(X_REQUEST_ID, id);
        reply::keep_private(reply.headers_mut());
        let unread = has_body && !finish.body_read;
        if unread {
            via.conn.linger();
        }
        // what is left of an unread body cannot be the next request
        if version < Version::HTTP_2 && (unread || self.shutdown.is_draining()) {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        finish.status = reply.status().as_u16();
        reply.body_mut().finish_with(finish);
        reply
    }

    /// The paths that need no authentication and tell nothing about anybody.
    fn plain<B>(&self, request: &Request<B>, finish: &mut Finish) -> Reply {
        let path = request.uri().path();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        finish.method = match path {
            "/health" | "/ready" => MethodClass::Health,
            _ => MethodClass::Metadata,
        };
        match path {
            "/health" | "/ready" if !read => reply::method_not_allowed("GET, HEAD"),
            "/health" => reply::text(StatusCode::OK, "ok\n"),
            "/ready" => self.ready(),
            _ => match self.auth.metadata_json() {
                Some(metadata) if self.is_metadata_path(path) && read => {
                    reply::json(StatusCode::OK, metadata)
                }
                Some(_) if self.is_metadata_path(path) => reply::method_not_allowed("GET, HEAD"),
                _ => {
                    finish.method = MethodClass::Other;
                    reply::text(StatusCode::NOT_FOUND, "not found\n")
                }
            },
        }
    }

    fn ready(&self) -> Reply {
        if self.shutdown.phase() != Phase::Serving {
            return reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        if self.ready.as_ref().is_some_and(|ready| !ready()) {
            return reply::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
        }
        reply::text(StatusCode::OK, "ready\n")
    }

    fn is_metadata_path(&self, path: &str) -> bool {
        let root = "/.well-known/oauth-protected-resource";
        let below = path.strip_prefix(root);
        below.is_some_and(|below| below.is_empty() || below == self.config.path)
            || self.auth.metadata_path() == Some(path)
    }

    /// Everything that is looked at before a body is read.
    fn enter<B>(
        &self,
        request: &Request<B>,
        via: &Via,
        id: &HeaderValue,
        finish: &mut Finish,
    ) -> Entered {
        let (uri, headers) = (request.uri(), request.headers());
        let forbidden = |text| {
            let admitted = Err(Box::new(reply::text(StatusCode::FORBIDDEN, text)));
            Entered { origin: None, admitted }
        };
        if !self.names.host_allowed(uri, headers) {
            return forbidden("the Host header is not a name of this server\n");
        }
        let origin = match self.names.origin(uri, headers) {
            Origin::Absent => None,
            Origin::Allowed => headers.get(ORIGIN).cloned(),
            Origin::Foreign => return forbidden("the Origin header is not allowed\n"),
        };
        let preflight = *request.method() == Method::OPTIONS
            && origin.is_some()
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let admitted = if preflight {
            Err(Box::new(preflight_reply()))
        } else {
            self.admit(request.method(), headers, via, id, finish)
        };
        Entered { origin, admitted }
    }

    /// A request from an allowed place: who is it, may it send so often, and can it be answered?
    fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        via: &Via,
        id: &HeaderValue,
        finish: &mut Finish,
    ) -> Result<Admitted, Box<Reply>> {
        let with_sessions = self.stateful.is_some();
        let session = with_sessions && matches!(*method, Method::GET | Method::DELETE);
        if *method != Method::POST && !session {
            let allow = if with_sessions { "GET, POST, DELETE" } else { "POST" };
            return Err(Box::new(reply::method_not_allowed(allow)));
        }
        let principal = self.identify(headers, via, id)?;
        let caller = Arc::new(Caller::new(
            principal,
            id.to_str().unwrap_or_default().into(),
            via.remote,
            finish.span.or(finish.parent),
            finish.started(),
        ));
        if session {
            finish.method = MethodClass::Session;
            return Ok(Admitted { caller, takes: None });
        }
        let takes = takes(headers);
        match media_refused(headers, takes) {
            Some(refusal) => Err(Box::new(refusal)),
            None => Ok(Admitted { caller, takes: Some(takes) }),
        }
    }

    /// The answer to a request that may be served, once there is room for it until its client has
    /// read it.
    async fn admitted<B>(
        &self,
        request: Request<B>,
        Admitted { caller, takes }: Admitted,
        finish: &mut Finish,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let Some(takes) = takes else {
            return Box::pin(self.session(parts, caller)).await;
        };
        let (bytes_max, timeout) = (self.config.body_bytes_max, self.config.body_timeout);
        let body = match body::read(body, bytes_max, timeout, &self.bodies).await {
            Ok(body) => body,
            Err(refused) => return body_refused(refused),
        };
        finish.body_read = true;
        let message = Message { parts, body: body.bytes.clone(), caller, takes };
        let mut reply = match self.route(message, finish) {
            Route::Reply(reply) => reply,
            Route::Fast(fast) => self.fast_reply(fast).await,
            Route::Slow(answer) => answer.await,
        };
        if let Some(bytes) = reply.body_mut().whole_mut()
            && AnswerBudget::counts(bytes)
        {
            match self.answers.hold(std::mem::take(bytes)).await {
                Ok(held) => *bytes = held,
                Err(answers::NoRoom) => return reply::no_room(answers::WAIT),
            }
        }
        reply
    }

    fn identify(
        &self,
        headers: &HeaderMap,
        via: &Via,
        id: &HeaderValue,
    ) -> Result<Principal, Box<Reply>> {
        if let Some(failures) = &self.failures {
            failures.check(via.remote).map_err(|wait| Box::new(reply::too_many_requests(wait)))?;
        }
        let principal = self.auth.authenticate(headers).map_err(|failure| {
            if let Some(failures) = &self.failures {
                failures.failed(via.remote);
            }
            let id = id.to_str().unwrap_or_default();
            self.observer.authentication_failed(via.remote, failure.class(), id);
            Box::new(reply::unauthorized(self.auth.challenge(failure)))
        })?;
        if let Some(rate) = &self.rate {
            rate.check(&principal).map_err(|wait| {
                self.observer.rate_limited(&principal);
                Box::new(reply::too_many_requests(wait))
            })?;
        }
        Ok(principal)
    }

    /// Makes a 403 of an answer whose handler found scopes missing.
    pub(crate) fn with_scopes(&self, mut reply: Reply, caller: &Caller) -> Reply {
        if let Some(scopes) = caller.missing_scopes()
            && !reply.body().is_stream()
        {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            *reply.status_mut() = StatusCode::FORBIDDEN;
            let challenge = self.auth.challenge_scopes(&scopes);
            reply.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

const EXPOSED: HeaderValue =
    HeaderValue::from_static("mcp-session-id, www-authenticate, x-request-id, retry-after");
const ASKABLE: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, last-event-id, mcp-protocol-version, mcp-session-id, \
     mcp-method, mcp-name, traceparent, tracestate, x-request-id",
);

fn preflight_reply() -> Reply {
    let mut reply = Reply::new(EdgeBody::Full(None));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ASKABLE);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    reply
}

fn body_refused(refused: BodyRefused) -> Reply {
    let (status, message) = match refused {
        BodyRefused::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
        BodyRefused::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
        BodyRefused::Broken => (StatusCode::BAD_REQUEST, "the body broke off\n"),
        BodyRefused::Busy => {
            let message = "too many large requests at once; retry\n";
            (StatusCode::SERVICE_UNAVAILABLE, message)
        }
    };
    reply::text(status, message)
}

fn media_refused(headers: &HeaderMap, takes: Takes) -> Option<Reply> {
    let json = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if !json {
        return Some(reply::text(unsupported, "send Content-Type: application/json\n"));
    }
    let coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(coded) {
        return Some(reply::text(unsupported, "send the body without Content-Encoding\n"));
    }
    let refused = matches!(takes, Takes::Neither | Takes::OnlyStream);
    refused.then(|| {
        let message = "send Accept: application/json, text/event-stream\n";
        reply::text(StatusCode::NOT_ACCEPTABLE, message)
    })
}

/// What the SDKs of the protocol send, which needs no reading.
const ACCEPT_USUAL: &str = "application/json, text/event-stream";

/// Reads `Accept`; a missing one takes everything.
fn takes(headers: &HeaderMap) -> Takes {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Takes::JsonAndStream;
    }
    if values.peek().is_some_and(|value| *value == ACCEPT_USUAL) {
        return Takes::JsonAndStream;
    }
    let (mut json, mut stream) = (false, false);
    for entry in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';');
        let range = parts.next().unwrap_or_default().trim();
        let refused = parts.any(|parameter| {
            parameter
                .trim()
                .strip_prefix("q=")
                .is_some_and(|q| !q.is_empty() && q.bytes().all(|byte| matches!(byte, b'0' | b'.')))
        });
        if refused {
            continue;
        }
        let is = |name: &str| range.eq_ignore_ascii_case(name);
        json |= is("application/json") || is("application/*") || range == "*/*";
        stream |= is("text/event-stream") || is("text/*") || range == "*/*";
    }
    match (json, stream) {
        (true, true) => Takes::JsonAndStream,
        (true, false) => Takes::OnlyJson,
        (false, true) => Takes::OnlyStream,
        (false, false) => Takes::Neither,
    }
}

/// Asks for the rest of a session's broken stream.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_as_the_client_means_it() {
        for (value, expected) in [
            ("application/json, text/event-stream", Takes::JsonAndStream),
            ("*/*", Takes::JsonAndStream),
            ("application/json", Takes::OnlyJson),
            ("application/json, text/event-stream;q=0", Takes::OnlyJson),
            ("text/event-stream", Takes::OnlyStream),
            ("text/html", Takes::Neither),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            assert_eq!(takes(&headers), expected, "{value}");
        }
        assert_eq!(takes(&HeaderMap::new()), Takes::JsonAndStream);
    }

    #[test]
    fn only_a_sound_request_id_is_taken_over() {
        let ids = RequestIds::new(7);
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("from-nginx.1"));
        assert_eq!(ids.id_of(&headers), "from-nginx.1");
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("x\",\"forged\":\"1"));
        assert_eq!(ids.id_of(&headers), "00000007-0");
    }
}

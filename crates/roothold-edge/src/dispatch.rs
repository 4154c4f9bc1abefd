//! One message, from its bytes to its answer: strict JSON-RPC, the revision's rules, and the way
//! it takes.
//!
//! It authenticates nobody and knows no connection. Invariant: both ways see only messages that
//! passed the same checks.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{ClientRequest, ErrorCode, ErrorData, Extensions, RequestId};

use crate::body::EdgeBody;
use crate::caller::Caller;
use crate::era::{self, Era};
use crate::fast::Call;
use crate::finish::Finish;
use crate::front::{Front, LAST_EVENT_ID, Rmcp, Takes};
use crate::gzip;
use crate::headers::{self, SESSION_ID};
use crate::observer::MethodClass;
use crate::reply::{self, Reply};
use crate::request::{self, Typed, keys};
use crate::rpc::{self, Kind};
use crate::sessions::{Sessions, SessionsFull};

/// Methods of older revisions that 2026-07-28 does not have.
const REMOVED: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// A message on its way, with what was found out about its request.
struct Message {
    parts: Parts,
    body: Bytes,
    caller: Arc<Caller>,
    takes: Takes,
}

impl<H: ServerHandler> Front<H> {
    /// Answers one message.
    pub(crate) async fn dispatch(
        &self,
        parts: Parts,
        body: Bytes,
        caller: Arc<Caller>,
        takes: Takes,
        finish: &mut Finish,
    ) -> Reply {
        let envelope = match rpc::parse(&body) {
            Ok(envelope) => envelope,
            Err(bad) => return reply::bad_request(bad.id, bad.code, bad.message),
        };
        let message = Message { parts, body: body.clone(), caller, takes };
        match envelope.kind {
            Kind::Request { id, method } => {
                if self.was_removed(&message, &method) {
                    let error = ErrorData::new(
                        ErrorCode::METHOD_NOT_FOUND,
                        format!("{method} does not exist in revision 2026-07-28"),
                        None,
                    );
                    return reply::rpc_error(StatusCode::NOT_FOUND, Some(id), error);
                }
                let typed = match request::parse(&method, envelope.params) {
                    Ok(typed) => typed,
                    Err(error) => return self.bad_params(&message, id, &method, &error),
                };
                finish.method = typed.class;
                self.request(message, id, &method, typed, finish).await
            }
            Kind::Notification { method } => {
                finish.method = MethodClass::Notification;
                self.notification(message, &method).await
            }
            Kind::Response => {
                finish.method = MethodClass::Notification;
                match self.session_of(&message.parts.headers) {
                    Some(session) => self.in_session(session, message).await,
                    None => reply::bad_request(
                        None,
                        ErrorCode::INVALID_REQUEST,
                        "responses are taken in a session only",
                    ),
                }
            }
        }
    }

    /// Whether the method was removed by the revision that the request's header names. Asked before
    /// the parameters are looked at: what does not exist has none.
    fn was_removed(&self, message: &Message, method: &str) -> bool {
        REMOVED.contains(&method)
            && era::of_headers(&message.parts.headers, &self.supported) == Ok(Era::Modern)
    }

    /// `-32602` for parameters of the wrong shape.
    fn bad_params(
        &self,
        message: &Message,
        id: RequestId,
        method: &str,
        error: &serde_json::Error,
    ) -> Reply {
        let error: String = error.to_string().chars().take(200).collect();
        let text = format!("invalid params for {method}: {error}");
        let error = ErrorData::invalid_params(text, None);
        let era = era::of_headers(&message.parts.headers, &self.supported);
        let modern = era == Ok(Era::Modern);
        let status = if modern { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        reply::rpc_error(status, Some(id), error)
    }

    async fn request(
        &self,
        message: Message,
        id: RequestId,
        method: &str,
        typed: Typed,
        finish: &mut Finish,
    ) -> Reply {
        let headers = &message.parts.headers;
        if typed.class == MethodClass::Initialize {
            return match headers::check_method_if_present(headers, method) {
                Ok(()) => self.initialize(message).await,
                Err(text) => reply::bad_request(Some(id), ErrorCode::HEADER_MISMATCH, text),
            };
        }
        let era = match era::of_request(headers, method, &typed.meta, &self.supported) {
            Ok(era) => era,
            Err((status, error)) => return reply::rpc_error(status, Some(id), error),
        };
        if era == Era::Modern
            && let Err(text) = self.check_headers(headers, method, &typed)
        {
            return reply::bad_request(Some(id), ErrorCode::HEADER_MISMATCH, text);
        }
        if let (Era::Older(_), Some(session)) = (era, self.session_of(headers)) {
            return self.in_session(session, message).await;
        }
        let streams = self.wants_stream(era, &typed, message.takes);
        match typed.request {
            Some(request) if !streams => {
                finish.fast = true;
                let call = Call { id, request, meta: typed.meta, extensions: Extensions::new() };
                self.fast(era, message, call).await
            }
            _ if message.takes == Takes::OnlyJson && typed.class == MethodClass::Subscribe => {
                let text = "send Accept: application/json, text/event-stream\n";
                reply::text(StatusCode::NOT_ACCEPTABLE, text)
            }
            _ => self.by_rmcp(&self.stateless, message).await,
        }
    }

    fn check_headers(
        &self,
        headers: &HeaderMap,
        method: &str,
        typed: &Typed,
    ) -> Result<(), headers::Mismatch> {
        headers::check_method(headers, method)?;
        let Some(request) = &typed.request else { return Ok(()) };
        headers::check_name(headers, request)?;
        if let ClientRequest::CallToolRequest(call) = request {
            let schema = || self.handler.get_tool(&call.params.name).map(|tool| tool.input_schema);
            let arguments = call.params.arguments.as_ref();
            self.params.check(headers, &call.params.name, arguments, schema)?;
        }
        Ok(())
    }

    /// Whether the request may be answered by more than one message. A client that takes no
    /// stream gets the result alone: progress and log messages are optional.
    fn wants_stream(&self, era: Era, typed: &Typed, takes: Takes) -> bool {
        let meta = &typed.meta.0.0;
        let asks = meta.contains_key(keys::PROGRESS)
            || meta.contains_key(keys::LOG_LEVEL)
            || (self.logs_to_older
                && matches!(era, Era::Older(_))
                && typed.class == MethodClass::ToolsCall);
        era == Era::Inline || (asks && takes == Takes::JsonAndStream)
    }

    async fn fast(&self, era: Era, message: Message, mut call: Call) -> Reply {
        let Message { parts, caller, .. } = message;
        let gzip_from = self.config.gzip_bytes_min.filter(|_| gzip::accepted(&parts.headers));
        call.extensions.insert(Arc::clone(&caller));
        call.extensions.insert(parts);
        let (status, body) = self.fast.run(era, call).await;
        let reply = whole(status, body, gzip_from).await;
        self.with_scopes(reply, &caller)
    }

    async fn notification(&self, message: Message, method: &str) -> Reply {
        let headers = &message.parts.headers;
        let era = match era::of_headers(headers, &self.supported) {
            Ok(era) => era,
            Err((status, error)) => return reply::rpc_error(status, None, error),
        };
        if era == Era::Modern
            && let Err(text) = headers::check_method(headers, method)
        {
            return reply::bad_request(None, ErrorCode::HEADER_MISMATCH, text);
        }
        match self.session_of(headers) {
            Some(session) if era != Era::Modern => self.in_session(session, message).await,
            // without a session there is nothing that a notification could be about: another
            // request's id is another client's
            _ => {
                let mut reply = Reply::new(EdgeBody::Full(None));
                *reply.status_mut() = StatusCode::ACCEPTED;
                reply
            }
        }
    }

    fn session_of(&self, headers: &HeaderMap) -> Option<Box<str>> {
        self.stateful.as_ref()?;
        Some(headers.get(SESSION_ID)?.to_str().unwrap_or_default().into())
    }

    async fn initialize(&self, mut message: Message) -> Reply {
        // It makes a session; named by its header, it would be let into one that is there already.
        message.parts.headers.remove(SESSION_ID);
        let Some((sessions, rmcp)) = &self.stateful else {
            return self.by_rmcp(&self.stateless, message).await;
        };
        let owner = message.caller.principal().shared_name();
        let _place = match sessions.open(Arc::clone(&owner)).await {
            Ok(place) => place,
            Err(SessionsFull::OfPrincipal) => {
                let text = "this caller has as many sessions as it may; end one, or retry later\n";
                return reply::text(StatusCode::TOO_MANY_REQUESTS, text);
            }
            Err(SessionsFull::OfAll) => {
                let text =
                    "all sessions are taken; retry later, or use a revision without sessions\n";
                return reply::text(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        let reply = self.by_rmcp(rmcp, message).await;
        if let Some(id) = reply.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()) {
            sessions.bind(id, owner);
        }
        reply
    }

    async fn in_session(&self, session: Box<str>, message: Message) -> Reply {
        match &self.stateful {
            Some((sessions, rmcp)) if owned(sessions, &session, &message.caller) => {
                self.by_rmcp(rmcp, message).await
            }
            _ => reply::text(StatusCode::NOT_FOUND, "no such session; initialize again\n"),
        }
    }

    /// `GET` and `DELETE` of a session.
    pub(crate) async fn session(&self, parts: Parts, caller: Arc<Caller>) -> Reply {
        let allow = "POST";
        let older = era::of_headers(&parts.headers, &self.supported);
        let Some((sessions, rmcp)) = &self.stateful else {
            return reply::method_not_allowed(allow);
        };
        match older {
            Ok(Era::Older(_)) => {}
            Ok(_) => return reply::method_not_allowed(allow),
            Err((status, error)) => return reply::rpc_error(status, None, error),
        }
        let Some(session) = self.session_of(&parts.headers) else {
            return reply::text(StatusCode::BAD_REQUEST, "send the Mcp-Session-Id header\n");
        };
        if !owned(sessions, &session, &caller) {
            return reply::text(StatusCode::NOT_FOUND, "no such session; initialize again\n");
        }
        let opens = parts.method == http::Method::GET && !parts.headers.contains_key(LAST_EVENT_ID);
        let lease = if opens { sessions.lease_stream(&session) } else { None };
        if opens && lease.is_none() {
            let text = "the session's stream is already open\n";
            return reply::text(StatusCode::CONFLICT, text);
        }
        let takes = Takes::OnlyStream;
        let message = Message { parts, body: Bytes::new(), caller, takes };
        let mut reply = self.by_rmcp(rmcp, message).await;
        if !opens && reply.status() == StatusCode::ACCEPTED {
            // The session is gone, not about to go: some clients take 202 for a failure.
            *reply.status_mut() = StatusCode::NO_CONTENT;
        }
        reply.body_mut().hold(lease, &self.shutdown);
        reply
    }

    /// Hands a message to rmcp's own service.
    ///
    /// Boxed: inline, its kilobytes of state would be moved with every request of the fast path.
    fn by_rmcp<'a>(&'a self, rmcp: &'a Rmcp<H>, message: Message) -> BoxFuture<'a, Reply> {
        Box::pin(self.handed_to(rmcp, message))
    }

    async fn handed_to(&self, rmcp: &Rmcp<H>, message: Message) -> Reply {
        let Message { mut parts, body, caller, takes } = message;
        let gzip_from = self.config.gzip_bytes_min.filter(|_| gzip::accepted(&parts.headers));
        if takes != Takes::OnlyStream {
            let both = HeaderValue::from_static("application/json, text/event-stream");
            parts.headers.insert(ACCEPT, both);
            parts.headers.insert(CONTENT_TYPE, reply::JSON);
        }
        parts.headers.remove(CONTENT_ENCODING);
        parts.extensions.insert(Arc::clone(&caller));
        let request = Request::from_parts(parts, Full::new(body));
        let (mut head, body) = rmcp.handle(request).await.into_parts();
        let streams = head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if streams {
            return Reply::from_parts(head, EdgeBody::stream(body));
        }
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(never) => match never {},
        };
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(name);
        }
        let mut reply = whole(head.status, bytes, gzip_from).await;
        for (name, value) in &head.headers {
            reply.headers_mut().insert(name, value.clone());
        }
        if reply.status() == StatusCode::ACCEPTED {
            reply.headers_mut().remove(CONTENT_TYPE);
        }
        self.with_scopes(reply, &caller)
    }
}

fn owned(sessions: &Sessions, session: &str, caller: &Caller) -> bool {
    sessions.owned_by(session, caller.principal().name())
}

/// A JSON answer, compressed where that was asked for and pays.
async fn whole(status: StatusCode, body: Bytes, gzip_from: Option<usize>) -> Reply {
    if gzip_from.is_some_and(|bytes_min| body.len() >= bytes_min)
        && let Some(packed) = gzip::compress(&body).await
    {
        let mut reply = reply::json(status, packed);
        reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return reply;
    }
    reply::json(status, body)
}

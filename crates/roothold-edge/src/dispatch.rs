//! One message, from its bytes to its answer: strict JSON-RPC, the revision's rules, and the way
//! it takes.
//!
//! It authenticates nobody and knows no connection. Invariant: both ways see only messages that
//! passed the same checks.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequest, ClientRequest, ErrorCode, ErrorData, Extensions, JsonObject, RequestId,
    RequestMetaObject,
};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::body::EdgeBody;
use crate::caller::{Caller, with_caller};
use crate::calls::ToolCall;
use crate::era::{self, Era};
use crate::fast::{self, Call, Handling};
use crate::finish::Finish;
use crate::front::{Front, LAST_EVENT_ID, Rmcp, Takes};
use crate::gzip;
use crate::headers::{self, SESSION_ID};
use crate::observer::MethodClass;
use crate::params::{CallParams, Declared};
use crate::reply::{self, Reply};
use crate::request::{self, Params, Typed};
use crate::rpc::{self, Kind};
use crate::sessions::{Sessions, SessionsFull};
use crate::tasks::{self, AcceptedTasks};
use crate::trace::TraceParent;

/// Methods of older revisions that 2026-07-28 does not have.
const REMOVED: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// A message on its way, with what was found out about its request.
pub(crate) struct Message {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    pub(crate) caller: Arc<Caller>,
    pub(crate) takes: Takes,
}

/// What a request asks for.
struct Asked<'a> {
    id: RequestId,
    method: &'a str,
    raw: Option<&'a RawValue>,
}

/// What answers a message.
pub(crate) enum Route<'a> {
    /// The front itself, at once.
    Reply(Reply),
    /// The handler, on the fast path.
    Fast(Fast),
    /// Anything else. Boxed: inline, its kilobytes of state would be moved with every request.
    Slow(BoxFuture<'a, Reply>),
}

/// A call on the fast path, and what its answer needs.
pub(crate) struct Fast {
    pub(crate) handling: Handling,
    pub(crate) caller: Arc<Caller>,
    pub(crate) gzip_from: Option<usize>,
}

impl<H: ServerHandler> Front<H> {
    /// Finds out what answers a message. It awaits nothing, so that of what it looks at nothing is
    /// kept while the answer is made.
    pub(crate) fn route(&self, message: Message, finish: &mut Finish) -> Route<'_> {
        let body = message.body.clone();
        let envelope = match rpc::parse(&body) {
            Ok(envelope) => envelope,
            Err(bad) => return Route::Reply(reply::bad_request(bad.id, bad.code, bad.message)),
        };
        match envelope.kind {
            Kind::Request { id, method } => {
                let asked = Asked { id, method: &method, raw: envelope.params };
                self.request(message, asked, finish)
            }
            Kind::Notification { method } => {
                finish.method = MethodClass::Notification;
                self.notification(message, &method)
            }
            Kind::Response => {
                finish.method = MethodClass::Notification;
                match self.session_of(&message.parts.headers) {
                    Some(session) => Route::Slow(Box::pin(self.in_session(session, message))),
                    None => Route::Reply(reply::bad_request(
                        None,
                        ErrorCode::INVALID_REQUEST,
                        "responses are taken in a session only",
                    )),
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
    fn bad_params(&self, message: &Message, asked: Asked<'_>, error: &serde_json::Error) -> Reply {
        let error = wrong_params(asked.method, error);
        let era = era::of_headers(&message.parts.headers, &self.supported);
        let modern = era == Ok(Era::Modern);
        let status = if modern { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        reply::rpc_error(status, Some(asked.id), error)
    }

    fn request(&self, message: Message, asked: Asked<'_>, finish: &mut Finish) -> Route<'_> {
        if self.was_removed(&message, asked.method) {
            let text = format!("{} does not exist in revision 2026-07-28", asked.method);
            let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, text, None);
            let reply = reply::rpc_error(StatusCode::NOT_FOUND, Some(asked.id), error);
            return Route::Reply(reply);
        }
        let typed = match request::parse(asked.method, asked.raw) {
            Ok(typed) => typed,
            Err(error) => return Route::Reply(self.bad_params(&message, asked, &error)),
        };
        finish.method = typed.class;
        let headers = &message.parts.headers;
        if typed.class == MethodClass::Initialize {
            return match headers::check_method_if_present(headers, asked.method) {
                Ok(()) => Route::Slow(Box::pin(self.initialize(message))),
                Err(text) => Route::Reply(mismatch(asked.id, text)),
            };
        }
        let seen = typed.seen();
        let era = match era::of_request(headers, asked.method, &seen, &self.supported) {
            Ok(era) => era,
            Err((status, error)) => {
                return Route::Reply(reply::rpc_error(status, Some(asked.id), error));
            }
        };
        if era == Era::Modern
            && let Err(text) = self.check_headers(headers, asked.method, &typed, finish.started())
        {
            return Route::Reply(mismatch(asked.id, text));
        }
        if let (Era::Older(_), Some(session)) = (era, self.session_of(headers)) {
            return Route::Slow(Box::pin(self.in_session(session, message)));
        }
        let streams = self.wants_stream(era, seen.asks_stream, typed.class, message.takes);
        let (declared, parent) = (seen.declared, seen.parent);
        let Typed { params, class } = typed;
        match params {
            Params::Call(call) if !streams => {
                self.call(era, message, asked, (call, declared, parent), finish)
            }
            Params::Sdk(sdk) if !streams => self.sdk(era, message, asked.id, *sdk, finish),
            _ if message.takes == Takes::OnlyJson && class == MethodClass::Subscribe => {
                let text = "send Accept: application/json, text/event-stream\n";
                Route::Reply(reply::text(StatusCode::NOT_ACCEPTABLE, text))
            }
            Params::Listen(listen) if era == Era::Modern => {
                let (tasks, id) =
                    (listen.tasks.filter(|_| self.task_listeners.is_some()), asked.id);
                match tasks {
                    None => Route::Slow(Box::pin(self.handed_to(&self.stateless, message))),
                    Some(_) if !declared.tasks => {
                        let error = tasks::undeclared();
                        let status = StatusCode::BAD_REQUEST;
                        Route::Reply(reply::rpc_error(status, Some(id), error))
                    }
                    Some(tasks) => Route::Slow(Box::pin(self.listen(message, id, tasks))),
                }
            }
            _ => Route::Slow(Box::pin(self.handed_to(&self.stateless, message))),
        }
    }

    fn check_headers(
        &self,
        headers: &HeaderMap,
        method: &str,
        typed: &Typed<'_>,
        now: Instant,
    ) -> Result<(), headers::Mismatch> {
        headers::check_method(headers, method)?;
        let Some(name) = typed.name() else { return Ok(()) };
        headers::check_name(headers, name)?;
        if let Params::Call(call) = &typed.params {
            let schema = || self.handler.get_tool(name).map(|tool| tool.input_schema);
            let arguments = call.arguments.as_ref().map(|arguments| &arguments.0);
            self.params.check(headers, name, arguments, now, schema)?;
        }
        Ok(())
    }

    /// Whether the request may be answered by more than one message. A client that takes no
    /// stream gets the result alone: progress and log messages are optional.
    fn wants_stream(&self, era: Era, asks: bool, class: MethodClass, takes: Takes) -> bool {
        let asks = asks
            || (self.logs_to_older
                && matches!(era, Era::Older(_))
                && class == MethodClass::ToolsCall);
        era == Era::Inline || (asks && takes == Takes::JsonAndStream)
    }

    /// A `tools/call` on the fast path.
    fn call(
        &self,
        era: Era,
        message: Message,
        asked: Asked<'_>,
        (call, declared, parent): (CallParams<'_>, Declared, Option<TraceParent>),
        finish: &mut Finish,
    ) -> Route<'_> {
        let Some(calls) = self.calls.as_deref().filter(|_| !call.resumes()) else {
            return match request::sdk_call(asked.raw) {
                Ok((params, meta)) => {
                    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
                    self.sdk(era, message, asked.id, (request, meta), finish)
                }
                Err(error) => Route::Reply(self.bad_params(&message, asked, &error)),
            };
        };
        let (call, caller) = (
            ToolCall {
                name: call.name.into_owned(),
                arguments: call.arguments.map_or_else(JsonObject::new, |arguments| arguments.0),
                tasks: declared.tasks,
                // An older revision has no answer that asks.
                forms: declared.forms && era == Era::Modern,
                modern: era == Era::Modern,
                parent,
                caller: Arc::clone(&message.caller),
                cancel: CancellationToken::new(),
            },
            message.caller,
        );
        finish.fast = true;
        let handling = self.fast.begin_short(era, asked.id, calls, call);
        Route::Fast(Fast { handling, caller, gzip_from: self.gzip_from(&message.parts.headers) })
    }

    /// A request on the fast path, as the SDK's types.
    fn sdk(
        &self,
        era: Era,
        message: Message,
        id: RequestId,
        (request, meta): (ClientRequest, RequestMetaObject),
        finish: &mut Finish,
    ) -> Route<'_> {
        let Message { parts, caller, .. } = message;
        let gzip_from = self.gzip_from(&parts.headers);
        let mut extensions = Extensions::new();
        extensions.insert(Arc::clone(&caller));
        extensions.insert(parts);
        finish.fast = true;
        let handling = self.fast.begin(era, Call { id, request, meta, extensions });
        Route::Fast(Fast { handling, caller, gzip_from })
    }

    fn gzip_from(&self, headers: &HeaderMap) -> Option<usize> {
        self.config.gzip_bytes_min.filter(|_| gzip::accepted(headers))
    }

    /// The answer of a call that has ended.
    pub(crate) async fn fast_reply(&self, mut fast: Fast) -> Reply {
        let handled = (&mut fast.handling).await;
        let (era, id) = (fast.handling.era, fast.handling.id.clone());
        let (status, body) = self.fast.answer(era, id, handled);
        let reply = match fast.gzip_from.filter(|bytes_min| body.len() >= *bytes_min) {
            Some(_) => Box::pin(packed(status, body)).await,
            None => reply::json(status, body),
        };
        self.with_scopes(reply, &fast.caller)
    }

    fn notification(&self, message: Message, method: &str) -> Route<'_> {
        let headers = &message.parts.headers;
        let era = match era::of_headers(headers, &self.supported) {
            Ok(era) => era,
            Err((status, error)) => return Route::Reply(reply::rpc_error(status, None, error)),
        };
        if era == Era::Modern
            && let Err(text) = headers::check_method(headers, method)
        {
            let reply = reply::bad_request(None, ErrorCode::HEADER_MISMATCH, text);
            return Route::Reply(reply);
        }
        match self.session_of(headers) {
            Some(session) if era != Era::Modern => {
                Route::Slow(Box::pin(self.in_session(session, message)))
            }
            // without a session there is nothing that a notification could be about: another
            // request's id is another client's
            _ => {
                let mut reply = Reply::new(EdgeBody::Full(None));
                *reply.status_mut() = StatusCode::ACCEPTED;
                Route::Reply(reply)
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
            return self.handed_to(&self.stateless, message).await;
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
        let reply = self.handed_to(rmcp, message).await;
        if let Some(id) = reply.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()) {
            sessions.bind(id, owner);
        }
        reply
    }

    /// A subscription that names tasks: which of them it may follow is found out before rmcp
    /// acknowledges it, whose type of a filter has no place for them.
    async fn listen(&self, mut message: Message, id: RequestId, tasks: Vec<String>) -> Reply {
        let Some(listeners) = &self.task_listeners else {
            return self.handed_to(&self.stateless, message).await;
        };
        let accepted = match listeners.accept(Some(Arc::clone(&message.caller)), tasks).await {
            Ok(accepted) => Arc::new(AcceptedTasks(accepted)),
            Err(error) => {
                let reply = reply::rpc_error(fast::status_of(&error), Some(id), error);
                return self.with_scopes(reply, &message.caller);
            }
        };
        message.parts.extensions.insert(Arc::clone(&accepted));
        let mut reply = self.handed_to(&self.stateless, message).await;
        reply.body_mut().acknowledge(accepted);
        reply
    }

    async fn in_session(&self, session: Box<str>, message: Message) -> Reply {
        match &self.stateful {
            Some((sessions, rmcp)) if owned(sessions, &session, &message.caller) => {
                self.handed_to(rmcp, message).await
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
        let mut reply = self.handed_to(rmcp, message).await;
        if !opens && reply.status() == StatusCode::ACCEPTED {
            // The session is gone, not about to go: some clients take 202 for a failure.
            *reply.status_mut() = StatusCode::NO_CONTENT;
        }
        reply.body_mut().hold(lease, &self.shutdown);
        reply
    }

    /// Hands a message to rmcp's own service.
    async fn handed_to(&self, rmcp: &Rmcp<H>, message: Message) -> Reply {
        let Message { mut parts, body, caller, takes } = message;
        let gzip_from = self.gzip_from(&parts.headers);
        if takes != Takes::OnlyStream {
            let both = HeaderValue::from_static("application/json, text/event-stream");
            parts.headers.insert(ACCEPT, both);
            parts.headers.insert(CONTENT_TYPE, reply::JSON);
        }
        parts.headers.remove(CONTENT_ENCODING);
        parts.extensions.insert(Arc::clone(&caller));
        let request = Request::from_parts(parts, Full::new(body));
        let (mut head, body) = with_caller(caller.clone(), rmcp.handle(request)).await.into_parts();
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
        let mut reply = match gzip_from.filter(|bytes_min| bytes.len() >= *bytes_min) {
            Some(_) => packed(head.status, bytes).await,
            None => reply::json(head.status, bytes),
        };
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

/// The error of parameters of the wrong shape. What is wrong may repeat the caller's own text, so
/// a long one is cut.
pub(crate) fn wrong_params(method: &str, error: &serde_json::Error) -> ErrorData {
    let error: String = error.to_string().chars().take(200).collect();
    ErrorData::invalid_params(format!("invalid params for {method}: {error}"), None)
}

fn mismatch(id: RequestId, text: headers::Mismatch) -> Reply {
    reply::bad_request(Some(id), ErrorCode::HEADER_MISMATCH, text)
}

/// A JSON answer, compressed where that pays.
async fn packed(status: StatusCode, body: Bytes) -> Reply {
    match gzip::compress(&body).await {
        Some(packed) => {
            let mut reply = reply::json(status, packed);
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            reply
        }
        None => reply::json(status, body),
    }
}

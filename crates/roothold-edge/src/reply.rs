//! Answers of the front itself: errors, health, and the headers that every answer carries.
//!
//! Messages are written for the client's developer: what was wrong and what to send instead.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use rmcp::model::{ErrorCode, ErrorData, JsonRpcError, RequestId};

use crate::body::EdgeBody;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An HTTP answer of the front.
pub(crate) type Reply = Response<EdgeBody>;

/// An answer without a JSON-RPC message: the request never was one.
pub(crate) fn text(status: StatusCode, message: &'static str) -> Reply {
    let mut reply = Response::new(EdgeBody::full(Bytes::from_static(message.as_bytes())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, TEXT);
    reply
}

/// A JSON answer from bytes that are JSON.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Reply {
    /// Room for the headers of nearly every answer, so that the map is made once.
    const HEADERS_USUAL: usize = 8;
    let mut reply = Response::new(EdgeBody::full(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = HeaderMap::with_capacity(HEADERS_USUAL);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// A JSON-RPC error.
pub(crate) fn rpc_error(status: StatusCode, id: Option<RequestId>, error: ErrorData) -> Reply {
    let body = serde_json::to_vec(&JsonRpcError::new(id, error));
    json(status, Bytes::from(body.expect("a JSON-RPC error has only string keys")))
}

/// 400 with a JSON-RPC error of this code.
pub(crate) fn bad_request(
    id: Option<RequestId>,
    code: ErrorCode,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> Reply {
    rpc_error(StatusCode::BAD_REQUEST, id, ErrorData::new(code, message, None))
}

/// 405 with the methods that are served.
pub(crate) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// 401 with a challenge.
pub(crate) fn unauthorized(challenge: HeaderValue) -> Reply {
    let mut reply = text(StatusCode::UNAUTHORIZED, "a valid bearer credential is required\n");
    reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    reply
}

/// 429 with the time to wait, rounded up to whole seconds.
pub(crate) fn too_many_requests(wait: std::time::Duration) -> Reply {
    let mut reply =
        text(StatusCode::TOO_MANY_REQUESTS, "the request rate is over its limit; wait and retry\n");
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    reply
}

/// 503 in place of an answer that found no room.
pub(crate) fn no_room(retry_after: std::time::Duration) -> Reply {
    let message = "answers that clients have not read take all the room; retry later\n";
    let mut reply = text(StatusCode::SERVICE_UNAVAILABLE, message);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
    reply
}

/// Puts the headers on an answer that keep it out of shared caches: it may depend on who asks.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Authorization, Origin, Accept-Encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

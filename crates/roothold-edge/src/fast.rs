//! The fast path: a request that wants one answer goes straight to the handler, without a
//! transport, a task or a channel of its own.
//!
//! It serves no notifications and no requests to the client: what needs those takes rmcp's way.
//! Invariant: a handler whose client has gone is told so and runs on to its end; it is never
//! dropped halfway.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ClientRequest, ErrorCode, ErrorData,
    Extensions, Implementation, InitializeRequestParams, ProtocolVersion, RequestId,
    RequestMetaObject, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{
    Peer, RequestContext, RoleServer, RunningService, RxJsonRpcMessage, Service, TxJsonRpcMessage,
    serve_directly,
};
use rmcp::transport::Transport;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::calls::{ToolCall, ToolCalls};
use crate::era::{Era, OLDER};
use crate::params::Seen;
use crate::stamp::Stamped;
use crate::tasks;

/// The handler with one peer for each revision.
pub(crate) struct FastPath<H: ServerHandler> {
    handler: Arc<Stamped<H>>,
    modern: Serving<H>,
    older: Vec<Serving<H>>,
    detached: TaskTracker,
}

type Serving<H> = RunningService<RoleServer, Arc<Stamped<H>>>;

/// One call on its way to the handler.
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) request: ClientRequest,
    pub(crate) meta: RequestMetaObject,
    pub(crate) extensions: Extensions,
}

impl<H: ServerHandler> FastPath<H> {
    /// Makes the peers. `detached` counts the handlers whose client has gone.
    pub(crate) fn new(handler: Arc<Stamped<H>>, detached: TaskTracker) -> Self {
        let start = |version: ProtocolVersion| {
            let capabilities = ClientCapabilities::default();
            let mut init = InitializeRequestParams::new(capabilities, Implementation::default());
            init.protocol_version = version;
            serve_directly(Arc::clone(&handler), NoTransport, Some(init))
        };
        let modern = start(ProtocolVersion::V_2026_07_28);
        let older = OLDER.into_iter().map(start).collect();
        Self { handler, modern, older, detached }
    }

    /// Begins one call.
    pub(crate) fn begin(&self, era: Era, call: Call) -> Handling {
        let peer: &Peer<RoleServer> = match era {
            Era::Older(at) => self.older[at].peer(),
            Era::Modern | Era::Inline => self.modern.peer(),
        };
        let mut context = RequestContext::new(call.id.clone(), peer.clone());
        context.meta = call.meta;
        context.extensions = call.extensions;
        let ct = context.ct.clone();
        let handler = Arc::clone(&self.handler);
        let handling = async move {
            match call.request {
                // Past the dispatch of rmcp's service: what that checks was checked by the front.
                ClientRequest::CallToolRequest(request) => {
                    let tasks = Seen::of(&context.meta).declared.tasks;
                    let response = handler.call_tool(request.params, context).await;
                    response.and_then(|response| tool_result(response, era, tasks))
                }
                request => handler.handle_request(request, context).await,
            }
        };
        self.handling(era, call.id, ct, Running::Any(Box::pin(handling)))
    }

    /// Begins a call on its short way.
    pub(crate) fn begin_short(
        &self,
        era: Era,
        id: RequestId,
        calls: &dyn ToolCalls,
        call: ToolCall,
    ) -> Handling {
        let (ct, tasks) = (call.cancel.clone(), call.tasks);
        self.handling(era, id, ct, Running::Call(calls.call(call), tasks))
    }

    fn handling(
        &self,
        era: Era,
        id: RequestId,
        ct: CancellationToken,
        running: Running,
    ) -> Handling {
        Handling { era, id, ct, running: Some(running), detached: self.detached.clone() }
    }

    /// Writes the answer of a call, with the HTTP status of its revision.
    pub(crate) fn answer(&self, era: Era, id: RequestId, handled: Handled) -> (StatusCode, Bytes) {
        match handled {
            Ok(Ok(Outcome::Any(result))) => {
                (StatusCode::OK, encode(&ServerJsonRpcMessage::response(*result, id)))
            }
            Ok(Ok(Outcome::Call(result))) => (StatusCode::OK, self.encode_call(era, &id, result)),
            Ok(Ok(Outcome::Other(mut response))) => {
                if era == Era::Modern {
                    self.handler.stamp_response(&mut response);
                }
                let result = ServerResult::from(*response);
                (StatusCode::OK, encode(&ServerJsonRpcMessage::response(result, id)))
            }
            Ok(Err(mut error)) => {
                // Revision 2026-07-28 has no code of its own for a resource that is not there.
                if era == Era::Modern && error.code == ErrorCode::RESOURCE_NOT_FOUND {
                    error.code = ErrorCode::INVALID_PARAMS;
                }
                let status = if era == Era::Modern { status_of(&error) } else { StatusCode::OK };
                (status, encode(&ServerJsonRpcMessage::error(error, Some(id))))
            }
            Err(_panic) => {
                tracing::error!("a handler panicked");
                let error = ErrorData::internal_error("the server failed on this request", None);
                (StatusCode::OK, encode(&ServerJsonRpcMessage::error(error, Some(id))))
            }
        }
    }

    /// Writes the result of a short call: the bytes that rmcp's types would become, stamped as
    /// [`Stamped`] does it, but without making the stamp a value for each call.
    fn encode_call(&self, era: Era, id: &RequestId, mut result: CallToolResult) -> Bytes {
        let modern = era == Era::Modern;
        let mut spliced = None;
        if modern && result.meta.is_none() {
            spliced = self.handler.stamp_json();
        } else if modern {
            self.handler.stamp_result(&mut result.meta);
        } else {
            result.result_type = None;
        }
        encode_with(&CallAnswer { jsonrpc: "2.0", id, result }, |encoded| {
            // `_meta` is the last field of a result, and a result has at least its content before it.
            if let (Some(stamp), true) = (spliced, encoded.ends_with(b"}}")) {
                encoded.truncate(encoded.len() - 2);
                for piece in [b",\"_meta\":".as_slice(), stamp, b"}}"] {
                    encoded.extend_from_slice(piece);
                }
            }
        })
    }
}

/// An answer with its fields in the order that rmcp's own type has.
#[derive(Serialize)]
struct CallAnswer<'a> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    result: CallToolResult,
}

/// What rmcp's service makes of a tool's response in a revision.
fn tool_result(
    response: CallToolResponse,
    era: Era,
    tasks: bool,
) -> Result<ServerResult, ErrorData> {
    if matches!(response, CallToolResponse::Task(_)) && !tasks {
        return Err(tasks::undeclared());
    }
    let mut result = ServerResult::from(response);
    if era != Era::Modern {
        if matches!(result, ServerResult::InputRequiredResult(_)) {
            let text =
                "InputRequiredResult requires negotiated protocol version 2026-07-28 or newer";
            return Err(ErrorData::invalid_request(text, None));
        }
        result.strip_result_type_for_legacy_peer();
    }
    Ok(result)
}

fn encode(message: &impl Serialize) -> Bytes {
    encode_with(message, |_| ())
}

/// The same, with something done to the JSON.
fn encode_with(message: &impl Serialize, then: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    /// Most answers fit, so that the buffer does not grow step by step.
    const USUAL_BYTES: usize = 1024;
    let mut encoded = Vec::with_capacity(USUAL_BYTES);
    if let Err(error) = serde_json::to_writer(&mut encoded, message) {
        tracing::error!(%error, "a result cannot be written as JSON");
        return Bytes::from_static(
            br#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"the result cannot be written as JSON"}}"#,
        );
    }
    then(&mut encoded);
    // A large answer may stay long with a client that reads slowly; doubled, so would its room.
    if encoded.capacity() > USUAL_BYTES {
        encoded.shrink_to_fit();
    }
    Bytes::from(encoded)
}

/// The HTTP status of an error in revision 2026-07-28. `-32602` is a 400 only for the envelope's
/// `_meta`, which the front has checked before.
pub(crate) fn status_of(error: &ErrorData) -> StatusCode {
    match error.code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// How a handler ended: with an outcome, with an error of the protocol, or in a panic.
pub(crate) type Handled = std::thread::Result<Result<Outcome, ErrorData>>;

/// What a handler answered.
pub(crate) enum Outcome {
    Call(CallToolResult),
    /// A short call's answer that is no result: a task, or a question.
    Other(Box<CallToolResponse>),
    Any(Box<ServerResult>),
}

/// What a short call answered; a task only where the client takes one.
fn outcome(response: CallToolResponse, tasks: bool) -> Result<Outcome, ErrorData> {
    match response {
        CallToolResponse::Complete(result) => Ok(Outcome::Call(result)),
        CallToolResponse::Task(_) if !tasks => Err(tasks::undeclared()),
        other => Ok(Outcome::Other(Box::new(other))),
    }
}

enum Running {
    /// A short call, and whether its client takes a task.
    Call(BoxFuture<'static, Result<CallToolResponse, ErrorData>>, bool),
    Any(BoxFuture<'static, Result<ServerResult, ErrorData>>),
}

impl Future for Running {
    type Output = Handled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Handled> {
        let running = self.get_mut();
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| match running {
            Self::Call(future, tasks) => {
                let polled = future.as_mut().poll(context);
                polled.map(|response| response.and_then(|response| outcome(response, *tasks)))
            }
            Self::Any(future) => {
                future.as_mut().poll(context).map_ok(|result| Outcome::Any(Box::new(result)))
            }
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// A running handler; dropped before its end, it is cancelled and finishes on a task of its own.
pub(crate) struct Handling {
    pub(crate) era: Era,
    pub(crate) id: RequestId,
    running: Option<Running>,
    ct: CancellationToken,
    detached: TaskTracker,
}

impl Future for Handling {
    type Output = Handled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Handled> {
        let this = self.get_mut();
        let Some(running) = &mut this.running else { return Poll::Pending };
        let polled = Pin::new(running).poll(context);
        if polled.is_ready() {
            this.running = None;
        }
        polled
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        // as in rmcp, the token is cancelled at the end in any case: clones of it may be waited on
        self.ct.cancel();
        if let Some(running) = self.running.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.detached.spawn_on(running.map(|_| ()), &runtime);
        }
    }
}

/// The transport of the shared peers: nothing ever comes in, and nothing can go out.
struct NoTransport;

/// A handler asked something of the client on a request that cannot carry it.
#[derive(Debug, thiserror::Error)]
#[error("this request has no stream to the client; requests to it need a session")]
struct NoStream;

impl Transport<RoleServer> for NoTransport {
    type Error = NoStream;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), NoStream>> + Send + 'static {
        let asks = matches!(item, TxJsonRpcMessage::<RoleServer>::Request(_));
        std::future::ready(if asks { Err(NoStream) } else { Ok(()) })
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let never: Infallible = std::future::pending().await;
        match never {}
    }

    async fn close(&mut self) -> Result<(), NoStream> {
        Ok(())
    }
}

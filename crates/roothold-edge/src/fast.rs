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
    CallToolResponse, ClientCapabilities, ClientRequest, ErrorCode, ErrorData, Extensions,
    Implementation, InitializeRequestParams, ProtocolVersion, RequestId, RequestMetaObject,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{
    Peer, RequestContext, RoleServer, RunningService, RxJsonRpcMessage, Service, TxJsonRpcMessage,
    serve_directly,
};
use rmcp::transport::Transport;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::era::{Era, OLDER};
use crate::stamp::Stamped;

/// The handler with one peer for each revision.
pub(crate) struct FastPath<H: ServerHandler> {
    handler: Arc<Stamped<H>>,
    modern: Running<H>,
    older: Vec<Running<H>>,
    detached: TaskTracker,
    /// Whether `tools/call` goes to the handler itself, past the dispatch of rmcp's service: what
    /// that checks was checked by the front, but for tasks, which need the request's capabilities.
    calls_directly: bool,
}

type Running<H> = RunningService<RoleServer, Arc<Stamped<H>>>;

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
        let calls_directly = !ServerHandler::get_info(&*handler).capabilities.supports_tasks();
        Self { handler, modern, older, detached, calls_directly }
    }

    /// Runs one call and returns its answer with the HTTP status of its revision.
    pub(crate) async fn run(&self, era: Era, call: Call) -> (StatusCode, Bytes) {
        let peer: &Peer<RoleServer> = match era {
            Era::Older(at) => self.older[at].peer(),
            Era::Modern | Era::Inline => self.modern.peer(),
        };
        let mut context = RequestContext::new(call.id.clone(), peer.clone());
        context.meta = call.meta;
        context.extensions = call.extensions;
        let ct = context.ct.clone();
        let (handler, calls_directly) = (Arc::clone(&self.handler), self.calls_directly);
        let handling = async move {
            match call.request {
                ClientRequest::CallToolRequest(request) if calls_directly => {
                    let response = handler.call_tool(request.params, context).await;
                    response
                        .and_then(|response| tool_result(response, era))
                        .map_err(|e| coded(e, era))
                }
                // Boxed: it is large, and would be moved with every call of a tool.
                request => Box::pin(handler.handle_request(request, context)).await,
            }
        };
        let handling = Handling {
            future: Some(AssertUnwindSafe(handling).catch_unwind().boxed()),
            ct,
            detached: &self.detached,
        };
        match handling.await {
            Ok(Ok(result)) => {
                (StatusCode::OK, encode(&ServerJsonRpcMessage::response(result, call.id)))
            }
            Ok(Err(error)) => {
                let status = if era == Era::Modern { status_of(&error) } else { StatusCode::OK };
                (status, encode(&ServerJsonRpcMessage::error(error, Some(call.id))))
            }
            Err(_panic) => {
                tracing::error!("a handler panicked");
                let error = ErrorData::internal_error("the server failed on this request", None);
                (StatusCode::OK, encode(&ServerJsonRpcMessage::error(error, Some(call.id))))
            }
        }
    }
}

/// What rmcp's service makes of a tool's response in a revision.
fn tool_result(response: CallToolResponse, era: Era) -> Result<ServerResult, ErrorData> {
    if matches!(response, CallToolResponse::Task(_)) {
        let tasks = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(tasks));
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

/// Revision 2026-07-28 has no code of its own for a resource that is not there.
fn coded(mut error: ErrorData, era: Era) -> ErrorData {
    if era == Era::Modern && error.code == ErrorCode::RESOURCE_NOT_FOUND {
        error.code = ErrorCode::INVALID_PARAMS;
    }
    error
}

fn encode(message: &ServerJsonRpcMessage) -> Bytes {
    /// Most answers fit, so that the buffer does not grow step by step.
    const USUAL_BYTES: usize = 1024;
    let mut encoded = Vec::with_capacity(USUAL_BYTES);
    if let Err(error) = serde_json::to_writer(&mut encoded, message) {
        tracing::error!(%error, "a result cannot be written as JSON");
        return Bytes::from_static(
            br#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"the result cannot be written as JSON"}}"#,
        );
    }
    // A large answer may stay long with a client that reads slowly; doubled, so would its room.
    encoded.shrink_to_fit();
    Bytes::from(encoded)
}

/// The HTTP status of an error in revision 2026-07-28. `-32602` is a 400 only for the envelope's
/// `_meta`, which the front has checked before.
fn status_of(error: &ErrorData) -> StatusCode {
    match error.code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

type Handled = std::thread::Result<Result<ServerResult, ErrorData>>;

/// A running handler; dropped before its end, it is cancelled and finishes on a task of its own.
struct Handling<'a> {
    future: Option<BoxFuture<'static, Handled>>,
    ct: CancellationToken,
    detached: &'a TaskTracker,
}

impl Future for Handling<'_> {
    type Output = Handled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Handled> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            this.future = None;
        }
        polled
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        // as in rmcp, the token is cancelled at the end in any case: clones of it may be waited on
        self.ct.cancel();
        if let Some(future) = self.future.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.detached.spawn_on(future.map(|_| ()), &runtime);
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

//! The short way of a `tools/call`: a handler that needs nothing of the SDK's context for it.
//!
//! It changes nothing of what is checked before, nor of the answer's bytes: what a handler gives
//! here must be what its [`ServerHandler::call_tool`](rmcp::ServerHandler::call_tool) gives.

use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, JsonObject};
use tokio_util::sync::CancellationToken;

use crate::caller::Caller;
use crate::trace::TraceParent;

/// One `tools/call` that wants one answer: no progress, no log messages, no question to the client.
#[derive(Debug)]
pub struct ToolCall {
    /// The name of the tool.
    pub name: String,
    /// Its arguments; no object in them holds a name twice.
    pub arguments: JsonObject,
    /// Whether the client declares the tasks extension with this request, so that the answer may
    /// be a task.
    pub tasks: bool,
    /// Whether the client declares with this request that its user can be asked by a form, so that
    /// the answer may be a question. Only where the request is `modern`.
    pub forms: bool,
    /// Whether the request is of revision 2026-07-28.
    pub modern: bool,
    /// The span that the message itself names (`_meta.traceparent`), where it is well formed.
    pub parent: Option<TraceParent>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// Cancelled when the client has gone, and when the call has ended.
    pub cancel: CancellationToken,
}

/// Answers calls on their short way. Given to [`EdgeBuilder::calls`](crate::EdgeBuilder::calls),
/// it stands in for the handler's `call_tool` on the fast path; all other ways still take that.
pub trait ToolCalls: Send + Sync + 'static {
    /// Answers one call.
    ///
    /// # Errors
    /// An error of the protocol; one that the agent is to read is a result. A task for a client that
    /// did not declare the extension becomes the error that names it.
    ///
    /// # Cancellation
    /// The future is never dropped halfway: where the client has gone, `cancel` says so, and the
    /// future runs on to its end.
    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<CallToolResponse, ErrorData>>;
}

//! A production HTTP front for any rmcp `ServerHandler`.
//!
//! | module | what it holds |
//! |---|---|
//! | `edge`, `config` | [`Edge`]: a handler with its limits, [`EdgeConfig`] |
//! | `serve`, `conn` | accept loop, connections and their times, the phases of the shutdown |
//! | `front`, `origin`, `body` | the checks of one HTTP request, in their order |
//! | `rpc`, `request`, `params`, `era`, `headers` | strict JSON-RPC and the rules of each revision |
//! | `dispatch`, `fast`, `calls`, `stamp`, `sessions` | the way a message takes: the fast path, or rmcp's |
//! | `line` | the same rules for a message without HTTP |
//! | `tasks` | `taskIds` in the filter of a subscription |
//! | `caller`, `observer`, `shutdown` | what handlers and operators see of it |
//! | [`auth`] | who sent a request, and how often they may |
//!
//! It decides nothing about what a caller may do: that is the handler's, which finds who is asking
//! with [`caller`] and may answer with [`Caller::require_scopes`].
//!
//! ```no_run
//! # async fn run(handler: impl rmcp::ServerHandler) -> Result<(), Box<dyn std::error::Error>> {
//! use roothold_edge::{Edge, Shutdown};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! let drained = Edge::builder(handler).build()?.serve(listener, Shutdown::new(), async {}).await?;
//! assert!(drained.is_clean());
//! # Ok(())
//! # }
//! ```

mod answers;
pub mod auth;
mod body;
mod caller;
mod calls;
mod config;
mod conn;
mod dispatch;
mod edge;
mod era;
mod fast;
mod finish;
mod front;
mod gzip;
mod headers;
mod line;
mod observer;
mod origin;
mod params;
mod reply;
mod request;
mod rpc;
mod serve;
mod sessions;
mod shutdown;
mod stamp;
mod tasks;
mod trace;

pub use caller::{Caller, caller, current_caller};
pub use calls::{ToolCall, ToolCalls};
pub use config::{EdgeConfig, SessionLimits};
pub use edge::{Edge, EdgeBuilder, StartError};
pub use line::{CheckedLine, LongLine, RefusedLine, read_line};
pub use observer::{MethodClass, Observer, Refusal, RequestFinished, Unobserved};
pub use params::{span_of, takes_forms};
pub use serve::Drained;
pub use shutdown::{Phase, Shutdown};
pub use tasks::{AcceptedTasks, TaskListeners, accepted_tasks};
pub use trace::{TraceId, TraceParent};

//! What happened at the front, told to whoever keeps the metrics and the log.
//!
//! Nothing here holds a token, a path, a tool's name or an argument: every field is a number, a
//! closed enum or the principal's name, so that it can become a metric label. The methods run on
//! the request's way: they must not block.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use roothold_core::Principal;

use crate::auth::FailureClass;
use crate::shutdown::Phase;
use crate::trace::TraceParent;

/// Receives the front's events. Every method does nothing by default.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted.
    fn connection_opened(&self, _remote: IpAddr) {}
    /// A connection ended.
    fn connection_closed(&self, _remote: IpAddr) {}
    /// A connection was closed at once because a cap was reached.
    fn connection_refused(&self, _remote: IpAddr, _reason: Refusal) {}
    /// The head of a message has arrived; `parent` is the sender's span, where it names one. An observer
    /// that traces returns the request's own, which its handler finds by
    /// [`Caller::span`](crate::Caller::span), and which comes back when the request is answered.
    fn request_began(&self, _parent: Option<TraceParent>) -> Option<TraceParent> {
        None
    }
    /// A request was answered: for a stream, to its end.
    fn request_finished(&self, _request: &RequestFinished) {}
    /// A request carried no valid credential. `request_id` is the one that its answer carries.
    fn authentication_failed(&self, _remote: IpAddr, _class: FailureClass, _request_id: &str) {}
    /// A request was refused by the rate limit.
    fn rate_limited(&self, _principal: &Principal) {}
    /// An answer has room among those that wait in memory for their clients: so many bytes of it, until
    /// [`Observer::answer_released`] is told the same number.
    fn answer_held(&self, _bytes: u64) {}
    /// An answer's room is free again: it was written to its end, or its connection is gone.
    fn answer_released(&self, _bytes: u64) {}
    /// An answer became a 503, since no room for it came free in time.
    fn answer_refused(&self) {}
    /// The front entered a phase of its shutdown.
    fn phase_changed(&self, _phase: Phase) {}
}

/// The observer that is used where none is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Why a connection was closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `connections_max` was reached.
    Total,
    /// `connections_per_ip_max` was reached.
    PerAddress,
}

/// One answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFinished {
    /// The HTTP status that was sent.
    pub status: u16,
    /// What kind of request it was.
    pub method: MethodClass,
    /// From the head's arrival to the end of the answer.
    pub duration: Duration,
    /// Whether it took the fast path.
    pub fast: bool,
    /// Bytes of the answer's body as they were sent, compressed where it was compressed.
    pub bytes: u64,
    /// When its head had arrived.
    pub started: Instant,
    /// The span that [`Observer::request_began`] made of it.
    pub span: Option<TraceParent>,
    /// The sender's span.
    pub parent: Option<TraceParent>,
}

/// The kinds of request, a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodClass {
    /// `initialize`
    Initialize,
    /// `ping`
    Ping,
    /// `server/discover`
    Discover,
    /// `tools/call`
    ToolsCall,
    /// `tools/list`
    ToolsList,
    /// `resources/read`
    ResourcesRead,
    /// `resources/list` and `resources/templates/list`
    ResourcesList,
    /// `resources/subscribe`, `resources/unsubscribe` and `subscriptions/listen`
    Subscribe,
    /// `prompts/get`
    PromptsGet,
    /// `prompts/list`
    PromptsList,
    /// `completion/complete`
    Complete,
    /// `logging/setLevel`
    SetLevel,
    /// `tasks/get`, `tasks/update` and `tasks/cancel`
    Tasks,
    /// A notification or a response from the client.
    Notification,
    /// `GET` or `DELETE` of a session.
    Session,
    /// `/health` and `/ready`.
    Health,
    /// Protected resource metadata.
    Metadata,
    /// Any other method, and requests that were refused before it was known.
    Other,
}

impl MethodClass {
    /// The label of metrics: the MCP method's name where the class is one method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::Discover => "server/discover",
            Self::ToolsCall => "tools/call",
            Self::ToolsList => "tools/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesList => "resources/list",
            Self::Subscribe => "subscriptions",
            Self::PromptsGet => "prompts/get",
            Self::PromptsList => "prompts/list",
            Self::Complete => "completion/complete",
            Self::SetLevel => "logging/setLevel",
            Self::Tasks => "tasks",
            Self::Notification => "notification",
            Self::Session => "session",
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Other => "other",
        }
    }
}

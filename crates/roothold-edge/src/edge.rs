//! Building a front around a handler.
//!
//! It opens no socket: the listener is the caller's.

use std::net::SocketAddr;
use std::sync::Arc;

use rmcp::handler::server::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answers::AnswerBudget;
use crate::auth::{Authenticator, FailureLimit, RateLimit};
use crate::body::BodyBudget;
use crate::calls::ToolCalls;
use crate::config::EdgeConfig;
use crate::fast::FastPath;
use crate::front::{Front, RequestIds, Rmcp};
use crate::headers::ParamHeaders;
use crate::observer::{Observer, Unobserved};
use crate::origin::Names;
use crate::sessions::Sessions;
use crate::shutdown::Shutdown;
use crate::stamp::Stamped;
use crate::tasks::TaskListeners;

/// Why a front does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached by others, and nobody is authenticated.
    #[error(
        "refusing to serve without authentication on {address}: configure authentication, listen \
         on a loopback address, or set allow_unauthenticated_network"
    )]
    Unauthenticated {
        /// The address of the listener.
        address: SocketAddr,
    },
    /// An entry of `allowed_hosts`, `allowed_origins` or `public_url` cannot be read.
    #[error(
        "`{entry}` is not a host, an origin or a URL: write host[:port], or scheme://host[:port]"
    )]
    BadName {
        /// The entry.
        entry: String,
    },
    /// A setting lies outside its bounds.
    #[error("{setting} is out of bounds: {bounds}")]
    OutOfBounds {
        /// The setting's name.
        setting: &'static str,
        /// What it must be.
        bounds: &'static str,
    },
    /// The listener has no address.
    #[error("the listening socket cannot be used")]
    Listener(#[source] std::io::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Says whether the handler can serve now.
pub(crate) type ReadyCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A front that is ready to serve one handler.
pub struct Edge<H> {
    pub(crate) handler: H,
    pub(crate) config: EdgeConfig,
    pub(crate) names: Names,
    pub(crate) auth: Authenticator,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) failures: Option<FailureLimit>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) ready: Option<ReadyCheck>,
    pub(crate) calls: Option<Arc<dyn ToolCalls>>,
    pub(crate) task_listeners: Option<Arc<dyn TaskListeners>>,
}

/// Collects what a front is made of.
pub struct EdgeBuilder<H> {
    handler: H,
    config: EdgeConfig,
    auth: Authenticator,
    rate: Option<RateLimit>,
    failures: Option<FailureLimit>,
    observer: Arc<dyn Observer>,
    ready: Option<ReadyCheck>,
    calls: Option<Arc<dyn ToolCalls>>,
    task_listeners: Option<Arc<dyn TaskListeners>>,
}

impl<H: ServerHandler> Edge<H> {
    /// Starts a front around a handler, without authentication and with the default limits.
    pub fn builder(handler: H) -> EdgeBuilder<H> {
        EdgeBuilder {
            handler,
            config: EdgeConfig::default(),
            auth: Authenticator::none(),
            rate: None,
            failures: None,
            observer: Arc::new(Unobserved),
            ready: None,
            calls: None,
            task_listeners: None,
        }
    }

    /// Makes what requests share. Needs a runtime.
    pub(crate) fn into_front(
        self,
        shutdown: Shutdown,
        detached: TaskTracker,
        streams: &CancellationToken,
    ) -> Result<Front<H>, StartError> {
        let info = self.handler.get_info();
        let stamp = self.config.server_info_in_results;
        let handler = Arc::new(Stamped::new(self.handler, stamp, shutdown.clone()));
        let prefix = getrandom::u32().map_err(|_| StartError::Random)?;
        let stateless = rmcp_service(&handler, &self.config, streams, None);
        let stateful = self.config.legacy_sessions.map(|limits| {
            let sessions = Sessions::new(limits, self.auth.is_none());
            let service = rmcp_service(&handler, &self.config, streams, Some(sessions.manager()));
            (sessions, service)
        });
        Ok(Front {
            names: self.names,
            auth: self.auth,
            rate: self.rate,
            failures: self.failures,
            bodies: BodyBudget::new(self.config.bodies_bytes_max),
            answers: AnswerBudget::new(self.config.answers_bytes_max, Arc::clone(&self.observer)),
            observer: self.observer,
            ready: self.ready,
            shutdown,
            supported: handler.supported_protocol_versions(),
            logs_to_older: info.capabilities.logging.is_some(),
            params: ParamHeaders::new(),
            fast: FastPath::new(Arc::clone(&handler), detached),
            calls: self.calls,
            task_listeners: self.task_listeners,
            handler,
            stateless,
            stateful,
            request_ids: RequestIds::new(prefix),
            config: self.config,
        })
    }
}

/// rmcp's service; its own checks of Host and Origin are off, since the front's stand before it.
fn rmcp_service<H: ServerHandler>(
    handler: &Arc<Stamped<H>>,
    config: &EdgeConfig,
    streams: &CancellationToken,
    sessions: Option<Arc<LocalSessionManager>>,
) -> Rmcp<H> {
    let handler = Arc::clone(handler);
    let settings = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(sessions.is_some())
        .with_json_response(true)
        .with_max_request_body_bytes(config.body_bytes_max)
        .with_cancellation_token(streams.clone())
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let manager = sessions.unwrap_or_default();
    StreamableHttpService::new(
        move || Ok(Arc::new(handler.for_current_caller())),
        manager,
        settings,
    )
}

impl<H: ServerHandler> EdgeBuilder<H> {
    /// Sets the limits and names.
    #[must_use]
    pub fn config(mut self, config: EdgeConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets who authenticates.
    #[must_use]
    pub fn auth(mut self, auth: Authenticator) -> Self {
        self.auth = auth;
        self
    }

    /// Sets how often a principal may send.
    #[must_use]
    pub fn rate_limit(mut self, rate: RateLimit) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets how often one remote address may fail to authenticate. It counts the address of the
    /// connection: behind a balancer that is the balancer's, so use it where there is none.
    #[must_use]
    pub fn failure_limit(mut self, failures: FailureLimit) -> Self {
        self.failures = Some(failures);
        self
    }

    /// Sets who is told of what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets what `/ready` asks before it answers 200: while `check` returns false it answers 503,
    /// and requests that come all the same are still served. It runs on the request's way, so it
    /// must not block. Default: ready from the first accept to the beginning of the shutdown.
    #[must_use]
    pub fn ready_when(mut self, check: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ready = Some(Arc::new(check));
        self
    }

    /// Sets who answers `tools/call` on the fast path, in place of the handler's `call_tool`, which
    /// needs the SDK's context made for each call. Both must give the same answers.
    #[must_use]
    pub fn calls(mut self, calls: impl ToolCalls) -> Self {
        self.calls = Some(Arc::new(calls));
        self
    }

    /// Sets who decides which tasks a `subscriptions/listen` may follow; the handler's `listen` finds
    /// them with [`accepted_tasks`](crate::accepted_tasks). Default: `taskIds` are passed over.
    #[must_use]
    pub fn task_listeners(mut self, listeners: impl TaskListeners) -> Self {
        self.task_listeners = Some(Arc::new(listeners));
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`StartError::BadName`] and [`StartError::OutOfBounds`] say what to correct.
    pub fn build(self) -> Result<Edge<H>, StartError> {
        let Self { handler, config, auth, rate, failures, observer, ready, calls, task_listeners } =
            self;
        let bounds = |fits: bool, setting, bounds| {
            if fits { Ok(()) } else { Err(StartError::OutOfBounds { setting, bounds }) }
        };
        bounds(config.path.starts_with('/'), "path", "it must begin with a slash")?;
        bounds(config.header_bytes_max >= 8 * 1024, "header_bytes_max", "at least 8192 bytes")?;
        bounds(config.headers_max > 0, "headers_max", "at least 1")?;
        bounds(config.connections_max > 0, "connections_max", "at least 1")?;
        bounds(config.body_bytes_max > 0, "body_bytes_max", "at least 1 byte")?;
        bounds(config.answers_bytes_max >= 64 * 1024, "answers_bytes_max", "at least 65536 bytes")?;
        bounds(config.h2_streams_max > 0, "h2_streams_max", "at least 1")?;
        let public_url = config.public_url.as_deref();
        let names = Names::new(&config.allowed_hosts, &config.allowed_origins, public_url)
            .map_err(|entry| StartError::BadName { entry })?;
        Ok(Edge {
            handler,
            config,
            names,
            auth,
            rate,
            failures,
            observer,
            ready,
            calls,
            task_listeners,
        })
    }
}

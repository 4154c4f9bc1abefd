//! The accept loop, the connections, and the phases of the shutdown.
//!
//! Invariant: accepting goes on whatever one connection or one `accept` does, and after the
//! draining phase no request is under way that was not counted.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rmcp::handler::server::ServerHandler;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, REFRESH_INTERVAL};
use crate::config::EdgeConfig;
use crate::conn::{ConnState, GuardedIo, Times, notice_gone};
use crate::edge::{Edge, StartError};
use crate::front::{Front, Via};
use crate::observer::Refusal;
use crate::shutdown::{Phase, Shutdown};

/// How long handlers have to answer once they were told that time is up.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a shutdown came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when `drain_timeout` had passed, or on abort, and were cut or told so.
    pub connections_cut: usize,
    /// Handlers that were still running for clients that had gone.
    pub handlers_abandoned: usize,
    /// Whether the flush ended within `flush_timeout`.
    pub flushed: bool,
    /// From the beginning of the shutdown to its end.
    pub took: Duration,
}

impl Drained {
    /// Whether nothing was lost.
    pub fn is_clean(&self) -> bool {
        self.connections_cut == 0 && self.handlers_abandoned == 0 && self.flushed
    }
}

/// What the connections of a front share.
struct Served<H: ServerHandler> {
    front: Front<H>,
    http: auto::Builder<TokioExecutor>,
    times: Times,
    counts: Counts,
    /// Cancelled when idle connections are to close and busy ones to finish.
    wind_down: CancellationToken,
    /// Cancelled when connections are to be cut.
    cut: CancellationToken,
    connections: TaskTracker,
}

impl<H: ServerHandler> Edge<H> {
    /// Serves on `listener` until `shutdown` begins, then drains, runs `flush`, and returns.
    ///
    /// # Errors
    ///
    /// [`StartError::Unauthenticated`] for an address that is not loopback without authentication.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
        flush: impl Future<Output = ()>,
    ) -> Result<Drained, StartError> {
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let open = self.auth.is_none() && !self.config.allow_unauthenticated_network;
        if open && !address.ip().is_loopback() {
            return Err(StartError::Unauthenticated { address });
        }
        let (detached, streams) = (TaskTracker::new(), CancellationToken::new());
        let front = self.into_front(shutdown, detached.clone(), &streams)?;
        let served = Arc::new(Served::new(front));
        let refreshing = refresh_credentials(&served.front.auth);
        served.accept(&listener).await;
        let begun = Instant::now();
        served.unready(&listener).await;
        let (connections_cut, handlers_abandoned) = served.drain(listener, &detached).await;
        streams.cancel();
        refreshing.cancel();
        let flushed = served.flush(flush).await;
        served.enter(Phase::Stopped);
        let took = begun.elapsed();
        Ok(Drained { connections_cut, handlers_abandoned, flushed, took })
    }
}

/// Rereads keys that changed on disk, for as long as the token is not cancelled.
fn refresh_credentials(auth: &Authenticator) -> CancellationToken {
    let (stop, auth) = (CancellationToken::new(), auth.clone());
    let stopped = stop.clone();
    if !auth.is_none() {
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            // What is wrong is said once, and once more when something else is.
            let mut said = None;
            loop {
                tokio::time::sleep(REFRESH_INTERVAL).await;
                let auth = auth.clone();
                match tokio::task::spawn_blocking(move || auth.refresh()).await {
                    Ok(Err(error)) => {
                        let why = Some(error.to_string());
                        if said != why {
                            tracing::warn!(%error, "the credentials file was not taken over");
                        }
                        said = why;
                    }
                    Ok(Ok(true)) => {
                        tracing::info!("the credentials file was read again");
                        said = None;
                    }
                    Ok(Ok(false)) | Err(_) => {}
                }
            }
        }));
    }
    stop
}

/// What a connection may be told while it is served.
enum Order {
    /// Finish what is running, then close.
    WindDown,
    /// Close at once.
    Cut,
}

impl<H: ServerHandler> Served<H> {
    fn new(front: Front<H>) -> Self {
        let config = &front.config;
        Self {
            http: http_builder(config),
            times: Times {
                head: config.header_timeout,
                idle: config.keep_alive_timeout,
                write: config.write_timeout,
            },
            counts: Counts::new(config),
            wind_down: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
            front,
        }
    }

    fn shutdown(&self) -> &Shutdown {
        &self.front.shutdown
    }

    fn enter(&self, phase: Phase) {
        self.shutdown().enter(phase);
        tracing::info!(phase = phase.as_str(), "the server's phase has changed");
        self.front.observer.phase_changed(phase);
    }

    /// Accepts until the shutdown begins.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown().begun() => return,
                accepted = listener.accept() => accepted,
            };
            self.take(accepted.map(|(stream, remote)| (stream, remote.ip())), &mut backoff).await;
        }
    }

    async fn take(
        self: &Arc<Self>,
        accepted: io::Result<(TcpStream, IpAddr)>,
        backoff: &mut Backoff,
    ) {
        match accepted {
            Ok((stream, remote)) => {
                backoff.reset();
                self.open(stream, remote);
            }
            Err(error) if backoff.is_of_one_connection(&error) => {}
            Err(error) => {
                // out of descriptors or memory: closing connections will help, spinning will not
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }

    fn open(self: &Arc<Self>, stream: TcpStream, remote: IpAddr) {
        let place = match self.counts.enter(remote) {
            Ok(place) => place,
            Err(refusal) => {
                self.front.observer.connection_refused(remote, refusal);
                return;
            }
        };
        // without it, the second small packet of a stream waits 40 ms for an acknowledgement
        if stream.set_nodelay(true).is_err() {
            return;
        }
        notice_gone(&stream, self.front.config.peer_timeout);
        let served = Arc::clone(self);
        self.connections.spawn(async move {
            served.front.observer.connection_opened(remote);
            served.connection(stream, remote).await;
            served.front.observer.connection_closed(remote);
            served.counts.leave(place);
        });
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream, remote: IpAddr) {
        let state = Arc::new(ConnState::new());
        let io = TokioIo::new(GuardedIo::new(stream, Arc::clone(&state), self.times));
        let via = Arc::new(Via { remote, conn: state });
        let service = service_fn(|request| {
            let (served, via) = (Arc::clone(self), Arc::clone(&via));
            async move { Ok::<_, Infallible>(served.front.handle(request, &via).await) }
        });
        let mut connection = std::pin::pin!(self.http.serve_connection(io, service));
        let mut orders = self.orders();
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
                Some(order) = orders.next() => match order {
                    Order::Cut => return,
                    Order::WindDown => connection.as_mut().graceful_shutdown(),
                },
            }
        }
    }

    /// What a connection may be told. The tokens stand in a set of futures because that looks at
    /// one only when it was woken, and a connection is polled with every request.
    fn orders(&self) -> FuturesUnordered<BoxFuture<'static, Order>> {
        let (wind_down, cut) = (self.wind_down.child_token(), self.cut.child_token());
        FuturesUnordered::from_iter([
            async move { wind_down.cancelled().await }.map(|()| Order::WindDown).boxed(),
            async move { cut.cancelled().await }.map(|()| Order::Cut).boxed(),
        ])
    }

    /// Goes on accepting, so that a balancer may learn of it before connections are refused.
    async fn unready(self: &Arc<Self>, listener: &TcpListener) {
        self.enter(Phase::Unready);
        let delay = tokio::time::sleep(self.front.config.pre_stop_delay);
        let mut delay = std::pin::pin!(delay);
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown().aborted() => return,
                accepted = listener.accept() => accepted,
                () = delay.as_mut() => return,
            };
            self.take(accepted.map(|(stream, remote)| (stream, remote.ip())), &mut backoff).await;
        }
    }

    /// Finishes what is under way. Returns the connections that were cut and the handlers that
    /// were left.
    async fn drain(
        self: &Arc<Self>,
        listener: TcpListener,
        detached: &TaskTracker,
    ) -> (usize, usize) {
        self.enter(Phase::Draining);
        // what the kernel has already accepted would be reset with the listener
        while let Some(Ok((stream, remote))) = futures::FutureExt::now_or_never(listener.accept()) {
            self.open(stream, remote.ip());
        }
        drop(listener);
        self.connections.close();
        detached.close();
        let config = &self.front.config;
        let grace = config.drain_idle_grace.min(config.drain_timeout);
        let finishing = async {
            let idle = tokio::time::timeout(grace, self.connections.wait()).await;
            if idle.is_err() {
                self.wind_down.cancel();
            }
            self.connections.wait().await;
            detached.wait().await;
        };
        tokio::select! {
            () = finishing => (0, 0),
            () = tokio::time::sleep(config.drain_timeout) => self.cut_rest(detached).await,
            () = self.shutdown().aborted() => self.cut_rest(detached).await,
        }
    }

    /// Says that time is up, so that handlers can tell their clients, and cuts what is left a moment later.
    async fn cut_rest(&self, detached: &TaskTracker) -> (usize, usize) {
        let connections = self.connections.len();
        self.shutdown().cut();
        self.wind_down.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, self.connections.wait()).await;
        self.cut.cancel();
        self.connections.wait().await;
        let handlers = detached.len();
        tracing::warn!(connections, handlers, "the drain timeout has passed; the rest is cut");
        (connections, handlers)
    }

    async fn flush(&self, flush: impl Future<Output = ()>) -> bool {
        self.enter(Phase::Flushing);
        let flushed = tokio::time::timeout(self.front.config.flush_timeout, flush).await.is_ok();
        if !flushed {
            tracing::error!("the flush timeout has passed; what was buffered may be lost");
        }
        flushed
    }
}

fn http_builder(config: &EdgeConfig) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    let mut http1 = http.http1();
    // the head's time is kept by `conn.rs`: hyper's would also end idle connections
    http1.header_read_timeout(None).max_buf_size(config.header_bytes_max);
    // hyper's own default is 100, on the stack; asking for it costs an allocation per request
    if config.headers_max != 100 {
        http1.max_headers(config.headers_max);
    }
    let header_list = u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(header_list)
        .max_concurrent_streams(config.h2_streams_max)
        .max_pending_accept_reset_streams(config.h2_resets_max)
        .max_local_error_reset_streams(config.h2_resets_max.max(20))
        .keep_alive_interval(config.keep_alive_timeout)
        .keep_alive_timeout(config.write_timeout);
    http
}

/// How long to wait before the next `accept`, after one that failed for want of something.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        self.failures = (self.failures + 1).min(7);
        Duration::from_millis(10 << self.failures)
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the policy")]
    fn is_of_one_connection(&self, error: &io::Error) -> bool {
        use io::ErrorKind as Kind;
        matches!(
            error.kind(),
            Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::ConnectionRefused
                | Kind::Interrupted
        )
    }
}

/// Counts open connections against their caps.
struct Counts {
    open: AtomicUsize,
    total_max: usize,
    per_ip_max: Option<usize>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

/// A counted connection's address.
struct Place(IpAddr);

impl Counts {
    fn new(config: &EdgeConfig) -> Self {
        Self {
            open: AtomicUsize::new(0),
            total_max: config.connections_max,
            per_ip_max: config.connections_per_ip_max,
            per_ip: Mutex::new(HashMap::new()),
        }
    }

    fn enter(&self, remote: IpAddr) -> Result<Place, Refusal> {
        if self.open.load(Ordering::Relaxed) >= self.total_max {
            return Err(Refusal::Total);
        }
        if let Some(max) = self.per_ip_max {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let open = per_ip.entry(remote).or_insert(0);
            if *open >= max {
                return Err(Refusal::PerAddress);
            }
            *open += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place(remote))
    }

    fn leave(&self, Place(remote): Place) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if self.per_ip_max.is_some() {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = per_ip.get_mut(&remote) {
                *open -= 1;
                if *open == 0 {
                    per_ip.remove(&remote);
                }
            }
        }
    }
}

//! A server on its transports: HTTP with its private port, or stdio; and its end.

mod addresses;
mod front;
mod idle;
mod lines;
mod listening;
mod lost_lines;
mod manager;
mod observer;
mod pipes;
mod places;
mod private;
mod reload;
mod renew;
mod signals;
mod stamps;
mod sweep;
mod watchdog;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rmcp::ServiceExt as _;
use roothold_edge::{Shutdown, TaskListeners};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::builder::{Roothold, StartError};
use crate::call::Engine;
use crate::config::Config;

pub(crate) use addresses::{could_listen, private as private_addresses};
pub(crate) use front::{check, warnings};
pub(crate) use reload::{Reasons, Taken, reload_for_ever};
pub use signals::on_signals;
pub(crate) use stamps::Stamps;

/// What became of the calls when the server ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether everything that was running was answered and everything was stored.
    pub clean: bool,
}

impl Roothold {
    /// Serves over HTTP on `listener` until `shutdown`, and `/metrics` on the private port.
    ///
    /// # Errors
    /// A [`StartError`], when the configuration is unsafe, such as no authentication on an
    /// address that is not loopback, or the private port is taken.
    ///
    /// # Cancellation
    /// Use `shutdown`. Dropping the future closes the listeners and nothing more: requests on
    /// connections that are open go on until they end or the runtime does, and nothing is flushed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<Ended, StartError> {
        Box::pin(self.serve_and_tell(listener, shutdown, |_| {})).await
    }

    /// The same; `started` is told the address that is listened on once nothing can refuse the start any
    /// more.
    pub(crate) async fn serve_and_tell(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
        started: impl FnOnce(SocketAddr),
    ) -> Result<Ended, StartError> {
        let address = listener.local_addr().unwrap_or(self.config.server.listen);
        front::refuse_strangers(&self.config, address)?;
        let edge = front::edge(&self)?;
        let private = private::listen(&self.config.telemetry.listen, &self.private).await?;
        self.engine.traces.begin().map_err(StartError::Front)?;
        if let Some(jobs) = &self.engine.jobs {
            jobs.open().await?;
        }
        begin_audit(&self.engine).await?;
        self.begin_jobs().await?;
        let _draining = drain(&shutdown, &self.engine);
        let _stopping = tell_the_end(&shutdown, &self.config);
        // All end when they are dropped, whichever way this future ends.
        let _idle = idle::watch(&self);
        let _renewing = renew::watch(&self);
        let _lost = lost_lines::watch();
        self.engine.databases.watch();
        sweep::begin(&self);
        let _metrics = private.map(|listener| {
            let hosts = private::Hosts::of(listener.local_addr().ok(), &self.config);
            let engine = Arc::clone(&self.engine);
            let serving = private::serve(listener, hosts, engine, shutdown.clone());
            AbortOnDropHandle::new(tokio::spawn(serving))
        });
        let _telling = watchdog::begin(&self);
        for warning in front::warnings(&self.config) {
            tracing::warn!("{warning}");
        }
        // Connections wait already, and will be accepted.
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving MCP at /mcp");
        started(address);
        manager::ready(address).await;
        let stored = AtomicBool::new(false);
        let drained = edge
            .serve(listener, shutdown, async {
                stored.store(flush(Arc::clone(&self.engine)).await, Ordering::Relaxed);
            })
            .await
            .map_err(|error| StartError::Front(error.to_string()))?;
        Ok(Ended { clean: drained.is_clean() && stored.into_inner() })
    }

    /// Serves one client over stdin and stdout until the input ends or `shutdown` begins.
    ///
    /// Once `shutdown` has begun, what is running may end within `server.drain_timeout_seconds`;
    /// an abort cuts it. At the end of the input calls have 5 seconds, which is rmcp's own limit,
    /// to be answered. What is cut then is recorded with that outcome.
    ///
    /// # Errors
    /// When the transport fails.
    ///
    /// # Cancellation
    /// Use `shutdown`: dropping the future cuts what is running and flushes nothing.
    pub async fn stdio(self, shutdown: Shutdown) -> anyhow::Result<Ended> {
        self.engine.traces.begin().map_err(StartError::Front)?;
        if let Some(jobs) = &self.engine.jobs {
            jobs.open_shared().await?;
        }
        begin_audit(&self.engine).await?;
        if let Some(jobs) = &self.engine.jobs {
            jobs.begin_beside(&self.engine).await?;
        }
        let _draining = drain(&shutdown, &self.engine);
        let _idle = idle::watch(&self);
        let _renewing = renew::watch(&self);
        let _lost = lost_lines::watch();
        self.engine.databases.watch();
        sweep::begin(&self);
        // Subscriptions last until they are ended, and would keep the client waiting.
        let (begun, end) = (shutdown.clone(), self.engine.hub.end.clone());
        let _ending = AbortOnDropHandle::new(tokio::spawn(async move {
            begun.begun().await;
            end.cancel();
        }));
        tracing::debug!("serving MCP on stdin and stdout");
        let (input, output) = pipes::standard();
        let input =
            pipes::Until::new(input, idle_after(shutdown.clone(), Arc::clone(&self.engine)));
        let bytes_max = self.config.limits.body_bytes_max;
        let listeners = self.engine.jobs.is_some().then(|| self.handler());
        let listeners = listeners.map(|handler| Arc::new(handler) as Arc<dyn TaskListeners>);
        let listening = listening::Listening::new(listeners);
        let lines = lines::Lines::new(Box::new(input), output, bytes_max, listening);
        let service = Box::pin(self.handler().serve(lines)).await;
        let service = match service {
            Ok(service) => service,
            // The client went away before it said anything.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => {
                return Ok(Ended { clean: flush(Arc::clone(&self.engine)).await });
            }
            Err(error) => return Err(error.into()),
        };
        let stop = service.cancellation_token();
        let ended = service.waiting();
        tokio::pin!(ended);
        let mut in_time = true;
        let drain_timeout = Duration::from_secs(self.config.server.drain_timeout_seconds);
        tokio::select! {
            ended = &mut ended => { ended?; }
            () = overdue(&shutdown, drain_timeout) => {
                in_time = false;
                stop.cancel();
                let _ = tokio::time::timeout(OUTCOMES_TIMEOUT, ended).await;
            }
        }
        // What still runs is cut by the flush.
        let answered = in_time && self.engine.metrics.calls_in_flight() == 0;
        Ok(Ended { clean: flush(Arc::clone(&self.engine)).await && answered })
    }
}

/// Begins the audit log, as the last thing that can refuse a start.
async fn begin_audit(engine: &Arc<Engine>) -> Result<(), StartError> {
    let engine = Arc::clone(engine);
    let begun = tokio::task::spawn_blocking(move || engine.audit.begin()).await;
    Ok(begun.map_err(|error| StartError::Front(error.to_string()))??)
}

/// Gives jobs back as soon as the end begins: others may go on with them while requests are answered.
/// Users who were asked something are not waited for any more. When the time of requests is over, calls end with a word
/// to their clients.
fn drain(shutdown: &Shutdown, engine: &Arc<Engine>) -> AbortOnDropHandle<()> {
    let (begun, engine) = (shutdown.clone(), Arc::clone(engine));
    AbortOnDropHandle::new(tokio::spawn(async move {
        begun.begun().await;
        engine.confirmations.end.cancel();
        if let Some(jobs) = &engine.jobs {
            jobs.drain();
        }
        begun.cutting().await;
        engine.cut.cancel();
    }))
}

/// Has the service manager know of the end as it begins, and how long it may take.
fn tell_the_end(shutdown: &Shutdown, config: &Config) -> AbortOnDropHandle<()> {
    let (begun, server) = (shutdown.clone(), &config.server);
    let seconds = server.pre_stop_delay_seconds + server.drain_timeout_seconds;
    let longest = Duration::from_secs(seconds) + FLUSH_TIMEOUT;
    AbortOnDropHandle::new(tokio::spawn(async move {
        begun.begun().await;
        manager::stopping(longest).await;
    }))
}

/// Ends when the shutdown has begun and no call is running any more.
async fn idle_after(shutdown: Shutdown, engine: Arc<Engine>) {
    shutdown.begun().await;
    while engine.metrics.calls_in_flight() > 0 {
        tokio::time::sleep(CALLS_POLL).await;
    }
}

/// Ends when what is running has had its time, or is to be cut.
async fn overdue(shutdown: &Shutdown, drain_timeout: Duration) {
    shutdown.begun().await;
    tokio::select! {
        () = tokio::time::sleep(drain_timeout) => {}
        () = shutdown.aborted() => {}
    }
}

/// How long it may take at most to store what is in memory, and to close what is open.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// How long calls that were told to stop may take to say how they ended.
const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether calls still run: far below what a person notices.
const CALLS_POLL: Duration = Duration::from_millis(5);

/// Ends what is still running, so that its outcome is recorded, and stores what is in memory;
/// tells whether that worked.
async fn flush(engine: Arc<Engine>) -> bool {
    engine.hub.end.cancel();
    let released = match &engine.jobs {
        Some(jobs) => jobs.close().await,
        None => true,
    };
    engine.stop.cancel();
    let deadline = Instant::now() + OUTCOMES_TIMEOUT;
    while engine.metrics.calls_in_flight() > 0 && Instant::now() < deadline {
        tokio::time::sleep(CALLS_POLL).await;
    }
    let recorded = engine.metrics.calls_in_flight() == 0;
    engine.databases.close().await;
    if !recorded {
        tracing::error!("calls still run that were told to stop; their outcomes are not recorded");
    }
    let closing = Arc::clone(&engine);
    let closed = tokio::task::spawn_blocking(move || closing.audit.close()).await;
    engine.traces.end().await;
    let error = match closed {
        Ok(Ok(())) => return recorded && released,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(error, "the audit log could not be closed");
    false
}

//! The private port: `/metrics`, `/status` and a page of both, for the operator's own network, and `/health` for whoever
//! starts the process anew. No authentication of its own.
//!
//! **Invariant**: clients have no part in the places of this port, so `/health` answers here when they have taken all
//! connections of the main one.

mod console;
mod hosts;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roothold_edge::{Phase, Shutdown};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::addresses::unusable;
use crate::builder::StartError;
use crate::call::Engine;
use crate::telemetry::{Found, log_lines_lost};
pub(super) use hosts::Hosts;

/// Scrapers are few.
const CONNECTIONS_MAX: usize = 16;
/// How long one lasts at most, which is for one answer: else who does not read theirs would keep the place.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(20);
/// Where so many are there, as many again come in; more wait.
const BESIDE_MAX: usize = 16;
/// These have less time, so that who asks whether the server lives waits for nobody who does not read.
const BESIDE_TIME_MAX: Duration = Duration::from_secs(1);

/// Binds the first address that can be used, if there are any.
pub(super) async fn listen(
    name: &str,
    addresses: &[SocketAddr],
) -> Result<Option<TcpListener>, StartError> {
    if addresses.is_empty() {
        return Ok(None);
    }
    TcpListener::bind(addresses).await.map(Some).map_err(|error| unusable(name, &error))
}

/// Serves until the shutdown has ended.
pub(super) async fn serve(
    listener: TcpListener,
    hosts: Hosts,
    engine: Arc<Engine>,
    shutdown: Shutdown,
) {
    let hosts = Arc::new(hosts);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let beside = Arc::new(Semaphore::new(BESIDE_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.aborted() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok((place, time_max)) = enter(&places, &beside).await else { return };
        let (engine, shutdown) = (Arc::clone(&engine), shutdown.clone());
        let hosts = Arc::clone(&hosts);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let is_meant = hosts.admit(request.headers());
                answer(Arc::clone(&engine), shutdown.clone(), request, is_meant)
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            http.keep_alive(false);
            let served = http.serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(time_max, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a connection of the private port failed");
                }
                Err(_) => tracing::info!("whoever asked the private port did not read the answer"),
            }
        });
    }
}

/// Waits for a place; returns how long it may be held, too.
async fn enter(
    places: &Arc<Semaphore>,
    beside: &Arc<Semaphore>,
) -> Result<(OwnedSemaphorePermit, Duration), AcquireError> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok((place, CONNECTION_TIME_MAX));
    }
    let place = Arc::clone(beside).acquire_owned().await?;
    Ok((place, BESIDE_TIME_MAX))
}

async fn answer(
    engine: Arc<Engine>,
    shutdown: Shutdown,
    request: Request<Incoming>,
    is_meant: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let (status, kind, body) = match request.uri().path() {
        _ if !is_meant => (StatusCode::FORBIDDEN, TEXT, OTHER_HOST.to_owned()),
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, TEXT, String::new()),
        "/metrics" => (StatusCode::OK, OPEN_METRICS, text(engine, &shutdown).await),
        "/status" => (StatusCode::OK, "application/json", status(&engine, &shutdown)),
        "/health" => (StatusCode::OK, TEXT, health(&engine).to_owned()),
        "/" => {
            let status = seen(&engine, &shutdown);
            let metrics = text(engine, &shutdown).await;
            (StatusCode::OK, "text/html; charset=utf-8", console::page(&status, &metrics))
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "try /, /metrics, /status or /health\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [(header::CONTENT_TYPE, kind)].into_iter().chain(console::headers()) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

const OTHER_HOST: &str =
    "this port is asked by 127.0.0.1 or localhost; name another host in server.allowed_hosts\n";
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says that calls are answered, as the watchdog finds it out: on the threads that answer them, which have been through
/// the locks that every call takes. Of a server that is stuck there is no answer.
fn health(engine: &Engine) -> &'static str {
    engine.touch();
    "ok\n"
}

/// What `/ready` says in one word, and what holds the process.
fn status(engine: &Engine, shutdown: &Shutdown) -> String {
    format!("{:#}\n", seen(engine, shutdown))
}

fn seen(engine: &Engine, shutdown: &Shutdown) -> Value {
    let mut status = json!({
        "ready": is_ready(engine, shutdown),
        "stopping": is_stopping(shutdown),
        "version": env!("CARGO_PKG_VERSION"),
        "audit_healthy": engine.audit.is_healthy(),
        "calls_in_flight": engine.metrics.calls_in_flight(),
        "walls": engine.walls.json(),
    });
    if !engine.databases.all().is_empty() {
        status["databases"] = engine.databases.status();
    }
    status
}

fn is_stopping(shutdown: &Shutdown) -> bool {
    shutdown.phase() != Phase::Serving
}

fn is_ready(engine: &Engine, shutdown: &Shutdown) -> bool {
    let usable = engine.audit.is_healthy() && engine.databases.required_are_ready();
    usable && !is_stopping(shutdown)
}

/// The metrics; they include what `/proc` says of this process, which blocks.
async fn text(engine: Arc<Engine>, shutdown: &Shutdown) -> String {
    let (ready, stopping) = (is_ready(&engine, shutdown), is_stopping(shutdown));
    let text = tokio::task::spawn_blocking(move || {
        #[cfg(feature = "datasets")]
        engine.datasets.observe();
        engine.databases.observe();
        if let Some(jobs) = &engine.jobs {
            jobs.metrics.observe();
        }
        let (audit, audit_failures) = engine.audit.figures();
        let found = Found {
            ready,
            stopping,
            landlock: engine.walls.stand(),
            seccomp: engine.walls.filtered(),
            audit_healthy: engine.audit.is_healthy(),
            audit,
            audit_failures,
            log_lines_lost: log_lines_lost(),
        };
        engine.metrics.text(&found, &engine.caches())
    });
    let text = text.await;
    // It fails only where the runtime ends, and the connection with it.
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;
    use crate::config::{AccessWord, Config, RootSection};

    #[test]
    fn a_server_whose_calls_are_stuck_does_not_live() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.roots.push(RootSection::of(dir.path().to_owned(), AccessWord::Ro));
        config.audit.dir = Some(dir.path().join("audit"));
        let engine = crate::Roothold::builder().config(config).build().unwrap().engine;
        let (said, heard) = channel();
        std::thread::scope(|scope| {
            let stuck = engine.audit.hold();
            scope.spawn(|| said.send(health(&engine)));
            let nothing = heard.recv_timeout(Duration::from_millis(200));
            assert_eq!(nothing, Err(RecvTimeoutError::Timeout));
            drop(stuck);
            assert_eq!(heard.recv_timeout(Duration::from_secs(30)), Ok("ok\n"));
        });
    }
}

//! A receiver of traces, as a collector is: OTLP over gRPC and over HTTP, on one port of loopback.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The bytes in front of a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Where traces come over HTTP.
const HTTP_PATH: &str = "/v1/traces";
/// Where they come over gRPC.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes everything.
    Takes,
    /// It takes everything, keeps nothing, and so costs next to nothing.
    Forgets,
    /// It accepts connections and requests, and never answers.
    Hangs,
    /// It refuses everything.
    Refuses,
}

/// One span that came, with what its request carried.
#[derive(Debug, Clone)]
pub struct Received {
    /// The span.
    pub span: Span,
    /// What it says of its sender.
    pub resource: Vec<(String, String)>,
    /// The headers of its request.
    pub headers: HeaderMap,
}

impl Received {
    /// The id of its trace, in hex.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// Its own id, in hex.
    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// That of its parent, in hex; empty for none.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// An attribute as text; empty for none.
    pub fn attribute(&self, key: &str) -> String {
        let found = self.span.attributes.iter().find(|attribute| attribute.key == key);
        found.map(text).unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    came: Condvar,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

#[derive(Default)]
struct Kept {
    spans: Vec<Received>,
    requests: usize,
}

/// A collector that runs until it is dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Collector {
    /// Starts one on a free port of loopback.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), behaviour)
    }

    /// Starts one where another was.
    pub fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        let (runtime, listener, address) = listen(address);
        let shared = Arc::new(Shared::default());
        runtime.spawn(serve(listener, Arc::clone(&shared), behaviour));
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.shared.kept().requests
    }

    /// What came so far.
    pub fn spans(&self) -> Vec<Received> {
        self.shared.kept().spans.clone()
    }

    /// Waits until what came is enough, and returns it.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait(
        &self,
        what: &str,
        patience: Duration,
        enough: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        let until = Instant::now() + patience;
        let mut kept = self.shared.kept();
        while !enough(&kept.spans) {
            let left = until.saturating_duration_since(Instant::now());
            let names: Vec<_> = kept.spans.iter().map(|one| one.span.name.as_str()).collect();
            assert!(!left.is_zero(), "{what}: {names:?}");
            kept = self.shared.came.wait_timeout(kept, left).unwrap().0;
        }
        kept.spans.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What listens is gone when this returns, so that another can take its place.
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

fn listen(address: SocketAddr) -> (Runtime, TcpListener, SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    (runtime, listener, address)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, behaviour: Behaviour) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&shared), behaviour));
    }
}

/// Which of the two it speaks is seen by its first byte: HTTP/2 begins with `PRI`.
async fn connection(stream: TcpStream, shared: Arc<Shared>, behaviour: Behaviour) {
    let mut first = [0; 2];
    if stream.peek(&mut first).await.is_err() {
        return;
    }
    let answers = service_fn(move |request| answer(request, Arc::clone(&shared), behaviour));
    let stream = TokioIo::new(stream);
    // A client that goes away is no concern of the test's.
    if &first == b"PR" {
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = http.serve_connection(stream, answers).await;
    } else {
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(stream, answers).await;
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    behaviour: Behaviour,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let is_grpc = head.uri.path() == GRPC_PATH;
    shared.kept().requests += 1;
    let Ok(body) = body.collect().await else { return Ok(plain(StatusCode::BAD_REQUEST)) };
    match behaviour {
        Behaviour::Hangs => std::future::pending::<()>().await,
        Behaviour::Refuses => return Ok(plain(StatusCode::BAD_REQUEST)),
        Behaviour::Forgets => {}
        Behaviour::Takes => {
            let mut body = body.to_bytes();
            if is_grpc {
                body.advance(PREFIX.min(body.len()));
            } else if head.uri.path() != HTTP_PATH {
                return Ok(plain(StatusCode::NOT_FOUND));
            }
            let Ok(message) = ExportTraceServiceRequest::decode(body) else {
                return Ok(plain(StatusCode::BAD_REQUEST));
            };
            keep(&shared, message, &head.headers);
        }
    }
    Ok(if is_grpc { taken_over_grpc() } else { plain(StatusCode::OK) })
}

fn keep(shared: &Shared, message: ExportTraceServiceRequest, headers: &HeaderMap) {
    let mut kept = shared.kept();
    for of_resource in message.resource_spans {
        let attributes = of_resource.resource.map(|resource| resource.attributes);
        let attributes = attributes.unwrap_or_default();
        let resource: Vec<_> = attributes.iter().map(|one| (one.key.clone(), text(one))).collect();
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let (resource, headers) = (resource.clone(), headers.clone());
            kept.spans.push(Received { span, resource, headers });
        }
    }
    drop(kept);
    shared.came.notify_all();
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// An empty message, and the word that all is well after it.
fn taken_over_grpc() -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; PREFIX]));
    let body = message.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

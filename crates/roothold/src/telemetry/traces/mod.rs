//! Traces: what a request was, call by call and step by step, for an OpenTelemetry collector.
//!
//! A span is made where the event of the same thing is, and written once it has ended, into a bounded
//! queue that a task of its own sends from ([`export`]). Where no collector is configured there is no
//! queue, and a span is nothing.
//!
//! **Invariant**: nothing that a caller or a file says gets into a span: [`What`] holds numbers,
//! closed sets, and names out of the configuration. **Invariant**: no call waits for a collector.

mod collector;
mod convert;
mod export;
mod queue;
mod span;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};
use prometheus_client::registry::Registry;
use roothold_edge::{RequestFinished, TraceParent};
use tokio::task::JoinHandle;

use crate::config::{Collector, Config, ConfigError};
use queue::{Queue, TraceMetrics};
use span::Span;
pub(crate) use span::{CallKind, Step, Trace, What};

/// How long the end of a server waits for what it recorded last to be taken.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a call comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TraceFrom {
    /// The span that the message itself names.
    pub(crate) message: Option<TraceParent>,
    /// The span of the HTTP request that brought it.
    pub(crate) request: Option<TraceParent>,
    pub(crate) kind: CallKind,
}

/// The traces of a server.
pub(crate) struct Traces {
    metrics: TraceMetrics,
    on: Option<On>,
}

/// What there is where a collector is configured.
struct On {
    queue: Arc<Queue>,
    sampler: Sampler,
    collector: Collector,
    /// Who it says that the spans are of.
    service: Service,
    /// Set once something is sent. Before that there is nobody who would take a span.
    begun: OnceLock<()>,
    sending: Mutex<Option<JoinHandle<()>>>,
}

/// Who the spans are of.
#[derive(Debug, Clone)]
struct Service {
    name: String,
    replica: String,
}

impl Traces {
    /// The traces of a configuration, with its variables and files read. Connects to nothing.
    ///
    /// # Errors
    /// A [`ConfigError`] of `[telemetry]`.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let metrics = TraceMetrics::default();
        let telemetry = &config.telemetry;
        let on = telemetry.collector()?.map(|collector| On {
            queue: Arc::new(Queue::new(telemetry.trace_queue_max, metrics.clone())),
            sampler: Sampler::TraceIdRatioBased(telemetry.sample_ratio),
            collector,
            service: Service { name: telemetry.service_name.clone(), replica: config.replica() },
            begun: OnceLock::new(),
            sending: Mutex::default(),
        });
        Ok(Self { metrics, on })
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Whether [`Self::begin`] could send, found out without sending. Wants a runtime.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn look(&self) -> Result<(), String> {
        let Some(on) = &self.on else { return Ok(()) };
        collector::exporter(&on.collector, &on.service).map(drop)
    }

    /// Begins to send. Wants a runtime.
    ///
    /// # Errors
    /// Why nothing can be sent as it is configured, in one sentence with the key.
    pub(crate) fn begin(&self) -> Result<(), String> {
        let Some(on) = &self.on else { return Ok(()) };
        let mut sending = on.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if sending.is_some() {
            return Ok(());
        }
        let exporter = collector::exporter(&on.collector, &on.service)?;
        let task = export::send_all(Arc::clone(&on.queue), exporter, on.collector.timeout);
        *sending = Some(tokio::spawn(task));
        on.begun.get_or_init(|| ());
        Ok(())
    }

    /// Sends what is left, for a moment; what is not taken by then is lost.
    pub(crate) async fn end(&self) {
        let Some(on) = &self.on else { return };
        let sending = on.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut sending) = sending else { return };
        on.queue.close();
        if tokio::time::timeout(END_TIMEOUT, &mut sending).await.is_err() {
            sending.abort();
            // With it goes the batch that it was sending, which it counts then.
            let _ = sending.await;
        }
        let lost = on.queue.give_up();
        if lost > 0 {
            tracing::warn!(lost, "the collector did not take the last spans in time");
        }
    }

    fn on(&self) -> Option<&On> {
        self.on.as_ref().filter(|on| on.begun.get().is_some())
    }

    /// The span of an HTTP request; nothing, where there are no traces.
    pub(crate) fn request_began(&self, parent: Option<TraceParent>) -> Option<TraceParent> {
        let on = self.on()?;
        match parent {
            Some(parent) if parent.is_sampled() => new_span(parent.trace_id().get(), true),
            Some(parent) => Some(parent),
            None => on.new_trace(),
        }
    }

    /// An HTTP request was answered.
    pub(crate) fn request_finished(&self, request: &RequestFinished) {
        let Some(at) = request.span.filter(|span| span.is_sampled()) else { return };
        let Some(on) = self.on() else { return };
        let (method, status) = (request.method, request.status);
        let what = What::Request { method, status, bytes: request.bytes };
        let mut span = Box::new(Span::new(at, request.parent, what, request.started));
        span.parent_is_remote = true;
        span.took = request.duration;
        on.queue.put(span);
    }

    /// Begins the span of a call, or of another request of the protocol.
    pub(crate) fn call(&self, from: TraceFrom, what: impl FnOnce() -> What) -> Step {
        let parent = from.message.or(from.request);
        let Some(on) = self.on() else { return Step::unrecorded(parent) };
        let parent = match parent {
            Some(parent) if parent.is_sampled() => parent,
            Some(parent) => return Step::unrecorded(Some(parent)),
            None => match on.new_trace() {
                Some(root) if root.is_sampled() => {
                    return Step::new(
                        Span::new(root, None, what(), std::time::Instant::now()),
                        &on.queue,
                    );
                }
                root => return Step::unrecorded(root),
            },
        };
        let Some(at) = new_span(parent.trace_id().get(), true) else {
            return Step::unrecorded(Some(parent));
        };
        let mut span = Span::new(at, Some(parent), what(), std::time::Instant::now());
        span.parent_is_remote = from.message.is_some();
        let is_linked = |request: &TraceParent| from.message.is_some() && request.is_sampled();
        span.link = from.request.filter(is_linked);
        Step::new(span, &on.queue)
    }
}

impl On {
    /// A trace that begins here, recorded or not as the ratio wants.
    fn new_trace(&self) -> Option<TraceParent> {
        let trace_id = RandomIdGenerator::default().new_trace_id();
        let decided =
            self.sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]).decision;
        new_span(number(trace_id), decided == SamplingDecision::RecordAndSample)
    }
}

fn number(id: TraceId) -> u128 {
    u128::from_be_bytes(id.to_bytes())
}

/// A span of a trace with an id of its own.
fn new_span(trace_id: u128, sampled: bool) -> Option<TraceParent> {
    let span_id = RandomIdGenerator::default().new_span_id();
    TraceParent::new(trace_id, u64::from_be_bytes(span_id.to_bytes()), sampled)
}

#[cfg(test)]
mod tests;

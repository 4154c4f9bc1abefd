//! Sending spans to the collector, batch by batch, in a task of its own.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::convert::Converter;
use super::queue::{Queue, Spans};

/// How long nothing is sent after the collector took nothing: what is put in meanwhile may not fit.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest reason in the log, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// Sends until the queue is closed and empty. A batch that is not taken is counted and forgotten:
/// whoever looks at traces can live without some, and the server must live without a collector.
pub(super) async fn send_all(queue: Arc<Queue>, exporter: SpanExporter, timeout: Duration) {
    let mut sender = Sender { exporter, timeout, converter: Converter::default(), fails: false };
    loop {
        let all = queue.wait().await;
        loop {
            let batch = queue.take(all || queue.is_closing());
            if batch.is_empty() {
                break;
            }
            let mut sending = Sending { queue: &queue, spans: batch.len() };
            let taken = sender.send(batch).await;
            if taken {
                sending.taken();
                continue;
            }
            drop(sending);
            if queue.is_closing() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if queue.is_closing() {
            return;
        }
    }
}

/// A batch on its way: not taken, unless it is said that it was, also where the task is ended.
struct Sending<'a> {
    queue: &'a Queue,
    spans: usize,
}

impl Sending<'_> {
    fn taken(&mut self) {
        self.queue.metrics.exported(std::mem::take(&mut self.spans));
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.queue.metrics.failed(self.spans);
    }
}

struct Sender {
    exporter: SpanExporter,
    timeout: Duration,
    converter: Converter,
    /// Whether the last batch was not taken, which was told then.
    fails: bool,
}

impl Sender {
    /// Whether the collector took them.
    async fn send(&mut self, batch: Spans) -> bool {
        let now = (SystemTime::now(), Instant::now());
        let data = batch.into_iter().map(|span| self.converter.convert(*span, now)).collect();
        let sent = tokio::time::timeout(self.timeout, self.exporter.export(data)).await;
        let reason = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it did not answer in time".to_owned()),
        };
        CollectorTurned { reason: reason.as_deref(), failed_before: self.fails }.emit();
        self.fails = reason.is_some();
        reason.is_none()
    }
}

/// The collector takes what it is sent, or no longer.
struct CollectorTurned<'a> {
    reason: Option<&'a str>,
    failed_before: bool,
}

impl CollectorTurned<'_> {
    /// Writes a line, once each time that it turns. What became of the spans is counted by the batch.
    fn emit(&self) {
        match (self.reason, self.failed_before) {
            (Some(reason), false) => {
                let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
                tracing::warn!(
                    reason,
                    "the collector does not take traces; they are left out until it does"
                );
            }
            (None, true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

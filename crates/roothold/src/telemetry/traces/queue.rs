//! The spans that wait for the collector, up to a limit, and the count of what became of them.
//!
//! Whoever puts one in never waits, and wakes nobody but for the one that completes a batch: a call
//! has several spans, and waking a task for each would cost more than they do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use super::span::Span;
use crate::telemetry::described::{self, Describe as _};

/// The most spans that are sent at a time.
const BATCH_MAX: usize = 512;
/// How long a span waits for others at most.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The metrics of traces; cloning shares them.
#[derive(Clone)]
pub(super) struct TraceMetrics {
    spans: Family<OutcomeLabel, Counter>,
    exported: Counter,
    failed: Counter,
    dropped: Counter,
}

impl Default for TraceMetrics {
    fn default() -> Self {
        let spans = Family::<OutcomeLabel, Counter>::default();
        let of = |outcome| spans.get_or_create_owned(&OutcomeLabel { outcome });
        let (exported, failed, dropped) = (of("exported"), of("failed"), of("dropped"));
        Self { spans, exported, failed, dropped }
    }
}

impl TraceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::TRACE_SPANS, self.spans.clone());
    }

    /// The collector took so many.
    pub(super) fn exported(&self, spans: usize) {
        self.exported.inc_by(spans as u64);
    }

    /// It did not take so many.
    pub(super) fn failed(&self, spans: usize) {
        self.failed.inc_by(spans as u64);
    }
}

/// Pointers, each made alone: one is moved sooner than a span, under a lock.
pub(super) type Spans = Vec<Box<Span>>;

/// The queue.
pub(super) struct Queue {
    spans: Mutex<Spans>,
    spans_max: usize,
    /// How many are worth being sent at once.
    batch: usize,
    due: Notify,
    closing: AtomicBool,
    pub(super) metrics: TraceMetrics,
}

impl Queue {
    pub(super) fn new(spans_max: usize, metrics: TraceMetrics) -> Self {
        Self {
            spans: Mutex::default(),
            spans_max,
            batch: BATCH_MAX.min(spans_max),
            due: Notify::new(),
            closing: AtomicBool::new(false),
            metrics,
        }
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a span in, or counts it where there is no room.
    pub(super) fn put(&self, span: Box<Span>) {
        let mut spans = self.spans();
        if spans.len() >= self.spans_max {
            drop(spans);
            self.metrics.dropped.inc();
            return;
        }
        spans.push(span);
        let completes_batch = spans.len() == self.batch;
        drop(spans);
        if completes_batch {
            self.due.notify_one();
        }
    }

    /// Waits until there is something to do; whether that is to send also what makes no batch.
    pub(super) async fn wait(&self) -> bool {
        let waited = tokio::time::timeout(EVERY, self.due.notified()).await;
        waited.is_err() || self.is_closing()
    }

    /// The oldest: a batch, or nothing unless also fewer are wanted.
    pub(super) fn take(&self, also_fewer: bool) -> Spans {
        let mut spans = self.spans();
        if spans.len() < self.batch && !also_fewer {
            return Vec::new();
        }
        let count = spans.len().min(self.batch);
        spans.drain(..count).collect()
    }

    /// Has what is left be sent, and nothing after it.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.due.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Drops what is left, counts it, and returns how much it was. From now on there is room for nothing.
    pub(super) fn give_up(&self) -> usize {
        let left = std::mem::take(&mut *self.spans()).len();
        self.metrics.dropped.inc_by(left as u64);
        left
    }
}

//! What happens to datasets, as a struct whose `emit` writes the log line and the metric together;
//! and what the engine uses, looked at when it is asked for.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use roothold_core::FaultKind;
use roothold_datasets::EngineFigures;

use crate::telemetry::described::{self, Describe as _};

/// Bounds in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabel {
    operation: &'static str,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

type NewHistogram = fn() -> Histogram;

/// The metrics of datasets; cloning shares them.
#[derive(Clone)]
pub(crate) struct DatasetMetrics {
    durations: Family<ReadLabel, Histogram, NewHistogram>,
    bytes_read: Family<OperationLabel, Counter>,
    memory: Gauge,
    memory_max: Gauge,
    spilled: Gauge,
    spill_max: Gauge,
}

impl DatasetMetrics {
    pub(super) fn new() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as NewHistogram);
        Self {
            durations,
            bytes_read: Family::default(),
            memory: Gauge::default(),
            memory_max: Gauge::default(),
            spilled: Gauge::default(),
            spill_max: Gauge::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::DATASET_DURATION, self.durations.clone());
        registry.describe(&described::DATASET_READ, self.bytes_read.clone());
        registry.describe(&described::DATASET_MEMORY, self.memory.clone());
        registry.describe(&described::DATASET_MEMORY_MAX, self.memory_max.clone());
        registry.describe(&described::DATASET_SPILL, self.spilled.clone());
        registry.describe(&described::DATASET_SPILL_MAX, self.spill_max.clone());
    }

    /// Takes over what the engine uses now.
    pub(crate) fn observe(&self, figures: EngineFigures) {
        let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.memory.set(whole(figures.memory_bytes as u64));
        self.memory_max.set(whole(figures.memory_bytes_max as u64));
        self.spilled.set(whole(figures.spill_bytes));
        self.spill_max.set(whole(figures.spill_bytes_max));
    }
}

/// Something was done with a dataset.
pub(crate) struct DatasetRead {
    /// `describe`, `query`, `export`, or an operation of processing.
    pub(crate) operation: &'static str,
    /// Bytes read from files, as far as they are known.
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) fault: Option<FaultKind>,
}

impl DatasetRead {
    pub(crate) fn emit(&self, metrics: &DatasetMetrics) {
        let Self { operation, bytes, duration, fault } = *self;
        let error_type = fault.map_or("", FaultKind::code);
        metrics
            .durations
            .get_or_create(&ReadLabel { operation, error_type })
            .observe(duration.as_secs_f64());
        if bytes > 0 {
            metrics.bytes_read.get_or_create(&OperationLabel { operation }).inc_by(bytes);
        }
        let duration_ms = duration.as_secs_f64() * 1e3;
        tracing::debug!(operation, bytes, duration_ms, error_type, "dataset read");
    }
}

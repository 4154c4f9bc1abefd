//! What happens to jobs, as structs whose `emit` writes the log line and the metric together.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use roothold_edge::TraceId;
use roothold_state::{Counts, JobId};
use tracing::field::display;

use crate::telemetry::described::{self, Describe as _};

/// Bounds in seconds: a job takes seconds to hours.
const BUCKETS: [f64; 12] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabel {
    gen_ai_tool_name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabel {
    gen_ai_tool_name: &'static str,
    outcome: &'static str,
}

type NewHistogram = fn() -> Histogram;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// The metrics of jobs; cloning shares them.
#[derive(Clone)]
pub(crate) struct JobMetrics {
    submitted: Family<ToolLabel, Counter>,
    chunks: Family<ToolLabel, Counter>,
    runs: Family<RunLabel, Counter>,
    durations: Family<ToolLabel, Histogram, NewHistogram>,
    running: Gauge,
    silence: Gauge<f64, AtomicU64>,
    stored: Family<StateLabel, Gauge>,
    outages: Counter,
    /// When each job that is worked on here was last heard of.
    heard: Arc<Mutex<HashMap<JobId, Instant>>>,
}

impl JobMetrics {
    pub(super) fn new() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as NewHistogram);
        Self {
            submitted: Family::default(),
            chunks: Family::default(),
            runs: Family::default(),
            durations,
            running: Gauge::default(),
            silence: Gauge::default(),
            stored: Family::default(),
            outages: Counter::default(),
            heard: Arc::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::JOBS, self.stored.clone());
        registry.describe(&described::JOBS_SUBMITTED, self.submitted.clone());
        registry.describe(&described::JOBS_RUNNING, self.running.clone());
        registry.describe(&described::JOB_SILENCE, self.silence.clone());
        registry.describe(&described::JOB_CHUNKS, self.chunks.clone());
        registry.describe(&described::JOB_RUNS, self.runs.clone());
        registry.describe(&described::JOB_RUN_DURATION, self.durations.clone());
        registry.describe(&described::STATE_OUTAGES, self.outages.clone());
    }

    /// Takes over how long jobs have been silent.
    pub(crate) fn observe(&self) {
        let oldest = self.heard().values().min().map_or(0.0, |at| at.elapsed().as_secs_f64());
        self.silence.set(oldest);
    }

    /// Takes over what is in the store.
    pub(super) fn stored(&self, counts: &Counts) {
        let Counts { queued, running, stalled, ended } = *counts;
        for (state, count) in
            [("queued", queued), ("running", running), ("stalled", stalled), ("ended", ended)]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.stored.get_or_create(&StateLabel { state }).set(count);
        }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<JobId, Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job was taken in.
pub(super) struct JobSubmitted<'a> {
    pub(super) job: JobId,
    pub(super) tool: &'static str,
    pub(super) owner: &'a str,
    pub(super) trace_id: Option<TraceId>,
}

impl JobSubmitted<'_> {
    pub(super) fn emit(&self, metrics: &JobMetrics) {
        metrics.submitted.get_or_create(&ToolLabel { gen_ai_tool_name: self.tool }).inc();
        let trace_id = self.trace_id.map(display);
        tracing::info!(job = %self.job, tool = self.tool, principal = self.owner, trace_id, "job submitted");
    }
}

/// A run of a job began here.
pub(super) struct JobStarted {
    pub(super) job: JobId,
    pub(super) tool: &'static str,
    pub(super) next: u64,
    pub(super) attempts: u32,
}

impl JobStarted {
    pub(super) fn emit(&self, metrics: &JobMetrics) {
        metrics.running.inc();
        metrics.heard().insert(self.job, Instant::now());
        let Self { job, tool, next, attempts } = self;
        tracing::info!(%job, tool, next, attempts, "job started");
    }
}

/// A chunk of a job was committed.
pub(super) struct ChunkDone {
    pub(super) job: JobId,
    pub(super) tool: &'static str,
}

impl ChunkDone {
    pub(super) fn emit(&self, metrics: &JobMetrics) {
        metrics.chunks.get_or_create(&ToolLabel { gen_ai_tool_name: self.tool }).inc();
        metrics.heard().insert(self.job, Instant::now());
        tracing::debug!(job = %self.job, tool = self.tool, "chunk committed");
    }
}

/// A run of a job ended here.
pub(super) struct JobFinished {
    pub(super) job: JobId,
    pub(super) tool: &'static str,
    /// `completed`, `failed`, `cancelled`; `released` or `put_off`, where it goes on later; `lost`, where
    /// another replica has it.
    pub(super) outcome: &'static str,
    pub(super) duration: Duration,
}

impl JobFinished {
    pub(super) fn emit(&self, metrics: &JobMetrics) {
        let Self { job, tool, outcome, duration } = self;
        metrics.running.dec();
        metrics.heard().remove(job);
        metrics.runs.get_or_create(&RunLabel { gen_ai_tool_name: tool, outcome }).inc();
        let label = ToolLabel { gen_ai_tool_name: tool };
        metrics.durations.get_or_create(&label).observe(duration.as_secs_f64());
        let duration_ms = duration.as_secs_f64() * 1e3;
        if matches!(*outcome, "failed" | "lost") {
            tracing::warn!(%job, tool, duration_ms, outcome, "job run ended");
        } else {
            tracing::info!(%job, tool, duration_ms, outcome, "job run ended");
        }
    }
}

/// The state store failed.
pub(super) struct StoreFailed<'a> {
    pub(super) during: &'static str,
    pub(super) error: &'a roothold_state::StateError,
}

impl StoreFailed<'_> {
    pub(super) fn emit(&self, metrics: &JobMetrics) {
        metrics.outages.inc();
        let cause = std::error::Error::source(self.error).map(ToString::to_string);
        tracing::warn!(during = self.during, error = %self.error, cause, "the state store failed");
    }
}

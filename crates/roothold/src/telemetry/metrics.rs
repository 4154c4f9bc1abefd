//! The metrics of a process, and their text.
//!
//! **Invariant**: every label comes from a closed set ([`super::described`]). Paths, names of callers and ids are
//! never labels, so the number of series is bounded whatever clients send.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use roothold_core::FaultKind;
use roothold_core::files::CacheFigures;

use super::configuration::ConfigurationMetrics;
use super::described::{self, Describe as _};
use super::edge::EdgeMetrics;
use super::server::{Found, OwnDirectory, ServerMetrics};
use super::system::{SystemMetrics, whole};
use crate::config::Limits;

/// Bounds in seconds that OpenTelemetry's MCP conventions recommend for operation durations.
const BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    mcp_method_name: &'static str,
    gen_ai_tool_name: &'static str,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabel {
    gen_ai_tool_name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheRequestLabel {
    cache: &'static str,
    outcome: &'static str,
}

/// The figures of a cache, by its name: what counts is in the core, and is copied when it is asked for.
pub(crate) type NamedCache = (&'static str, CacheFigures);

type NewHistogram = fn() -> Histogram;

/// The metrics of calls, and the registry of all.
pub(crate) struct Metrics {
    registry: Registry,
    operations: Family<Operation, Histogram, NewHistogram>,
    bytes_out: Family<ToolLabel, Counter>,
    cut: Family<ToolLabel, Counter>,
    denials: Family<RuleLabel, Counter>,
    in_flight: Gauge,
    waiting: Gauge,
    blocking: Gauge,
    blocking_waiting: Gauge,
    edge: EdgeMetrics,
    pub(super) configuration: ConfigurationMetrics,
    cache_requests: Family<CacheRequestLabel, Counter>,
    cache_bytes: Family<CacheLabel, Gauge>,
    server: ServerMetrics,
    system: SystemMetrics,
}

/// The series of one tool's calls that succeeded, found once: nearly every call is one.
pub(crate) struct Successes {
    durations: Histogram,
    bytes: OnceLock<Counter>,
}

/// Something that a gauge counts for as long as this is kept.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Those of a server with these limits and directories of its own.
    pub(crate) fn new(limits: &Limits, directories: Vec<OwnDirectory>) -> Self {
        let system = SystemMetrics::default();
        system.set_blocking_max(limits.blocking_threads_max);
        let mut metrics = Self {
            registry: Registry::default(),
            operations: Family::new_with_constructor((|| Histogram::new(BUCKETS)) as NewHistogram),
            bytes_out: Family::default(),
            cut: Family::default(),
            denials: Family::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            blocking: system.blocking_in_use(),
            blocking_waiting: Gauge::default(),
            edge: EdgeMetrics::new(limits.answers_bytes_max),
            configuration: ConfigurationMetrics::default(),
            cache_requests: Family::default(),
            cache_bytes: Family::default(),
            server: ServerMetrics::new(directories),
            system,
        };
        let calls_max: Gauge = Gauge::default();
        calls_max.set(whole(limits.calls_max as u64));
        metrics.registry.describe(&described::CALLS_MAX, calls_max);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.describe(&described::OPERATION_DURATION, self.operations.clone());
        registry.describe(&described::ANSWER_BYTES, self.bytes_out.clone());
        registry.describe(&described::ANSWERS_CUT, self.cut.clone());
        registry.describe(&described::DENIALS, self.denials.clone());
        registry.describe(&described::CALLS_IN_FLIGHT, self.in_flight.clone());
        registry.describe(&described::CALLS_WAITING, self.waiting.clone());
        registry.describe(&described::BLOCKING_WAITING, self.blocking_waiting.clone());
        registry.describe(&described::CACHE_REQUESTS, self.cache_requests.clone());
        registry.describe(&described::CACHE_BYTES, self.cache_bytes.clone());
        self.edge.register(registry);
        self.configuration.register(registry);
        self.server.register(registry);
        self.system.register(registry);
        // A rate over a series that begins with its first event does not see that one.
        for rule in described::RULES.words() {
            let _ = self.denials.get_or_create_owned(&RuleLabel { rule });
        }
    }

    /// With what else registers metrics.
    pub(crate) fn with(mut self, register: impl FnOnce(&mut Registry)) -> Self {
        register(&mut self.registry);
        self
    }

    pub(crate) fn edge(&self) -> EdgeMetrics {
        self.edge.clone()
    }

    /// A call began; it ends when the guard is dropped.
    pub(crate) fn call_began(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// A call waits for a place until the guard is dropped.
    pub(crate) fn call_waits(&self) -> Counted {
        Counted::new(&self.waiting)
    }

    /// A thread works on files until the guard is dropped.
    pub(crate) fn blocking(&self) -> Counted {
        Counted::new(&self.blocking)
    }

    /// Work on files waits for its principal's share of the threads until the guard is dropped.
    pub(crate) fn blocking_waits(&self) -> Counted {
        Counted::new(&self.blocking_waiting)
    }

    /// How many calls are running.
    pub(crate) fn calls_in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// The series of calls of a tool that succeeded.
    pub(super) fn successes(&self, gen_ai_tool_name: &'static str) -> Successes {
        let mcp_method_name = "tools/call";
        let operation = Operation { mcp_method_name, gen_ai_tool_name, error_type: "" };
        let durations = self.operations.get_or_create_owned(&operation);
        Successes { durations, bytes: OnceLock::new() }
    }

    /// The same as [`Self::call_finished`] for a call that succeeded.
    pub(super) fn call_succeeded(
        &self,
        tool: &'static str,
        successes: &Successes,
        bytes: u64,
        duration: Duration,
    ) {
        successes.durations.observe(duration.as_secs_f64());
        if bytes > 0 {
            let label = ToolLabel { gen_ai_tool_name: tool };
            let series = || self.bytes_out.get_or_create_owned(&label);
            successes.bytes.get_or_init(series).inc_by(bytes);
        }
    }

    /// An answer ended at a limit of its call.
    pub(super) fn answer_cut(&self, tool: &'static str) {
        self.cut.get_or_create(&ToolLabel { gen_ai_tool_name: tool }).inc();
    }

    pub(super) fn call_finished(
        &self,
        mcp_method_name: &'static str,
        tool: &'static str,
        fault: Option<FaultKind>,
        rule: Option<&'static str>,
        bytes: u64,
        duration: Duration,
    ) {
        // A resource is read by an internal tool, which is not one for clients.
        let gen_ai_tool_name = if mcp_method_name == "tools/call" { tool } else { "" };
        let error_type = fault.map_or("", FaultKind::code);
        let operation = Operation { mcp_method_name, gen_ai_tool_name, error_type };
        self.operations.get_or_create(&operation).observe(duration.as_secs_f64());
        if bytes > 0 {
            self.bytes_out.get_or_create(&ToolLabel { gen_ai_tool_name }).inc_by(bytes);
        }
        if let Some(rule) = rule {
            self.denials.get_or_create(&RuleLabel { rule }).inc();
        }
    }

    /// The metrics as text. It asks the kernel and file systems, which blocks.
    pub(crate) fn text(&self, found: &Found, caches: &[NamedCache]) -> String {
        self.system.observe();
        self.server.observe(found);
        for (cache, figures) in caches {
            self.observe_cache(cache, figures);
        }
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn observe_cache(&self, cache: &'static str, figures: &CacheFigures) {
        for (outcome, count) in [("hit", figures.hits), ("miss", figures.misses)] {
            let label = CacheRequestLabel { cache, outcome };
            // Two scrapes at once must not set it back.
            self.cache_requests.get_or_create(&label).inner().fetch_max(count, Ordering::Relaxed);
        }
        self.cache_bytes.get_or_create(&CacheLabel { cache }).set(whole(figures.bytes));
    }
}

//! The metrics of a process, and their Prometheus text.
//!
//! **Invariant**: every label comes from a closed set. Paths, names of callers and ids are never
//! labels, so the number of series is bounded whatever clients send.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use roothold_core::FaultKind;
use roothold_core::files::CacheFigures;

use crate::jobs::JobMetrics;
use crate::watch::Hub;

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
struct ClassLabel {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    status: &'static str,
    path: &'static str,
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
    denials: Family<RuleLabel, Counter>,
    in_flight: Gauge,
    edge: EdgeMetrics,
    cache_requests: Family<CacheRequestLabel, Counter>,
    cache_bytes: Family<CacheLabel, Gauge>,
    resident: Gauge,
    cpu: Gauge<f64, AtomicU64>,
    open_files: Gauge,
}

/// The series of one tool's calls that succeeded, found once: nearly every call is one.
pub(crate) struct Successes {
    durations: Histogram,
    bytes: OnceLock<Counter>,
}

/// The metrics of the HTTP front; cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct EdgeMetrics {
    requests: Family<RequestLabel, Counter>,
    /// The series of answers on the fast path that are no errors, once there is one.
    usual: OnceLock<Counter>,
    pub(crate) connections: Gauge,
    pub(crate) rate_limited: Counter,
    auth_failures: Family<ClassLabel, Counter>,
    pub(crate) auth_failures_unrecorded: Counter,
}

/// A call that is running, as the gauge counts it.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl EdgeMetrics {
    /// One request ended; `fast` tells which way it took.
    pub(crate) fn request(&self, status: u16, fast: bool) {
        if let (200..300, true, Some(usual)) = (status, fast, self.usual.get()) {
            usual.inc();
            return;
        }
        let status = match status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let path = if fast { "fast" } else { "full" };
        let series = self.requests.get_or_create_owned(&RequestLabel { status, path });
        series.inc();
        if (status, path) == ("2xx", "fast") {
            self.usual.get_or_init(|| series);
        }
    }

    /// A credential was refused.
    pub(crate) fn auth_failure(&self, class: &'static str) {
        self.auth_failures.get_or_create(&ClassLabel { class }).inc();
    }
}

impl Metrics {
    pub(crate) fn new(hub: &Hub, jobs: Option<&JobMetrics>) -> Self {
        let mut registry = Registry::default();
        let operations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as NewHistogram);
        let (bytes_out, denials, edge) =
            (Family::default(), Family::default(), EdgeMetrics::default());
        let in_flight = Gauge::default();
        let (resident, cpu, open_files) = (Gauge::default(), Gauge::default(), Gauge::default());
        let mcp = "Duration of MCP operations";
        registry.register_with_unit(
            "mcp_server_operation_duration",
            mcp,
            Unit::Seconds,
            operations.clone(),
        );
        registry.register("roothold_answer_bytes", "Bytes of answers", bytes_out.clone());
        registry.register(
            "roothold_denials",
            "Calls that a rule of the policy denied",
            denials.clone(),
        );
        registry.register("roothold_calls_in_flight", "Calls that are running", in_flight.clone());
        registry.register("roothold_http_requests", "HTTP requests", edge.requests.clone());
        registry.register(
            "roothold_http_connections",
            "Open connections",
            edge.connections.clone(),
        );
        registry.register(
            "roothold_rate_limited",
            "Requests beyond a principal's rate",
            edge.rate_limited.clone(),
        );
        let refused = "Requests without a usable credential";
        registry.register("roothold_auth_failures", refused, edge.auth_failures.clone());
        registry.register(
            "roothold_auth_failures_unrecorded",
            "Refused credentials without a line in the audit log",
            edge.auth_failures_unrecorded.clone(),
        );
        let (cache_requests, cache_bytes) = (Family::default(), Family::default());
        let asked = "Requests to what is kept in memory";
        registry.register("roothold_cache_requests", asked, cache_requests.clone());
        let taken = "Memory that is taken by what is kept";
        registry.register_with_unit("roothold_cache", taken, Unit::Bytes, cache_bytes.clone());
        hub.register(&mut registry);
        if let Some(jobs) = jobs {
            jobs.register(&mut registry);
        }
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register_with_unit("process_cpu", "CPU time used", Unit::Seconds, cpu.clone());
        registry.register("process_open_fds", "Open file descriptors", open_files.clone());
        Self {
            registry,
            operations,
            bytes_out,
            denials,
            in_flight,
            edge,
            cache_requests,
            cache_bytes,
            resident,
            cpu,
            open_files,
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
    pub(crate) fn call_began(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
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

    /// The metrics as Prometheus text.
    pub(crate) fn text(&self, caches: &[NamedCache]) -> String {
        self.observe_process();
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
        let bytes = i64::try_from(figures.bytes).unwrap_or(i64::MAX);
        self.cache_bytes.get_or_create(&CacheLabel { cache }).set(bytes);
    }

    fn observe_process(&self) {
        let usage = crate::process::usage();
        self.resident.set(i64::try_from(usage.resident_bytes).unwrap_or(i64::MAX));
        self.cpu.set(usage.cpu_seconds);
        self.open_files.set(i64::try_from(usage.open_files).unwrap_or(i64::MAX));
    }
}

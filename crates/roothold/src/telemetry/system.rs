//! What the process and its runtime use, looked at when it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use super::described::{self, Describe as _};
use crate::process;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

type Seconds = Counter<f64, AtomicU64>;

/// The metrics of the process and its runtime.
#[derive(Default)]
pub(super) struct SystemMetrics {
    cpu: Seconds,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
    threads: Gauge,
    started: Gauge<f64, AtomicU64>,
    memory_limit: Gauge,
    cpu_limit: Gauge<f64, AtomicU64>,
    cpu_throttled: Seconds,
    workers: Gauge,
    busy: Seconds,
    tasks: Gauge,
    queued: Gauge,
    blocking: Family<StateLabel, Gauge>,
}

impl SystemMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        // What it reads must be open before there is a wall, and is opened late where none is raised.
        process::open_for_metrics();
        registry.describe(&described::CPU_SECONDS, self.cpu.clone());
        registry.describe(&described::RESIDENT_MEMORY, self.resident.clone());
        registry.describe(&described::VIRTUAL_MEMORY, self.virtual_memory.clone());
        registry.describe(&described::OPEN_FDS, self.open_files.clone());
        registry.describe(&described::MAX_FDS, self.open_files_max.clone());
        registry.describe(&described::THREADS, self.threads.clone());
        registry.describe(&described::START_TIME, self.started.clone());
        registry.describe(&described::MEMORY_LIMIT, self.memory_limit.clone());
        registry.describe(&described::CPU_LIMIT, self.cpu_limit.clone());
        registry.describe(&described::CPU_THROTTLED, self.cpu_throttled.clone());
        registry.describe(&described::RUNTIME_WORKERS, self.workers.clone());
        registry.describe(&described::RUNTIME_BUSY, self.busy.clone());
        registry.describe(&described::RUNTIME_TASKS, self.tasks.clone());
        registry.describe(&described::RUNTIME_QUEUED, self.queued.clone());
        registry.describe(&described::BLOCKING_THREADS, self.blocking.clone());
    }

    /// Says how many threads may work on files.
    pub(super) fn set_blocking_max(&self, max: usize) {
        self.blocking.get_or_create_owned(&StateLabel { state: "max" }).set(whole(max as u64));
    }

    /// How many threads work on files; whoever does counts in it.
    pub(super) fn blocking_in_use(&self) -> Gauge {
        self.blocking.get_or_create_owned(&StateLabel { state: "in_use" })
    }

    /// Takes over what there is now. It reads the kernel's files, which blocks.
    pub(super) fn observe(&self) {
        let (usage, limits) = (process::usage(), process::limits());
        grow(&self.cpu, usage.cpu_seconds);
        self.resident.set(whole(usage.resident_bytes));
        self.virtual_memory.set(whole(usage.virtual_bytes));
        self.open_files.set(whole(usage.open_files as u64));
        self.open_files_max.set(whole(usage.open_files_max));
        self.threads.set(whole(usage.threads));
        self.started.set(usage.started);
        self.memory_limit.set(whole(limits.memory_bytes));
        self.cpu_limit.set(limits.cores);
        grow(&self.cpu_throttled, limits.throttled_seconds());
        let Ok(runtime) = Handle::try_current() else { return };
        let metrics = runtime.metrics();
        let workers = metrics.num_workers();
        let busy =
            (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64());
        self.workers.set(whole(workers as u64));
        grow(&self.busy, busy.sum());
        self.tasks.set(whole(metrics.num_alive_tasks() as u64));
        self.queued.set(whole(metrics.global_queue_depth() as u64));
    }
}

/// A number as gauges hold it.
pub(crate) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Sets a counter of seconds to what was counted elsewhere. Two scrapes at once must not set it back; numbers
/// that are not negative are in the order of their bits.
pub(super) fn grow(counter: &Seconds, seconds: f64) {
    counter.inner().fetch_max(seconds.max(0.0).to_bits(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_elsewhere_only_grows() {
        let counter = Seconds::default();
        for seconds in [0.5, 0.25, 1e9, 3.0, -1.0, f64::MIN_POSITIVE] {
            grow(&counter, seconds);
        }
        assert!((counter.get() - 1e9).abs() < f64::EPSILON);
    }

    #[test]
    fn the_process_is_seen() {
        let metrics = SystemMetrics::default();
        metrics.observe();
        assert!(metrics.resident.get() > 1 << 20 && metrics.virtual_memory.get() > 1 << 20);
        assert!(metrics.threads.get() >= 1 && metrics.open_files.get() >= 3);
        assert!(metrics.open_files_max.get() >= metrics.open_files.get());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let started = metrics.started.get();
        metrics.observe();
        assert_eq!(metrics.started.get().to_bits(), started.to_bits(), "it is not measured anew");
        let age = now.as_secs_f64() - metrics.started.get();
        assert!((-1.0..86_400.0).contains(&age), "{age}");
    }
}

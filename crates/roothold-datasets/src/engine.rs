//! The engine: a runtime of its own, a pool of memory, and a folder for what does not fit into it.
//!
//! Decoding blocks for milliseconds at a time, which on the runtime of a server would hold up its
//! timers; so everything here runs on threads of the engine's own, and callers wait for it on
//! theirs.
//!
//! **Invariant**: a call whose future is dropped, that is cancelled or overdue, stops reading.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use roothold_core::{Budget, Fault, FaultKind};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::limits::Limits;
use crate::meter::Meter;

mod files;
mod memory;
mod pool;
mod spill;

use files::SpillFiles;
pub use memory::memory_default;
use pool::SharedPool;
pub use spill::SpillError;
use spill::SpillFolder;

/// What is kept of footers of Parquet files.
const METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Expressions nest as deep as a query is long; see the limit on its words in `query/gate.rs`. Only
/// what is used of a stack takes memory.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// The part of the pool that one process may reserve before it begins.
const RESERVED_PART: usize = 8;
/// How often a waiting call looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What an engine may use.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// Threads, and partitions of a query. At least 1.
    pub threads: usize,
    /// Bytes that queries may hold together for sorting, grouping and joining; see
    /// [`memory_default`]. Decoding takes some tens of megabytes besides.
    pub memory_bytes: usize,
    /// A directory in which the engine makes a private folder for what does not fit into memory;
    /// `None`: what does not fit fails.
    pub spill_directory: Option<PathBuf>,
    /// The most bytes in that folder.
    pub spill_bytes_max: u64,
    /// How many bytes of its disk stay free; `None`: the smaller of 1 GiB and a twentieth of the disk.
    pub spill_free_bytes_min: Option<u64>,
    /// What holds for every dataset.
    pub limits: Limits,
}

impl Default for EngineSpec {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            memory_bytes: memory_default(),
            spill_directory: None,
            spill_bytes_max: 8 * 1024 * 1024 * 1024,
            spill_free_bytes_min: None,
            limits: Limits::default(),
        }
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder for spilling cannot be made.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// There are no threads for it.
    #[error("the engine for datasets has no threads: {0}")]
    Threads(#[source] std::io::Error),
    /// DataFusion refuses the configuration.
    #[error("the engine for datasets does not start")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What an engine uses at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineFigures {
    /// Bytes reserved from the pool.
    pub memory_bytes: usize,
    /// The size of the pool.
    pub memory_bytes_max: usize,
    /// Bytes in the folder for spilling.
    pub spill_bytes: u64,
    /// How many there may be; 0 where there is no such folder.
    pub spill_bytes_max: u64,
}

/// Runs queries and other work over datasets. Cloning shares it; it ends with its last clone, and
/// removes its folder then.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    environment: Arc<RuntimeEnv>,
    spec: EngineSpec,
    files: Option<Arc<SpillFiles>>,
    /// Removed when the engine ends, after its threads.
    spill: Option<SpillFolder>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped on an async thread, which must not wait for others.
            runtime.shutdown_background();
        }
        drop(self.spill.take());
    }
}

impl Engine {
    /// Starts an engine: threads, pool and folder. Folders that crashed processes left in the same
    /// directory are removed.
    ///
    /// # Errors
    /// An [`EngineError`].
    pub fn start(spec: EngineSpec) -> Result<Self, EngineError> {
        let spill = spec.spill_directory.as_deref().map(SpillFolder::make).transpose()?;
        let refused = |error: DataFusionError| EngineError::Configuration(error.into());
        let files_in =
            |folder| SpillFiles::new(folder, spec.spill_bytes_max, spec.spill_free_bytes_min);
        let files = spill.as_ref().map(files_in).transpose().map_err(refused)?.map(Arc::new);
        let mode = match &files {
            Some(files) => DiskManagerMode::Custom(Arc::clone(files) as _),
            None => DiskManagerMode::Disabled,
        };
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(spec.memory_bytes));
        let builder = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_metadata_cache_limit(METADATA_BYTES_MAX)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode));
        let environment = builder.build_arc().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(spec.threads.max(1))
            .thread_name("datasets")
            .thread_stack_size(STACK_BYTES)
            .on_thread_start(yield_to_calls)
            .enable_time()
            .build()
            .map_err(EngineError::Threads)?;
        let inner = Inner { runtime: Some(runtime), environment, spec, files, spill };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The limits that hold for every dataset.
    pub fn limits(&self) -> &Limits {
        &self.inner.spec.limits
    }

    /// What it uses at the moment.
    pub fn figures(&self) -> EngineFigures {
        EngineFigures {
            memory_bytes: self.inner.environment.memory_pool.reserved(),
            memory_bytes_max: self.inner.spec.memory_bytes,
            spill_bytes: self.inner.files.as_ref().map_or(0, |files| files.bytes()),
            spill_bytes_max: self
                .inner
                .spill
                .as_ref()
                .map_or(0, |_| self.inner.spec.spill_bytes_max),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.inner.spec.threads.max(1)
    }

    /// What each partition of a sort may keep back, so that all together leave most of the pool.
    pub(crate) fn sort_reservation(&self) -> usize {
        const MOST: usize = 10 * 1024 * 1024;
        (self.inner.spec.memory_bytes / self.threads() / 4).min(MOST)
    }

    /// Waits until so many bytes of the pool are free, or, of a small pool, as many as one may have, and
    /// reserves them until what is returned is dropped.
    ///
    /// # Errors
    /// The budget's own.
    ///
    /// # Cancellation
    /// Nothing is reserved.
    pub(crate) async fn reserve(
        &self,
        bytes: usize,
        budget: &Budget,
    ) -> Result<MemoryReservation, Fault> {
        let held = MemoryConsumer::new("chunks").register(&self.memory());
        let bytes = bytes.min(self.inner.spec.memory_bytes / RESERVED_PART);
        while held.try_grow(bytes).is_err() {
            budget.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(held)
    }

    /// The pool of memory, for what is not a query.
    pub(crate) fn memory(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.inner.environment.memory_pool)
    }

    pub(crate) fn environment(&self) -> &Arc<RuntimeEnv> {
        &self.inner.environment
    }

    /// The runtime that everything here runs on.
    ///
    /// # Errors
    /// `Unavailable`, while the server is shutting down.
    pub(crate) fn handle(&self) -> Result<Handle, Fault> {
        let runtime = self.inner.runtime.as_ref();
        runtime.map(|runtime| runtime.handle().clone()).ok_or_else(ended)
    }

    /// Runs blocking work on a thread of the engine, and waits for it.
    ///
    /// # Errors
    /// The work's own; `Unsupported` if it panicked, as a decoder may over hostile bytes.
    ///
    /// # Cancellation
    /// When the budget ends or the future is dropped, the meter is stopped: the work ends at its
    /// next read.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        budget: &Budget,
        meter: &Arc<Meter>,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let task = self.handle()?.spawn_blocking(work);
        Waiting { task, meter: Arc::clone(meter) }.wait(budget).await
    }

    /// Runs a future on the engine's runtime, and waits for it.
    ///
    /// # Errors
    /// As [`Self::blocking`].
    ///
    /// # Cancellation
    /// As [`Self::blocking`]; the future is dropped as well.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        budget: &Budget,
        meter: &Arc<Meter>,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let task = self.handle()?.spawn(work);
        Waiting { task, meter: Arc::clone(meter) }.wait(budget).await
    }
}

/// Threads that decode run beside those that answer calls, which wake for microseconds and must not
/// wait for them. On Linux 0 is the calling thread; elsewhere it would be the whole process.
fn yield_to_calls() {
    /// Of the processor that both want, about a tenth.
    const NICE: i32 = 10;
    #[cfg(target_os = "linux")]
    // Where a filter forbids it, all threads are equal.
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Lets others have the processor who wait for it. Linux lets a thread go on for a while, whatever its
/// priority, and looks then only at its next tick, which is up to 4 ms later: so whoever decodes asks a few times
/// in a millisecond. Costs next to nothing where nobody waits.
pub(crate) fn give_way() {
    std::thread::yield_now();
}

/// Work that somebody waits for; dropped, it stops.
struct Waiting<T> {
    task: JoinHandle<Result<T, Fault>>,
    meter: Arc<Meter>,
}

impl<T> Waiting<T> {
    async fn wait(mut self, budget: &Budget) -> Result<T, Fault> {
        loop {
            let looked = tokio::time::timeout(LOOK_EVERY, &mut self.task).await;
            match looked {
                Ok(Ok(result)) => return result,
                Ok(Err(error)) if error.is_panic() => return Err(panicked()),
                Ok(Err(_)) => return Err(ended()),
                Err(_) => budget.check()?,
            }
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        // What blocks ends at its next read, what awaits is dropped; after its end both do nothing.
        self.meter.stop();
        self.task.abort();
    }
}

/// A decoder met what it was not made for. The message of the panic is in the process's own
/// output, where the panic hook wrote it.
pub(crate) fn panicked() -> Fault {
    Fault::new(
        FaultKind::Unsupported,
        "the decoder cannot handle what the file holds; check the file, or write it again",
    )
}

fn ended() -> Fault {
    Fault::new(FaultKind::Unavailable, "the server is shutting down; try again")
}

#[cfg(test)]
mod tests;

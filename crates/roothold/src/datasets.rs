//! Datasets within the server: which have names, what a data source of an argument means, and the
//! engine that reads and queries them, which starts when it is first needed.
//!
//! **Invariant**: a name grants nothing: whoever asks for it must be allowed to read its files, and
//! each is opened by the gate.

mod events;
mod hidden;
mod options;
mod source;
mod stores;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roothold_core::wall::Reach;
use roothold_core::{Budget, Fault, FaultKind};
use roothold_datasets::{Engine, EngineError, EngineSpec, Limits, SourceOptions, Stores};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::builder::StartError;
use crate::config::{Config, ConfigError, DatasetSection};

pub(crate) use events::{DatasetMetrics, DatasetRead};
pub(crate) use options::Options;
use source::Part;
pub(crate) use source::{Opened, SourceArg, actions_of, is_glob};
pub(crate) use stores::KnownStore;

/// How often a query that waits for its turn looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A dataset that has a name.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The paths and globs, as configured.
    pub(crate) files: Vec<String>,
    parts: Vec<Part>,
    pub(crate) options: SourceOptions,
    hidden: Vec<String>,
}

/// The datasets that have names, and the stores, as the tools know them: they are made before there is a
/// configuration. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<OnceLock<Named>>);

/// What has a name, or a URL.
#[derive(Debug)]
struct Named {
    datasets: Vec<Arc<Dataset>>,
    stores: Vec<KnownStore>,
}

impl Known {
    /// All, in the order of the configuration.
    pub(crate) fn all(&self) -> &[Arc<Dataset>] {
        self.0.get().map_or(&[], |named| &named.datasets)
    }

    /// The stores over the network, in that order too.
    pub(crate) fn stores(&self) -> &[KnownStore] {
        self.0.get().map_or(&[], |named| &named.stores)
    }

    fn get(&self, name: &str) -> Option<&Arc<Dataset>> {
        self.all().iter().find(|dataset| dataset.name == name)
    }
}

/// The datasets of a server.
pub(crate) struct Datasets {
    known: Known,
    stores: Stores,
    spec: EngineSpec,
    /// Whether the configuration names the directory for spilling.
    spill_is_configured: bool,
    query_timeout: Duration,
    output_bytes_max: u64,
    chunk_bytes: usize,
    engine: OnceCell<Engine>,
    turns: Semaphore,
    pub(crate) metrics: DatasetMetrics,
}

impl Datasets {
    /// The datasets of a configuration; `known` learns those that have names. Looks at the
    /// container's limits, so it must be made before the wall is raised.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the dataset or the store which cannot be used.
    pub(crate) fn new(config: &Config, known: &Known) -> Result<Self, ConfigError> {
        let datasets = config.datasets.iter().map(dataset).collect::<Result<Vec<_>, _>>()?;
        let (known_stores, stores) = stores::made(config)?;
        // A builder is used once, so nothing was set before.
        let _ = known.0.set(Named { datasets, stores: known_stores });
        let engine = &config.dataset_engine;
        let mut spec = EngineSpec::default();
        let bytes = engine.memory_bytes_max.map(usize::try_from);
        spec.memory_bytes = bytes.map_or(spec.memory_bytes, |bytes| bytes.unwrap_or(usize::MAX));
        spec.threads = engine.threads.unwrap_or(spec.threads);
        spec.spill_bytes_max = engine.spill_bytes_max;
        spec.spill_free_bytes_min = engine.spill_free_bytes_min;
        if engine.spill_bytes_max > 0 {
            spec.spill_directory = config.spill_dir().ok();
        }
        Ok(Self {
            known: known.clone(),
            stores,
            spec,
            spill_is_configured: engine.spill_dir.is_some(),
            query_timeout: Duration::from_secs(engine.query_timeout_seconds),
            output_bytes_max: engine.output_bytes_max,
            chunk_bytes: usize::try_from(engine.chunk_bytes).unwrap_or(usize::MAX),
            engine: OnceCell::new(),
            turns: Semaphore::new(engine.queries_max),
            metrics: DatasetMetrics::new(),
        })
    }

    /// Those that have names.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// The stores over the network.
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What holds for every dataset.
    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    /// How long a query may take.
    pub(crate) fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// The largest file that is written, in bytes.
    pub(crate) fn output_bytes_max(&self) -> u64 {
        self.output_bytes_max
    }

    /// How much of a file is worked through as one chunk, in bytes.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// How many threads the engine works with.
    pub(crate) fn threads(&self) -> usize {
        self.spec.threads
    }

    /// The directory for what does not fit into memory.
    pub(crate) fn spill_directory(&self) -> Option<&Path> {
        self.spec.spill_directory.as_deref()
    }

    /// Whether the configuration names that directory, so that it must be outside every root.
    pub(crate) fn spill_is_configured(&self) -> bool {
        self.spill_is_configured
    }

    /// Makes the directory for spilling, for its owner alone: behind the wall it could not be made.
    /// Where the configuration names none and the usual one cannot be made, nothing is spilled.
    ///
    /// # Errors
    /// When the one that is configured cannot be made.
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's own directory, named by its configuration, is not behind the gate"
    )]
    pub(crate) fn make_directory(&mut self) -> Result<(), StartError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let Some(dir) = self.spec.spill_directory.clone() else { return Ok(()) };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        let Err(error) = made else { return Ok(()) };
        if self.spill_is_configured {
            return Err(StartError::Front(format!(
                "dataset_engine.spill_dir: {} cannot be made: {error}; name a directory that the server may write",
                dir.display()
            )));
        }
        without_spilling(&mut self.spec, &error);
        Ok(())
    }

    /// What must be within reach behind the wall, of what is there.
    pub(crate) fn reach(&self) -> Reach {
        let directory = self.spec.spill_directory.iter().filter(|dir| dir.is_dir()).cloned();
        directory.fold(self.stores_reach(), |reach: Reach, dir: PathBuf| reach.write(dir))
    }

    /// The engine; the first who asks has it started.
    ///
    /// # Errors
    /// `Unavailable`, if it does not start; the log has the cause.
    pub(crate) async fn engine(&self) -> Result<&Engine, Fault> {
        self.engine.get_or_try_init(|| self.start()).await
    }

    async fn start(&self) -> Result<Engine, Fault> {
        let (spec, is_configured) = (self.spec.clone(), self.spill_is_configured);
        let started = tokio::task::spawn_blocking(move || start(spec, is_configured)).await;
        let engine = started.map_err(Fault::internal)?.map_err(|error| {
            let what =
                "the engine for datasets does not start; tell the operator, the log says why";
            Fault::new(FaultKind::Unavailable, what).with_source(error)
        })?;
        let (threads, memory_bytes) = (self.spec.threads, self.spec.memory_bytes);
        tracing::info!(threads, memory_bytes, "the engine for datasets runs");
        Ok(engine)
    }

    /// Takes what the engine uses over into the metrics, if it runs.
    pub(crate) fn observe(&self) {
        if let Some(engine) = self.engine.get() {
            self.metrics.observe(engine.figures());
        }
    }

    /// Waits for the turn of a query; it has it until the permit is dropped.
    ///
    /// # Errors
    /// The budget's own.
    pub(crate) async fn turn(&self, budget: &Budget) -> Result<SemaphorePermit<'_>, Fault> {
        loop {
            match tokio::time::timeout(LOOK_EVERY, self.turns.acquire()).await {
                Ok(turn) => return turn.map_err(Fault::internal),
                Err(_) => budget.check()?,
            }
        }
    }
}

impl fmt::Debug for Datasets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datasets").field("known", &self.known).finish_non_exhaustive()
    }
}

fn start(mut spec: EngineSpec, spill_is_configured: bool) -> Result<Engine, EngineError> {
    match Engine::start(spec.clone()) {
        Err(EngineError::Spill(error)) if !spill_is_configured => {
            without_spilling(&mut spec, &error);
            Engine::start(spec)
        }
        started => started,
    }
}

fn without_spilling(spec: &mut EngineSpec, error: &impl std::fmt::Display) {
    tracing::warn!(
        %error,
        "there is no directory for spilling: what does not fit into memory fails"
    );
    spec.spill_directory = None;
}

/// A dataset of the configuration.
fn dataset(section: &DatasetSection) -> Result<Arc<Dataset>, ConfigError> {
    let refuse = |fault: Fault| ConfigError::Value {
        key: "datasets".to_owned(),
        reason: format!("`{}`: {fault}", section.name),
    };
    let parts: Result<Vec<Part>, Fault> =
        section.files.iter().map(|file| Part::parse(file)).collect();
    let options = options::of_section(section).map_err(refuse)?;
    options::check_hidden(section, &options).map_err(refuse)?;
    let parts = parts.map_err(refuse)?;
    if parts.iter().any(Part::climbs) {
        return Err(refuse(Fault::invalid("a file's path holds `..`; write where it is")));
    }
    Ok(Arc::new(Dataset {
        name: section.name.clone(),
        description: section.description.clone(),
        files: section.files.clone(),
        parts,
        options,
        hidden: section.hidden_columns.clone(),
    }))
}

#[cfg(test)]
mod tests;

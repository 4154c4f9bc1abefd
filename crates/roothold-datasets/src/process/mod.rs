//! Processes a dataset of any size chunk by chunk: bounded memory, true progress, and after each
//! chunk a checkpoint from which another machine goes on to the same result.
//!
//! ```text
//! input   what is needed of opened files
//! spans   cuts them into chunks, whose text is in `buffers`; `records` knows where records end
//! decode  a chunk's batches of columns, and its bad rows (`bad`, `reason`)
//! fold    what an operation is; `profile` and the others are such
//! runner  chunks at work, folded in order; `saved` is a checkpoint's bytes
//! ```
//!
//! What is folded are DataFusion's own accumulators (`accumulate`, `groups`).

mod accumulate;
mod aggregate;
mod bad;
mod buffers;
mod convert;
mod decode;
mod fold;
mod groups;
mod input;
mod operation;
mod profile;
mod reason;
mod records;
mod runner;
mod sample;
mod saved;
mod search;
mod source;
mod spans;
mod sql;
mod start;
mod step;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;
use roothold_core::{Budget, Fault};

use self::input::Input;
use self::runner::Running;
use self::source::Opened;
use self::start::Start;
use crate::engine::Engine;
use crate::meter::Meter;
use crate::source::Source;

pub use convert::Output;
pub use operation::{
    Aggregate, AggregateFunction, AggregateOptions, ConvertOptions, ExpectedColumn, ExpectedType,
    Operation, OperationKind, ProfileOptions, SampleOptions, SearchOptions, SqlOptions,
    ValidateOptions,
};
pub use runner::Reading;
pub use step::{Chunk, ProcessLimits, Progress, Report, Step};

/// An operation on its way through a dataset.
///
/// # Cancellation
/// A step ends within a fraction of a second once its budget is cancelled or overdue; the process
/// is of no more use then, its last checkpoint is. Dropping it ends its work.
pub struct Process {
    running: Box<dyn Running>,
    /// What its chunks take of the pool.
    _room: Option<MemoryReservation>,
    /// Its runtime lasts as long as the work.
    _engine: Option<Engine>,
}

impl Process {
    /// Begins `operation` over `source`, once there is memory for its chunks. Only a conversion has an
    /// `output`, and needs one.
    ///
    /// # Errors
    /// `Invalid` for what the source does not have or the operation does not take; and what
    /// looking at the source fails with.
    ///
    /// # Cancellation
    /// As a step.
    pub async fn open(
        engine: &Engine,
        source: &Source,
        operation: &Operation,
        limits: ProcessLimits,
        output: Option<Box<dyn Output>>,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let asked = operation.clone();
        let begin = move |input| Ok(Start::new(input, &asked, limits)?.into_output(output));
        Self::start(engine, source, operation, budget, begin).await
    }

    /// Goes on behind the chunks that `state` holds, of which there are `next`. A conversion needs
    /// the output that it wrote into before.
    ///
    /// # Errors
    /// `Conflict` if the source is not what it was; `Internal` if the state is damaged, or of
    /// another operation; and as [`Process::open`].
    ///
    /// # Cancellation
    /// As a step.
    pub async fn resume(
        engine: &Engine,
        source: &Source,
        operation: &Operation,
        (state, next): (Vec<u8>, u64),
        output: Option<Box<dyn Output>>,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let asked = operation.clone();
        let begin = move |input| Ok(Start::after(input, &asked, &state, next)?.into_output(output));
        Self::start(engine, source, operation, budget, begin).await
    }

    /// Looks at the source, and begins the work where `begin` says.
    async fn start(
        engine: &Engine,
        source: &Source,
        operation: &Operation,
        budget: &Budget,
        begin: impl FnOnce(Arc<dyn Input>) -> Result<Start, Fault> + Send + 'static,
    ) -> Result<Self, Fault> {
        let meter = Arc::new(Meter::new(budget));
        let (limits, look, of) = (*engine.limits(), Arc::clone(&meter), source.clone());
        let look = move || begin(Arc::new(Opened::new(&of, &limits, &look)?));
        let start = engine.blocking(budget, &meter, look).await?;
        if let Operation::Sql(options) = operation {
            let running = start.run_sql(engine, source, options)?;
            return Ok(Self { running, _room: None, _engine: Some(engine.clone()) });
        }
        let room = engine.reserve(start.chunk_bytes(), budget).await?;
        let inner = engine.clone();
        let run = move || start.run(inner.handle()?, inner.memory());
        let running = engine.blocking(budget, &meter, run).await?;
        Ok(Self { running, _room: Some(room), _engine: Some(engine.clone()) })
    }

    /// Goes on to the next chunk, or to the end.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout` from `budget`; `Conflict` if a file changed; `Limit` if a record,
    /// the groups or the state grew too large; and whatever reading a file can fail with.
    pub async fn step(&mut self, budget: &Budget) -> Result<Step, Fault> {
        self.running.step(budget).await
    }

    /// The checkpoint that goes with the last chunk: with it and that chunk's `next`, a process of
    /// the same operation over the same content goes on to the same result, on any machine.
    ///
    /// # Errors
    /// `Limit` if it is larger than a checkpoint may be.
    pub fn state(&mut self) -> Result<Vec<u8>, Fault> {
        self.running.state()
    }

    /// How far the reading of the files is: it runs ahead of the chunks, and moves during a step.
    pub fn reading(&self) -> Reading {
        self.running.reading()
    }

    /// The result over the chunks so far, in the form of the report.
    pub fn partial(&mut self) -> Result<serde_json::Value, Fault> {
        self.running.partial()
    }
}

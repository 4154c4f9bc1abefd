//! Processes a dataset of any size chunk by chunk: bounded memory, true progress, and after each
//! chunk a checkpoint from which another machine goes on to the same result.
//!
//! ```text
//! input   what is needed of opened files
//! spans   cuts them into chunks; `records` knows where records end
//! decode  a chunk's batches of columns, and its bad rows (`bad`, `reason`)
//! fold    what an operation is; `profile` and the others are such
//! runner  chunks at work, folded in order; `saved` is a checkpoint's bytes
//! ```
//!
//! What is folded are DataFusion's own accumulators (`accumulate`, `groups`).

mod accumulate;
mod aggregate;
mod bad;
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
mod spans;
mod start;
mod step;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod validate;
mod values;
mod whole;

use roothold_core::{Budget, Fault};

use self::runner::Running;

pub use convert::Output;
pub use operation::{
    Aggregate, AggregateFunction, AggregateOptions, ConvertFormat, ConvertOptions, ExpectedColumn,
    ExpectedType, Operation, ProfileOptions, SampleOptions, SearchOptions, ValidateOptions,
};
pub use step::{Chunk, ProcessLimits, Progress, Report, Step};

/// An operation on its way through a dataset.
///
/// # Cancellation
/// A step ends within a fraction of a second once its budget is cancelled or overdue; the process
/// is of no more use then, its last checkpoint is. Dropping it ends its work.
pub struct Process(Box<dyn Running>);

impl Process {
    /// Goes on to the next chunk, or to the end.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout` from `budget`; `Conflict` if a file changed; `Limit` if a record,
    /// the groups or the state grew too large; and whatever reading a file can fail with.
    pub async fn step(&mut self, budget: &Budget) -> Result<Step, Fault> {
        self.0.step(budget).await
    }

    /// The checkpoint that goes with the last chunk: with it and that chunk's `next`, a process of
    /// the same operation over the same content goes on to the same result, on any machine.
    ///
    /// # Errors
    /// `Limit` if it is larger than a checkpoint may be.
    pub fn state(&mut self) -> Result<Vec<u8>, Fault> {
        self.0.state()
    }

    /// The result over the chunks so far, in the form of the report.
    pub fn partial(&mut self) -> Result<serde_json::Value, Fault> {
        self.0.partial()
    }
}

//! What an operation is: work on chunks, which run at the same time, and a fold over what comes out, in order.

use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use roothold_core::{Fault, FaultKind};
use serde_json::Value;

use super::decode::Counts;
use super::input::{Input, Stop};
use super::saved::Saved;
use super::spans::Span;

/// The work on one chunk. Knows nothing of other chunks.
pub(super) trait Work: Send + Sync + 'static {
    /// What comes out of one chunk, to be folded.
    type Part: Send + 'static;

    /// Works on a chunk. Blocking; asks `stop` at least once a batch.
    fn work(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, Self::Part), Fault>;
}

/// The result over all chunks so far.
pub(super) trait Fold: Send + 'static {
    /// The work that it folds.
    type Work: Work;

    /// The work.
    fn work(&self) -> &Arc<Self::Work>;

    /// Adds the next chunk, and returns what of the result belongs to it alone.
    fn fold(&mut self, part: <Self::Work as Work>::Part) -> Result<Option<Value>, Fault>;

    /// Whether no further chunk can change the result.
    fn is_full(&self) -> bool {
        false
    }

    /// Does what is to be done once all chunks are in; done again, it changes nothing.
    fn finish(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Its state.
    fn save(&mut self) -> Result<Saved, Fault>;

    /// Takes up a state that `save` gave, in place of its own.
    fn load(&mut self, saved: Saved) -> Result<(), Fault>;

    /// The result so far: an object.
    fn report(&mut self) -> Result<Value, Fault>;

    /// The result over all chunks, in the form of the report. Nothing is asked of the fold afterwards, so
    /// it may give away what it holds.
    fn conclude(&mut self) -> Result<Value, Fault> {
        self.report()
    }
}

/// A failure of the engine in the middle of a fold.
pub(super) fn broken(error: DataFusionError) -> Fault {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Fault::new(
            FaultKind::Limit,
            "the memory for datasets is used up; ask for fewer columns or groups, or try again later",
        )
        .with_source(error),
        DataFusionError::ArrowError(inner, _)
            if matches!(**inner, ArrowError::ArithmeticOverflow(_)) =>
        {
            Fault::invalid(
                "a sum is too large for the type of its column; \
                 use the operation `sql` and cast the column to double or decimal",
            )
        }
        _ => Fault::internal(error),
    }
}

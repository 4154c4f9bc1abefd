//! A table over text files: each partition reads the records of one piece after the other, in turn
//! with the others.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::stream;
use roothold_core::Fault;

use crate::meter::Meter;
use crate::options::Format;
use crate::prepared::Prepared;
use crate::records::{Piece, Records, aligned};
use crate::stored::Stored;
use crate::turns::{Queue, Turns};

/// A piece that is smaller is not worth its start.
pub(crate) const PIECE_BYTES_MIN: u64 = 1024 * 1024;
/// Nor is one that is a smaller part of the whole.
const PIECES_MAX: u64 = 64;

/// How much of what is left of a whole the next piece takes: much at first, so that there are few
/// pieces, and little at the end, so that those who work on them end together. Of an object each
/// piece is a request or more: there are as many as partitions.
pub(crate) fn share(left: u64, whole: u64, partitions: usize, file: &Stored) -> u64 {
    let partitions = partitions.max(1) as u64;
    if file.object().is_some() {
        return (whole / partitions + 1).max(PIECE_BYTES_MIN);
    }
    shrinking(left, whole, partitions)
}

fn shrinking(left: u64, whole: u64, partitions: u64) -> u64 {
    (left / (2 * partitions)).max(whole / PIECES_MAX).max(PIECE_BYTES_MIN)
}

/// Whether the pieces of files began where the pieces before them ended.
#[derive(Debug, Default)]
pub(crate) struct Seams(Mutex<SeamsInner>);

#[derive(Debug, Default)]
struct SeamsInner {
    /// For a file and the place at which it was cut: where the piece after it began.
    begun: Vec<((usize, u64), u64)>,
    /// The same: where the piece before it ended.
    ended: Vec<((usize, u64), u64)>,
    /// Two of them do not agree.
    is_broken: bool,
}

impl Seams {
    /// Whether every piece that was read began at the beginning of a record. A piece of which the
    /// one before was not read to its end may have begun anywhere.
    pub(crate) fn hold(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.begun.iter().all(|begun| inner.ended.contains(begun))
    }

    /// Whether a piece is known not to have: what is read means nothing.
    fn are_broken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_broken
    }

    fn note_begun(&self, file: usize, cut: u64, at: u64) {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.begun.push(((file, cut), at));
        inner.is_broken |= disagree(&inner.ended, (file, cut), at);
    }

    fn note_ended(&self, file: usize, cut: u64, at: u64) {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ended.push(((file, cut), at));
        inner.is_broken |= disagree(&inner.begun, (file, cut), at);
    }
}

fn disagree(noted: &[((usize, u64), u64)], cut: (usize, u64), at: u64) -> bool {
    noted.iter().any(|(there, noted)| *there == cut && *noted != at)
}

/// The visible columns of text files.
#[derive(Debug)]
pub(crate) struct TextTable {
    prepared: Arc<Prepared>,
    meter: Arc<Meter>,
    seams: Arc<Seams>,
    /// Whether files may be read in several pieces at once.
    is_cut: bool,
}

impl TextTable {
    pub(crate) fn new(
        prepared: Arc<Prepared>,
        meter: Arc<Meter>,
        seams: Arc<Seams>,
        is_cut: bool,
    ) -> Self {
        Self { prepared, meter, seams, is_cut }
    }

    /// The pieces that partitions take in turn, in the order of files.
    fn pieces(&self, partitions: usize) -> Vec<Piece> {
        let whole = self.prepared.source.bytes();
        let (mut rest, mut pieces) = (whole, Vec::new());
        for (file, prepared) in self.prepared.files.iter().enumerate() {
            let size = prepared.file.size();
            let is_cut = self.is_cut && partitions > 1 && self.prepared.is_seekable(file);
            let mut from = 0;
            loop {
                let share = share(rest, whole, partitions, &prepared.file);
                let left = size - from;
                let takes = if is_cut && left > share + PIECE_BYTES_MIN { share } else { left };
                let until = (from + takes < size).then_some(from + takes);
                pieces.push(Piece { file, from, until });
                rest = rest.saturating_sub(takes);
                from += takes;
                if until.is_none() {
                    break;
                }
            }
        }
        pieces
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.prepared.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let prepared = &self.prepared;
        let columns = prepared.columns(projection);
        // Only whoever reads from the beginning knows the numbers of lines.
        let counts_lines = prepared.format == Format::Text && columns.contains(&0);
        let partitions = if counts_lines { 1 } else { state.config().target_partitions() };
        let pieces = self.pieces(partitions);
        let partitions = partitions.min(pieces.len()).max(1);
        let schema = Arc::new(prepared.file_schema.project(&columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(TextScan {
            prepared: Arc::clone(prepared),
            meter: Arc::clone(&self.meter),
            seams: Arc::clone(&self.seams),
            turns: Turns::new(pieces, partitions),
            columns,
            schema,
            properties: Arc::new(properties),
        }))
    }
}

/// The scan of one query.
#[derive(Debug)]
struct TextScan {
    prepared: Arc<Prepared>,
    meter: Arc<Meter>,
    seams: Arc<Seams>,
    turns: Turns<Piece>,
    columns: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for TextScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextScan: format={}", self.prepared.format.name())
    }
}

impl ExecutionPlan for TextScan {
    fn name(&self) -> &'static str {
        "TextScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// A recursive query executes its part again and again, each time from the beginning.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            prepared: Arc::clone(&self.prepared),
            meter: Arc::clone(&self.meter),
            seams: Arc::clone(&self.seams),
            turns: self.turns.again(),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            prepared: Arc::clone(&self.prepared),
            meter: Arc::clone(&self.meter),
            seams: Arc::clone(&self.seams),
            queue: self.turns.join(partition),
            columns: self.columns.clone(),
            open: None,
        };
        let batches = stream::try_unfold(reading, |mut reading| async move {
            let batch = reading.next().map_err(|fault| DataFusionError::External(fault.into()))?;
            Ok(batch.map(|batch| (batch, reading)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

/// One partition at work.
struct Reading {
    prepared: Arc<Prepared>,
    meter: Arc<Meter>,
    seams: Arc<Seams>,
    queue: Queue<Piece>,
    columns: Vec<usize>,
    open: Option<(Piece, Records)>,
}

impl Reading {
    fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        // All of it is read again, in one piece.
        if self.seams.are_broken() {
            return Err(Fault::internal("a piece began within a record"));
        }
        loop {
            let Some((piece, records)) = &mut self.open else {
                let Some(piece) = self.queue.next() else { return Ok(None) };
                self.open = Some((piece.clone(), self.begin(&piece)?));
                continue;
            };
            if let Some(batch) = records.next()? {
                return self.shaped(batch).map(Some);
            }
            if let (Some(until), true) = (piece.until, self.prepared.style.is_some()) {
                self.seams.note_ended(piece.file, until, records.position());
            }
            self.open = None;
        }
    }

    fn begin(&self, piece: &Piece) -> Result<Records, Fault> {
        let from = aligned(&self.prepared, piece.file, piece.from, &self.meter)?;
        if piece.from > 0 && self.prepared.style.is_some() {
            self.seams.note_begun(piece.file, piece.from, from);
        }
        let piece = Piece { from, ..piece.clone() };
        Records::open(&self.prepared, piece, &self.decoded_columns(), &self.meter)
    }

    /// A decoder of JSON does not count objects of which it needs no member.
    fn decoded_columns(&self) -> Vec<usize> {
        if self.columns.is_empty() { vec![self.prepared.visible[0]] } else { self.columns.clone() }
    }

    fn shaped(&self, batch: RecordBatch) -> Result<RecordBatch, Fault> {
        if !self.columns.is_empty() {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .map_err(Fault::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_smaller_and_are_few() {
        for (whole, partitions) in
            [(1 << 30, 2), (1 << 30, 8), (10 << 20, 2), (5, 3), (1 << 44, 64)]
        {
            let (mut left, mut count, mut last) = (whole, 0, u64::MAX);
            while left > 0 {
                let next = shrinking(left, whole, partitions);
                assert!(next > 0 && next <= last);
                (left, count, last) = (left.saturating_sub(next), count + 1, next);
            }
            assert!(count <= 2 * PIECES_MAX, "{whole} in {count} pieces");
            assert!(last <= (whole / PIECES_MAX).max(PIECE_BYTES_MIN));
        }
    }

    #[test]
    fn seams_break_as_soon_as_two_pieces_disagree() {
        let seams = Seams::default();
        seams.note_begun(0, 100, 105);
        assert!(!seams.hold() && !seams.are_broken(), "the piece before is not read yet");
        seams.note_ended(0, 100, 105);
        assert!(seams.hold() && !seams.are_broken());
        seams.note_ended(0, 200, 207);
        seams.note_begun(1, 200, 204);
        assert!(!seams.are_broken(), "another file");
        seams.note_begun(0, 200, 204);
        assert!(seams.are_broken() && !seams.hold());
    }
}

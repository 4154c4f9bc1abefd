//! A table over text files: each partition reads the records of one piece after the other.

use std::collections::VecDeque;
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

/// A piece that is smaller is not worth a partition of its own.
const PIECE_BYTES_MIN: u64 = 1024 * 1024;

/// Whether the pieces of files began where the pieces before them ended.
#[derive(Debug, Default)]
pub(crate) struct Seams(Mutex<SeamsInner>);

#[derive(Debug, Default)]
struct SeamsInner {
    /// For a file and the place at which it was cut: where the piece after it began.
    begun: Vec<((usize, u64), u64)>,
    /// The same: where the piece before it ended.
    ended: Vec<((usize, u64), u64)>,
}

impl Seams {
    /// Whether every piece that was read began at the beginning of a record. A piece of which the
    /// one before was not read to its end may have begun anywhere.
    pub(crate) fn hold(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.begun.iter().all(|begun| inner.ended.contains(begun))
    }

    fn note_begun(&self, file: usize, cut: u64, at: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun.push(((file, cut), at));
    }

    fn note_ended(&self, file: usize, cut: u64, at: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended.push(((file, cut), at));
    }
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

    /// The work of each partition: pieces of about the same size together, in the order of files.
    fn pieces(&self, partitions: usize) -> Vec<Vec<Piece>> {
        let total = self.prepared.source.bytes();
        let share = (total / partitions.max(1) as u64 + 1).max(PIECE_BYTES_MIN);
        let mut groups: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut room = share;
        for (file, prepared) in self.prepared.files.iter().enumerate() {
            let size = prepared.file.size();
            let is_cut = self.is_cut && self.prepared.is_seekable(file);
            let mut from = 0;
            loop {
                if room == 0 {
                    groups.push(Vec::new());
                    room = share;
                }
                let left = size - from;
                let takes = if is_cut && left > room + PIECE_BYTES_MIN { room } else { left };
                let until = (from + takes < size).then_some(from + takes);
                if let Some(group) = groups.last_mut() {
                    group.push(Piece { file, from, until });
                }
                room = room.saturating_sub(takes);
                from += takes;
                if until.is_none() {
                    break;
                }
            }
        }
        groups
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
        let groups = self.pieces(partitions);
        let schema = Arc::new(prepared.file_schema.project(&columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(groups.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(TextScan {
            prepared: Arc::clone(prepared),
            meter: Arc::clone(&self.meter),
            seams: Arc::clone(&self.seams),
            groups,
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
    groups: Vec<Vec<Piece>>,
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pieces = self.groups.get(partition).cloned().unwrap_or_default();
        let reading = Reading {
            prepared: Arc::clone(&self.prepared),
            meter: Arc::clone(&self.meter),
            seams: Arc::clone(&self.seams),
            pieces: pieces.into(),
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
    pieces: VecDeque<Piece>,
    columns: Vec<usize>,
    open: Option<(Piece, Records)>,
}

impl Reading {
    fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        loop {
            let Some((piece, records)) = &mut self.open else {
                let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
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

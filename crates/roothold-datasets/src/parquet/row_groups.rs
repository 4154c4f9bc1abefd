//! A scan of Parquet files on disk: one row group after the other, each partition one at a time, page by
//! page with the synchronous reader.
//!
//! A page is read when it is decoded, so that of a column no more is in memory than a page and what
//! came of it. It leaves nothing out by statistics: it is for what reads all rows, or rows that are
//! known by their places.

use std::sync::Arc;
use std::{fmt, iter};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use datafusion::parquet::basic::Encoding;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::stream;
use roothold_core::Fault;

use super::chunks::{Chunks, Failures};
use super::schema_of;
use super::widths::Asked;
use crate::meter::Meter;
use crate::prepared::Prepared;
use crate::stored::Stored;
use crate::turns::{Queue, Turns};

/// A row group, or some of its rows.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The number of the file among those of the source.
    pub(super) file: usize,
    /// The number of the row group in it.
    pub(super) group: usize,
    /// Which rows of it; `None`: all.
    pub(super) rows: Option<RowSelection>,
}

/// What is scanned: columns of files by their numbers in the schema of the files.
#[derive(Debug, Clone)]
pub(super) struct Scanned {
    pub(super) prepared: Arc<Prepared>,
    pub(super) meter: Arc<Meter>,
    /// All columns of the files, with the types that they are read as.
    pub(super) types: SchemaRef,
    pub(super) columns: Vec<usize>,
    pub(super) partitions: usize,
}

/// The scan of one query.
#[derive(Debug)]
pub(super) struct RowGroupScan {
    scanned: Scanned,
    files: Arc<[Readable]>,
    turns: Turns<Part>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// A file, and what its readers are made of.
#[derive(Debug)]
struct Readable {
    file: Arc<Stored>,
    footer: ArrowReaderMetadata,
    mask: ProjectionMask,
}

/// Rows of which there are fewer are not worth the page at which a part begins, which is decompressed
/// for the part before it, too.
const PART_ROWS_MIN: usize = 128 * 1024;

/// All row groups of the files; in several parts each where there are fewer than partitions.
pub(super) fn whole(prepared: &Prepared, partitions: usize) -> Vec<Part> {
    let footers: Vec<_> = prepared.files.iter().map(|file| file.footer.as_ref()).collect();
    let groups: usize = footers.iter().flatten().map(|footer| footer.num_row_groups()).sum();
    let each = partitions.div_ceil(groups.max(1));
    let mut parts = Vec::new();
    for (file, footer) in footers.into_iter().enumerate() {
        for (group, of_group) in footer.iter().flat_map(|it| it.row_groups()).enumerate() {
            let all = usize::try_from(of_group.num_rows()).unwrap_or(0);
            parts.extend(cut(all, each).into_iter().map(|rows| Part { file, group, rows }));
        }
    }
    parts
}

/// So many rows in up to so many parts.
fn cut(rows: usize, parts: usize) -> Vec<Option<RowSelection>> {
    let parts = parts.min(rows / PART_ROWS_MIN);
    if parts < 2 {
        return vec![None];
    }
    let place = |part: usize| rows / parts * part + rows % parts * part / parts;
    let of_part = |part| {
        RowSelection::from_consecutive_ranges(iter::once(place(part)..place(part + 1)), rows)
    };
    (0..parts).map(of_part).map(Some).collect()
}

impl Scanned {
    /// What reads a file; `None` where that is an object, or has not the columns of the source
    /// as they are.
    fn readable(&self, file: usize) -> Option<Readable> {
        let prepared = &self.prepared.files[file];
        let footer = prepared.footer.as_ref().filter(|_| prepared.file.object().is_none())?;
        let own = schema_of(footer).ok()?;
        if !are_alike(&own, &self.prepared.file_schema) {
            return None;
        }
        let as_read = own.fields().iter().zip(self.types.fields());
        let as_read = as_read
            .map(|(own, as_read)| own.as_ref().clone().with_data_type(as_read.data_type().clone()));
        let as_read = Arc::new(Schema::new(as_read.collect::<Vec<Field>>()));
        let options = ArrowReaderOptions::new().with_schema(as_read);
        let footer = ArrowReaderMetadata::try_new(Arc::clone(footer), options).ok()?;
        let mask = ProjectionMask::roots(footer.parquet_schema(), self.columns.iter().copied());
        Some(Readable { file: Arc::clone(&prepared.file), footer, mask })
    }
}

/// Whether columns have the same names and types, in the same order.
fn are_alike(one: &Schema, other: &Schema) -> bool {
    let fields = || one.fields().iter().zip(other.fields());
    one.fields().len() == other.fields().len()
        && fields()
            .all(|(one, other)| one.name() == other.name() && one.data_type() == other.data_type())
}

impl RowGroupScan {
    /// A scan of parts; `None` where files have to be read by what can do more.
    ///
    /// # Errors
    /// Those of making a schema.
    pub(super) fn open(scanned: Scanned, parts: Vec<Part>) -> Result<Option<Self>> {
        // The reader gives columns in the order of the file.
        if !scanned.columns.is_sorted_by(|one, next| one < next) {
            return Ok(None);
        }
        let files = (0..scanned.prepared.files.len()).map(|file| scanned.readable(file));
        let Some(files) = files.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let partitions = scanned.partitions.min(parts.len()).max(1);
        let schema = Arc::new(scanned.types.project(&scanned.columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Some(Self {
            scanned,
            files: files.into(),
            turns: Turns::new(parts, partitions),
            schema,
            properties: Arc::new(properties),
        }))
    }

    /// The same with some of its columns as dictionaries; `None` where those are not texts of which
    /// each row group has one dictionary.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn with_dictionaries(&self, columns: &[usize]) -> Result<Option<Self>> {
        let mut fields: Vec<_> = self.scanned.types.fields().iter().cloned().collect();
        for column in columns {
            let column = self.scanned.columns[*column];
            let is_text =
                *self.scanned.prepared.file_schema.field(column).data_type() == DataType::Utf8;
            let footers = self.files.iter().map(|file| file.footer.metadata());
            if !is_text || !footers.into_iter().all(|footer| has_dictionaries(footer, column)) {
                return Ok(None);
            }
            let field = fields[column].as_ref().clone().with_data_type(dictionary());
            fields[column] = Arc::new(field);
        }
        let scanned = Scanned { types: Arc::new(Schema::new(fields)), ..self.scanned.clone() };
        Self::open(scanned, self.turns.parts().to_vec())
    }
}

/// Numbers of texts that stand in a dictionary.
fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Whether a column has nothing but numbers of texts in all its pages.
fn has_dictionaries(footer: &ParquetMetaData, column: usize) -> bool {
    let is_whole = |chunk: &ColumnChunkMetaData| {
        let is_only =
            |encoding| chunk.page_encoding_stats_mask().is_some_and(|m| m.is_only(encoding));
        let older = Encoding::PLAIN_DICTIONARY;
        chunk.dictionary_page_offset().is_some()
            && (is_only(Encoding::RLE_DICTIONARY) || is_only(older))
    };
    let columns = footer.file_metadata().schema_descr();
    let leaves =
        (0..columns.num_columns()).filter(|leaf| columns.get_column_root_idx(*leaf) == column);
    let leaves: Vec<usize> = leaves.collect();
    footer.row_groups().iter().all(|group| leaves.iter().all(|leaf| is_whole(group.column(*leaf))))
}

impl DisplayAs for RowGroupScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowGroupScan")
    }
}

impl ExecutionPlan for RowGroupScan {
    fn name(&self) -> &'static str {
        "RowGroupScan"
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
            scanned: self.scanned.clone(),
            files: Arc::clone(&self.files),
            turns: self.turns.again(),
            schema: Arc::clone(&self.schema),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            scanned: self.scanned.clone(),
            files: Arc::clone(&self.files),
            queue: self.turns.join(partition),
            schema: Arc::clone(&self.schema),
            rows_max: context.session_config().batch_size(),
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
    scanned: Scanned,
    files: Arc<[Readable]>,
    queue: Queue<Part>,
    schema: SchemaRef,
    rows_max: usize,
    open: Option<(usize, ParquetRecordBatchReader, Failures)>,
}

impl Reading {
    fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        loop {
            let Some((file, reader, failures)) = &mut self.open else {
                let Some(part) = self.queue.next() else { return Ok(None) };
                self.open = Some(self.begin(part)?);
                continue;
            };
            let batch = reader.next().transpose();
            let batch = batch.map_err(|error| failures.fault(&self.files[*file].file, &error))?;
            match batch {
                Some(batch) => return self.shaped(&batch).map(Some),
                None => self.open = None,
            }
        }
    }

    fn begin(&self, part: Part) -> Result<(usize, ParquetRecordBatchReader, Failures), Fault> {
        let Readable { file, footer, mask } = &self.files[part.file];
        let Scanned { prepared, meter, .. } = &self.scanned;
        let limits = &prepared.limits;
        let widths = Asked { file, footer: footer.metadata(), mask, limits, meter };
        let rows_max = widths.rows_at_once(part.group, self.rows_max)?;
        let chunks = Chunks::new(file, footer.metadata(), limits, meter)?;
        let failures = chunks.failures();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, footer.clone())
            .with_projection(mask.clone())
            .with_row_groups(vec![part.group])
            .with_batch_size(rows_max);
        let builder = match part.rows {
            Some(rows) => builder.with_row_selection(rows),
            None => builder,
        };
        let reader = builder.build().map_err(|error| failures.fault(file, &error))?;
        Ok((part.file, reader, failures))
    }

    /// With the schema of the whole source, in which columns may lack values that have all in one
    /// file.
    fn shaped(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let (schema, columns) = (Arc::clone(&self.schema), batch.columns().to_vec());
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(Fault::internal)
    }
}

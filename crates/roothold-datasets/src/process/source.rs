//! A prepared source as an input: its texts and row groups.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use roothold_core::files::Drift;
use roothold_core::{Budget, Fault};

use super::decode::BATCH_ROWS_MAX;
use super::input::{Batches, FileSize, GroupSize, Input, Shape, ShapeFormat, TextRead};
use crate::limits::Limits;
use crate::meter::Meter;
use crate::options::Format;
use crate::parquet::{AskedWidths, Chunks, damaged, metadata_of};
use crate::prepared::{Prepared, PreparedFile, prepare};
use crate::source::{Source, changed};
use crate::stored::Stored;
use crate::text::{Bytes, Coding, fault_of};

/// The most values of Parquet that are decoded at a time.
const BATCH_VALUES_MAX: usize = 256 * 1024;
/// Longer than any process runs: its steps have budgets of their own.
const FOREVER: Duration = Duration::from_hours(24 * 366);

/// A source that was looked at.
pub(super) struct Opened {
    prepared: Prepared,
    shape: Shape,
    meter: Arc<Meter>,
    /// The footer of the Parquet file that is being read.
    footer: Mutex<Option<(usize, ArrowReaderMetadata)>>,
}

/// A meter that only `stop` ends.
pub(super) fn endless() -> Arc<Meter> {
    Arc::new(Meter::new(&Budget::new(0, 0, FOREVER)))
}

impl Opened {
    /// Looks at a source. Blocking; `look` can end it.
    pub(super) fn new(source: &Source, limits: &Limits, look: &Arc<Meter>) -> Result<Self, Fault> {
        let mut prepared = prepare(source, limits, look)?;
        // A process lives long, and reads one file after the other.
        prepared.forget_footers();
        let format = match (prepared.format, prepared.style) {
            (Format::Parquet, _) => ShapeFormat::Parquet,
            (Format::Jsonl, _) => ShapeFormat::Jsonl,
            (Format::Text, _) => ShapeFormat::Text,
            (Format::Csv | Format::Tsv, Some(style)) => ShapeFormat::Csv {
                delimiter: style.delimiter,
                quote: style.quote,
                escape: None,
                header: style.header,
                short: style.short_records,
            },
            (Format::Csv | Format::Tsv, None) => {
                return Err(Fault::internal("delimited text without a style"));
            }
        };
        let schema = plain(&prepared.file_schema);
        let (visible, hidden) = (prepared.visible.clone(), source.hidden());
        let lax = prepared.lax.clone();
        let shape = Shape { format, schema, lax, visible, hidden };
        Ok(Self { prepared, shape, meter: endless(), footer: Mutex::default() })
    }

    fn file(&self, file: usize) -> &PreparedFile {
        &self.prepared.files[file]
    }

    fn footer(&self, file: usize) -> Result<ArrowReaderMetadata, Fault> {
        let mut kept = self.footer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, footer)) = &*kept
            && *of == file
        {
            return Ok(footer.clone());
        }
        let source = &self.file(file).file;
        let metadata = metadata_of(source, &self.prepared.limits, &self.meter)?;
        let footer =
            ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::default());
        let footer = footer.map_err(|error| damaged(source, &error))?;
        *kept = Some((file, footer.clone()));
        Ok(footer)
    }
}

/// The schema without dictionaries, which are only another way to store values.
fn plain(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, value) => {
            Arc::new(Field::new(field.name(), value.as_ref().clone(), true))
        }
        _ => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The text of a file.
struct Text {
    read: Bytes,
    file: Arc<Stored>,
    coding: Coding,
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read
            .read(buffer)
            .map_err(|error| io::Error::other(fault_of(&error, &self.file, self.coding)))
    }
}

impl TextRead for Text {
    fn start(&self) -> u64 {
        self.read.start()
    }

    fn consumed(&self) -> Option<u64> {
        (!self.coding.is_seekable()).then(|| self.read.consumed())
    }
}

impl Input for Opened {
    fn files(&self) -> Vec<FileSize> {
        let files = self.prepared.files.iter().map(|file| &file.file);
        files.map(|file| FileSize { name: file.path(), bytes: file.size() }).collect()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn revision(&self) -> String {
        self.prepared.source.revision()
    }

    fn text(&self, file: usize, offset: u64) -> Result<Box<dyn TextRead>, Fault> {
        let read = self.prepared.open(file, offset, &self.meter)?;
        let PreparedFile { file, coding, .. } = self.file(file);
        Ok(Box::new(Text { read, file: Arc::clone(file), coding: *coding }))
    }

    fn unchanged(&self, file: usize) -> Result<(), Fault> {
        let file = &self.file(file).file;
        match file.drift()? {
            // What it was when it was opened is what is read.
            Drift::Same | Drift::Grown => Ok(()),
            Drift::Changed => Err(changed(&file.path())),
        }
    }

    fn notes(&self) -> &[String] {
        &self.prepared.notes
    }

    fn stop(&self) {
        self.meter.stop();
    }

    fn bytes_read(&self) -> u64 {
        self.meter.bytes()
    }

    fn row_groups(&self, file: usize) -> Result<Vec<GroupSize>, Fault> {
        let groups = self.footer(file)?;
        let groups = groups.metadata().row_groups().iter().map(|group| GroupSize {
            bytes: u64::try_from(group.compressed_size()).unwrap_or(0),
            rows: u64::try_from(group.num_rows()).unwrap_or(0),
        });
        Ok(groups.collect())
    }

    fn row_group(&self, file: usize, group: usize, columns: &[usize]) -> Result<Batches, Fault> {
        let footer = self.footer(file)?;
        let wanted = self.shape.schema.project(columns).map_err(Fault::internal)?;
        let roots = wanted.fields().iter().map(|field| footer.schema().index_of(field.name()).ok());
        let mask = ProjectionMask::roots(footer.parquet_schema(), roots.flatten());
        let source = Arc::clone(&self.file(file).file);
        let (limits, meter) = (&self.prepared.limits, &self.meter);
        let rows = (BATCH_VALUES_MAX / columns.len().max(1)).clamp(32, BATCH_ROWS_MAX);
        let (file, metadata) = (&source, footer.metadata());
        let widths = AskedWidths { file, footer: metadata, mask: &mask, limits, meter };
        let rows = widths.rows_at_once(group, rows)?;
        let chunks = Chunks::new(&source, footer.metadata(), limits, meter)?;
        let failures = chunks.failures();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, footer)
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(rows)
            .build()
            .map_err(|error| failures.fault(&source, &error))?;
        let wanted = Arc::new(wanted);
        Ok(Box::new(reader.map(move |batch| {
            let batch = batch.map_err(|error| failures.fault(&source, &error))?;
            shaped(&batch, &wanted)
        })))
    }
}

/// The batch with the wanted columns in their order; what a file does not have is null.
fn shaped(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, Fault> {
    let columns = wanted.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => cast(column, field.data_type()),
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().map_err(Fault::internal)?;
    let fields = wanted.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &rows).map_err(Fault::internal)
}

//! The result of a query as a file: Parquet, CSV or JSON Lines.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::{csv, json};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::StreamExt as _;
use roothold_core::{Budget, Fault, FaultKind};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::meter::Meter;
use crate::query::{Query, Reading, Session};
use crate::refusal;
use crate::scan::Seams;
use crate::table;

/// The most bytes of a row group of Parquet that wait in memory.
const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// With these a spreadsheet begins a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// What a result is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Apache Parquet, compressed with Zstandard.
    Parquet,
    /// CSV with a header. Lists and structures are JSON.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Rows of the result.
    pub rows: u64,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// A file grew while it was read; what was there at first was read.
    pub has_grown: bool,
    /// What of the files is in no table, in words.
    pub notes: Vec<String>,
}

/// Makes the writer of a result. It is called again, and what was written before is then to be
/// discarded, in the rare case that a file turns out not to be readable in pieces.
pub type MakeWriter = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

impl Engine {
    /// Runs a query and writes all rows of its result; `offset`, `rows_max` and `bytes_max` of the
    /// query do not matter. With `guards_formulas` cells of CSV that a spreadsheet would run begin
    /// with `'`.
    ///
    /// # Errors
    /// As [`Engine::query`]; `Unavailable` where the writer fails. What was written up to an error
    /// is to be discarded.
    ///
    /// # Cancellation
    /// As [`Engine::query`]; writing stops between two batches.
    pub async fn export(
        &self,
        query: &Query,
        format: ExportFormat,
        guards_formulas: bool,
        make: MakeWriter,
        budget: &Budget,
    ) -> Result<Exported, Fault> {
        let meter = Arc::new(Meter::new(budget));
        let (engine, query, inner) = (self.clone(), query.clone(), Arc::clone(&meter));
        let work = async move {
            engine.export_inside(&query, Form { format, guards_formulas }, make, inner).await
        };
        self.run(budget, &meter, work).await
    }

    async fn export_inside(
        &self,
        query: &Query,
        form: Form,
        mut make: MakeWriter,
        meter: Arc<Meter>,
    ) -> Result<Exported, Fault> {
        let mut reading = Reading::default();
        loop {
            let seams = Arc::new(Seams::default());
            let session = Session::open(self, &query.tables, &meter, &seams, reading.is_cut)?
                .in_batches_of(reading.rows);
            let plan = session.plan(&query.sql, &query.parameters)?;
            let stream = session.stream(plan).await?;
            let failure = Failure::default();
            let writer = Watched { inner: make().map_err(unwritten)?, failure: failure.clone() };
            let written = write_all(stream, form, Box::new(writer), &meter).await;
            if let Some(error) = failure.take() {
                return Err(unwritten(error));
            }
            if let Some(other) = reading.other(session.widths(), seams.hold()) {
                reading = other;
                continue;
            }
            let rows = written?;
            let has_grown = session.has_grown()?;
            return Ok(Exported {
                rows,
                bytes_read: meter.bytes(),
                has_grown,
                notes: session.notes(),
            });
        }
    }
}

/// How a result is written.
#[derive(Debug, Clone, Copy)]
struct Form {
    format: ExportFormat,
    guards_formulas: bool,
}

/// The first failure of a writer: what the encoders make of it does not tell.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            kind.into()
        })
    }
}

struct Watched {
    inner: Box<dyn Write + Send>,
    failure: Failure,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.failure.note(self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.failure.note(self.inner.flush())
    }
}

async fn write_all(
    mut stream: datafusion::execution::SendableRecordBatchStream,
    form: Form,
    writer: Box<dyn Write + Send>,
    meter: &Meter,
) -> Result<u64, Fault> {
    let mut sink = Sink::new(&stream.schema(), form, writer)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        meter.check()?;
        let batch = batch.map_err(|error| refusal::fault_of(&error))?;
        sink.write(&batch)?;
        rows += batch.num_rows() as u64;
    }
    sink.finish()?;
    Ok(rows)
}

/// A writer of one format.
enum Sink {
    Parquet(Box<ArrowWriter<Box<dyn Write + Send>>>),
    Csv { writer: Box<csv::Writer<Box<dyn Write + Send>>>, schema: SchemaRef, guards: bool },
    Jsonl(json::LineDelimitedWriter<Box<dyn Write + Send>>),
}

impl Sink {
    fn new(schema: &SchemaRef, form: Form, writer: Box<dyn Write + Send>) -> Result<Self, Fault> {
        refuse_twice(schema)?;
        Ok(match form.format {
            ExportFormat::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(Fault::internal)?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(level))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(writer, Arc::clone(schema), Some(properties));
                Self::Parquet(Box::new(writer.map_err(|error| unfit(&error))?))
            }
            ExportFormat::Csv => {
                let guards = form.guards_formulas;
                let fields: Vec<Field> =
                    schema.fields().iter().map(|field| csv_field(field, guards)).collect();
                let writer = csv::WriterBuilder::new().with_header(true).build(writer);
                let schema = Arc::new(Schema::new(fields));
                Self::Csv { writer: Box::new(writer), schema, guards }
            }
            ExportFormat::Jsonl => Self::Jsonl(json::LineDelimitedWriter::new(writer)),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        match self {
            Self::Parquet(writer) => {
                writer.write(batch).map_err(|error| unfit(&error))?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(|error| unfit(&error))?;
                }
                Ok(())
            }
            Self::Csv { writer, schema, guards } => {
                let columns: Result<Vec<ArrayRef>, Fault> =
                    batch.columns().iter().map(|column| csv_column(column, *guards)).collect();
                let batch = RecordBatch::try_new(Arc::clone(schema), columns?);
                let batch = batch.map_err(Fault::internal)?;
                writer.write(&batch).map_err(|error| unfit(&error))
            }
            Self::Jsonl(writer) => writer.write(batch).map_err(|error| unfit(&error)),
        }
    }

    fn finish(self) -> Result<(), Fault> {
        match self {
            Self::Parquet(writer) => {
                let mut inner = writer.into_inner().map_err(|error| unfit(&error))?;
                inner.flush().map_err(unwritten)
            }
            Self::Csv { mut writer, schema, .. } => {
                // Without a row there would be no header.
                let empty = RecordBatch::new_empty(schema);
                writer.write(&empty).map_err(|error| unfit(&error))?;
                writer.into_inner().flush().map_err(unwritten)
            }
            Self::Jsonl(mut writer) => {
                writer.finish().map_err(|error| unfit(&error))?;
                writer.into_inner().flush().map_err(unwritten)
            }
        }
    }
}

/// Two columns of one name cannot be told apart in a file.
fn refuse_twice(schema: &Schema) -> Result<(), Fault> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Fault::invalid(format!(
            "two columns of the result are called `{}`; name them with AS",
            crate::shown::name(pair[0])
        ))),
    }
}

/// What the writer of CSV does not know becomes text.
pub(crate) fn csv_field(field: &Field, guards: bool) -> Field {
    let kind = if is_plain(field.data_type()) { field.data_type().clone() } else { DataType::Utf8 };
    let name = if guards { guarded(field.name()) } else { field.name().clone() };
    Field::new(name, kind, true)
}

fn is_plain(kind: &DataType) -> bool {
    !matches!(
        kind,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    ) && !kind.is_nested()
}

pub(crate) fn csv_column(column: &ArrayRef, guards: bool) -> Result<ArrayRef, Fault> {
    if is_plain(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    let texts = if column.data_type().is_nested() {
        nested_texts(column)?
    } else {
        cast(column, &DataType::Utf8).map_err(Fault::internal)?
    };
    if !guards {
        return Ok(texts);
    }
    let texts: &StringArray = texts.as_string();
    let guarded: StringArray = texts.iter().map(|text| text.map(guarded)).collect();
    Ok(Arc::new(guarded))
}

fn nested_texts(column: &ArrayRef) -> Result<ArrayRef, Fault> {
    let mut texts = StringBuilder::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
        } else {
            let value = table::value(column, row, 0)?;
            texts.append_value(value.to_string());
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// A text that a spreadsheet takes for a text. What is a plain number stays one.
fn guarded(text: &str) -> String {
    let is_formula = text.starts_with(FORMULA_STARTS) && text.parse::<f64>().is_err();
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn unfit(error: &(dyn std::error::Error + 'static)) -> Fault {
    refusal::fault_in(error).unwrap_or_else(|| {
        Fault::invalid("the result has a column that this format cannot hold; cast it to text")
    })
}

fn unwritten(error: io::Error) -> Fault {
    if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        return fault.again();
    }
    Fault::new(FaultKind::Unavailable, "the result could not be written; nothing of it is kept")
        .with_source(error)
}

#[cfg(test)]
mod tests;

//! The decoders of records: DataFusion's own for CSV and JSON, and one for lines.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringBuilder,
};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::{csv, json};
use roothold_core::Fault;

use crate::cells;
use crate::options::Format;
use crate::prepared::Prepared;
use crate::strict::JsonLines;
use crate::whole;

/// The most records of a batch.
const ROWS_MAX: usize = 8192;
/// The most cells of a batch, since the decoders make room for all of them at once.
const CELLS_MAX: usize = 512 * 1024;

/// Text in, batches out.
pub(super) struct Decoder {
    kind: Kind,
    rows_max: usize,
    schema: SchemaRef,
    quote: Option<u8>,
}

enum Kind {
    Csv(Box<Csv>),
    Json(Box<Json>),
    Lines(Lines),
}

impl Decoder {
    /// A decoder for text that begins with a record, or at the very beginning of a file.
    ///
    /// # Errors
    /// `Internal`, if the schema does not suit the decoder.
    pub(super) fn new(
        prepared: &Prepared,
        projection: &[usize],
        is_beginning: bool,
        rows_max: Option<usize>,
    ) -> Result<Self, Fault> {
        let whole = &prepared.file_schema;
        let schema = Arc::new(whole.project(projection).map_err(Fault::internal)?);
        let fitting = (CELLS_MAX / whole.fields().len().max(1)).clamp(1, ROWS_MAX);
        let rows_max = rows_max.unwrap_or(fitting);
        let kind = match (prepared.format, prepared.style) {
            (Format::Jsonl, _) => {
                let builder = json::ReaderBuilder::new(whole::as_text(&schema))
                    .with_batch_size(rows_max)
                    .with_coerce_primitive(true);
                let decoder = builder.build_decoder().map_err(Fault::internal)?;
                Kind::Json(Box::new(Json { decoder, lines: JsonLines::default() }))
            }
            (_, Some(style)) => {
                let texts = cells::as_text(whole, &prepared.lax);
                let builder = csv::ReaderBuilder::new(texts)
                    .with_batch_size(rows_max)
                    .with_delimiter(style.delimiter)
                    .with_quote(style.quote)
                    .with_header(false)
                    .with_truncated_rows(style.short_records)
                    .with_projection(projection.to_vec());
                let header = csv::ReaderBuilder::new(Arc::clone(whole))
                    .with_batch_size(1)
                    .with_delimiter(style.delimiter)
                    .with_quote(style.quote)
                    .with_truncated_rows(style.short_records)
                    .with_projection(Vec::new());
                let is_due = style.header && is_beginning;
                let header = is_due.then(|| header.build_decoder());
                let decoder = builder.build_decoder();
                Kind::Csv(Box::new(Csv { header, headers: 0, decoder, is_behind_header: false }))
            }
            _ => Kind::Lines(Lines::new(projection, &schema)),
        };
        let quote = prepared.style.map(|style| style.quote);
        Ok(Self { kind, rows_max, schema, quote })
    }

    /// What may stand around a field that holds line ends.
    pub(super) fn quote(&self) -> Option<u8> {
        self.quote
    }

    pub(super) fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Whether a header is to come before any record.
    pub(super) fn awaits_header(&self) -> bool {
        matches!(&self.kind, Kind::Csv(csv) if csv.header.is_some())
    }

    /// Whether what was taken last is the end of the header.
    pub(super) fn is_behind_header(&self) -> bool {
        matches!(&self.kind, Kind::Csv(csv) if csv.is_behind_header)
    }

    /// Takes text, and tells how much of it; less than all only when the batch is full.
    pub(super) fn feed(&mut self, text: &[u8]) -> Result<usize, ArrowError> {
        match &mut self.kind {
            Kind::Csv(csv) => csv.feed(text),
            Kind::Json(json) => json.feed(text),
            Kind::Lines(lines) => Ok(lines.feed(text, self.rows_max)),
        }
    }

    /// There is no more text: what was taken last is the end of a record.
    pub(super) fn finish(&mut self) -> Result<(), ArrowError> {
        match &mut self.kind {
            Kind::Csv(csv) => csv.feed(&[]).map(drop),
            Kind::Json(json) if json.decoder.has_partial_record() => {
                Err(ArrowError::JsonError("cut off".to_owned()))
            }
            Kind::Json(_) => Ok(()),
            Kind::Lines(lines) => {
                lines.finish();
                Ok(())
            }
        }
    }

    /// A line begins with what is fed next; others have decoded what was before it.
    pub(super) fn begin_line(&mut self) {
        if let Kind::Json(json) = &mut self.kind {
            json.lines.begin_line();
        }
    }

    /// How many whole records wait.
    pub(super) fn whole_records(&self) -> usize {
        match &self.kind {
            Kind::Csv(csv) => self.rows_max - csv.decoder.capacity(),
            Kind::Json(json) => json.decoder.len() - usize::from(json.decoder.has_partial_record()),
            Kind::Lines(lines) => lines.count,
        }
    }

    /// How many records ended since the last flush, a header counted.
    pub(super) fn ended(&self) -> usize {
        let headers = if let Kind::Csv(csv) = &self.kind { csv.headers } else { 0 };
        self.whole_records() + headers
    }

    pub(super) fn is_full(&self) -> bool {
        self.whole_records() >= self.rows_max
    }

    /// Whether a record ends at a line end that was just fed, before which `before` had ended.
    pub(super) fn ends_here(&self, before: usize) -> bool {
        match &self.kind {
            // Inside a quoted field a line end ends nothing.
            Kind::Csv(_) => self.ended() > before,
            Kind::Json(json) => !json.decoder.has_partial_record(),
            Kind::Lines(_) => true,
        }
    }

    /// Plain lines may hold a NUL, as a log does after a crash; records hold none.
    pub(super) fn refuses_nul(&self) -> bool {
        !matches!(self.kind, Kind::Lines(_))
    }

    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        match &mut self.kind {
            Kind::Csv(csv) => {
                let batch = csv.decoder.flush()?;
                batch.map(|batch| cells::from_text(&batch, &self.schema)).transpose()
            }
            Kind::Json(json) => json
                .decoder
                .flush()?
                .map(|batch| whole::from_text(&batch, &self.schema))
                .transpose(),
            Kind::Lines(lines) => lines.flush(&self.schema),
        }
    }
}

/// Objects, one a line.
struct Json {
    decoder: json::reader::Decoder,
    lines: JsonLines,
}

impl Json {
    fn feed(&mut self, text: &[u8]) -> Result<usize, ArrowError> {
        let used = self.decoder.decode(text)?;
        if self.lines.take(&text[..used]) {
            Ok(used)
        } else {
            Err(ArrowError::JsonError("not one object a line".to_owned()))
        }
    }
}

/// Fields between delimiters. The header is decoded apart, so that it is known where it ends.
struct Csv {
    header: Option<csv::reader::Decoder>,
    headers: usize,
    decoder: csv::reader::Decoder,
    is_behind_header: bool,
}

impl Csv {
    fn feed(&mut self, text: &[u8]) -> Result<usize, ArrowError> {
        self.is_behind_header = false;
        let Some(header) = &mut self.header else { return self.decoder.decode(text) };
        let used = header.decode(text)?;
        if header.capacity() == 0 {
            self.header = None;
            self.headers = 1;
            self.is_behind_header = true;
        }
        Ok(used)
    }
}

/// Lines as they are; what is not UTF-8 is U+FFFD.
struct Lines {
    with_number: Option<usize>,
    with_line: Option<usize>,
    /// The number of the last line that was flushed.
    number: i64,
    texts: StringBuilder,
    count: usize,
    partial: Vec<u8>,
    is_begun: bool,
}

impl Lines {
    fn new(projection: &[usize], schema: &Schema) -> Self {
        let at = |column: usize| projection.iter().position(|at| *at == column);
        debug_assert_eq!(projection.len(), schema.fields().len(), "one field a column");
        Self {
            with_number: at(0),
            with_line: at(1),
            number: 0,
            texts: StringBuilder::new(),
            count: 0,
            partial: Vec::new(),
            is_begun: false,
        }
    }

    fn feed(&mut self, text: &[u8], rows_max: usize) -> usize {
        let mut used = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            if self.count >= rows_max {
                return used;
            }
            self.push(&text[used..end]);
            used = end + 1;
        }
        if self.count >= rows_max {
            return used;
        }
        self.is_begun |= used < text.len();
        if self.with_line.is_some() {
            self.partial.extend_from_slice(&text[used..]);
        }
        text.len()
    }

    fn push(&mut self, rest: &[u8]) {
        self.count += 1;
        self.is_begun = false;
        if self.with_line.is_none() {
            return;
        }
        let line = if self.partial.is_empty() {
            rest
        } else {
            self.partial.extend_from_slice(rest);
            &self.partial
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.texts.append_value(String::from_utf8_lossy(line));
        self.partial.clear();
    }

    fn finish(&mut self) {
        if self.is_begun {
            self.push(&[]);
        }
    }

    fn flush(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>, ArrowError> {
        if self.count == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.count);
        let first = self.number + 1;
        self.number += i64::try_from(rows).unwrap_or(i64::MAX);
        let texts: ArrayRef = Arc::new(self.texts.finish());
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..=self.number));
        let columns = (0..schema.fields().len())
            .map(|at| Arc::clone(if self.with_number == Some(at) { &numbers } else { &texts }))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map(Some)
    }
}

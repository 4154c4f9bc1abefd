//! From a chunk to batches of typed columns, and to the rows that have no place in them.
//!
//! Rows are decoded thousands at a time: plain ones by the fast decoder, all others by the general
//! one. Where that fails, the same decoder is asked for halves, down to single rows: what is bad is
//! decided by one piece of code, however many rows it sees.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::csv::reader as csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::reader as json;
use roothold_core::Fault;

use super::bad::BadRows;
use super::input::{Input, Shape, ShapeFormat, Stop};
use super::reason;
use super::records::{Framing, RowsAt, TextAt, records};
use super::spans::{Body, Span};
use crate::cells;
use crate::engine::give_way;
use crate::plain::{Form, Patience, Plain};
use crate::strict::JsonLines;
use crate::whole;

/// The most values that are decoded at a time, over all columns.
const BATCH_VALUES_MAX: usize = 256 * 1024;
/// The most rows: so many take about a millisecond.
pub(super) const BATCH_ROWS_MAX: usize = 2048;
/// How much text is given to a decoder before others may have the processor.
const PIECE_BYTES: usize = 64 * 1024;

/// Which columns are wanted of which files.
#[derive(Debug, Clone)]
pub(super) struct Decode {
    shape: Shape,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// As a JSON decoder gives it.
    raw: SchemaRef,
    batch_rows: usize,
    spare: Spare,
}

/// Decoders of JSON that nobody uses at the moment: the memory that they have grown to is used again.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<json::Decoder>>>);

impl Spare {
    fn decoders(&self) -> MutexGuard<'_, Vec<json::Decoder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare")
    }
}

/// What a chunk was found to hold.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Good rows.
    pub(super) rows: u64,
    /// Rows that are left out.
    pub(super) bad: BadRows,
}

/// Takes one batch, and where its rows are.
pub(super) type Sink<'a> = dyn FnMut(&RecordBatch, &RowsAt<'_>) -> Result<(), Fault> + 'a;

impl Decode {
    /// Decodes `columns` of the files, which count in their whole schema.
    pub(super) fn new(shape: &Shape, columns: Vec<usize>) -> Result<Self, Fault> {
        let schema = Arc::new(shape.schema.project(&columns).map_err(Fault::internal)?);
        let batch_rows = BATCH_VALUES_MAX / shape.schema.fields().len().max(1);
        let batch_rows = batch_rows.clamp(32, BATCH_ROWS_MAX);
        let raw = whole::as_text(&schema);
        let spare = Spare::default();
        Ok(Self { shape: shape.clone(), columns, schema, raw, batch_rows, spare })
    }

    /// The schema of the batches.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Gives `sink` every good row of the chunk, in order.
    pub(super) fn run(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
        sink: &mut Sink<'_>,
    ) -> Result<Counts, Fault> {
        match &span.body {
            Body::RowGroups(groups) => self.row_groups(input, span, groups.clone(), stop, sink),
            Body::Text(data) => {
                let text = TextAt { data, framing: self.shape.framing(), lines: span.at.lines };
                let counts = Counts::default();
                let (plain, patience) = (self.plain(), Patience::new());
                let mut run = TextRun { decode: self, text, stop, sink, counts, plain, patience };
                match self.shape.format {
                    ShapeFormat::Csv { header, .. } => run.csv(header && span.is_first)?,
                    ShapeFormat::Jsonl => run.jsonl()?,
                    ShapeFormat::Text | ShapeFormat::Parquet => run.lines()?,
                }
                Ok(run.counts)
            }
        }
    }

    /// Decodes one or several records that need not follow on each other, all or none of them.
    pub(super) fn rows(&self, data: &[u8]) -> Result<RecordBatch, ArrowError> {
        match self.shape.format {
            ShapeFormat::Csv { .. } => {
                let (mut decoder, mut at) = (self.csv_decoder()?, 0);
                self.csv_batch(&mut decoder, data, &mut at)
            }
            _ => self.json_batch(&mut self.json_decoder()?, data),
        }
        .map(|batch| batch.unwrap_or_else(|| RecordBatch::new_empty(self.schema.clone())))
    }

    fn row_groups(
        &self,
        input: &dyn Input,
        span: &Span,
        groups: Range<usize>,
        stop: &Stop,
        sink: &mut Sink<'_>,
    ) -> Result<Counts, Fault> {
        let mut counts = Counts::default();
        for group in groups {
            for batch in input.row_group(span.at.file, group, &self.columns)? {
                stop.check()?;
                let batch = batch?;
                give_way();
                sink(&batch, &RowsAt::Counted(span.at.lines + counts.rows + 1))?;
                counts.rows += batch.num_rows() as u64;
            }
        }
        Ok(counts)
    }

    /// The decoder of plain lines; `None` where no line is plain.
    fn plain(&self) -> Option<Plain> {
        let form = match self.shape.format {
            ShapeFormat::Csv { delimiter, quote, .. } => Form::Delimited { delimiter, quote },
            ShapeFormat::Jsonl => Form::Json,
            ShapeFormat::Text | ShapeFormat::Parquet => return None,
        };
        Plain::new(form, &self.shape.schema, &self.columns, &self.shape.lax, self.batch_rows)
    }

    fn csv_decoder(&self) -> Result<csv::Decoder, ArrowError> {
        let ShapeFormat::Csv { delimiter, quote, escape, short, .. } = self.shape.format else {
            return Err(ArrowError::CsvError("not CSV".to_owned()));
        };
        let texts = cells::as_text(&self.shape.schema, &self.shape.lax);
        let mut builder = csv::ReaderBuilder::new(texts)
            .with_delimiter(delimiter)
            .with_quote(quote)
            .with_truncated_rows(short)
            .with_batch_size(self.batch_rows)
            .with_projection(self.columns.clone());
        if let Some(escape) = escape {
            builder = builder.with_escape(escape);
        }
        let mut decoder = builder.build_decoder();
        // An empty line is no row, and once something was read, a mark U+FEFF is data.
        decoder.decode(b"\n")?;
        Ok(decoder)
    }

    /// Decodes from `at` on until the batch is full or the text ends.
    fn csv_batch(
        &self,
        decoder: &mut csv::Decoder,
        data: &[u8],
        at: &mut usize,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let batch = csv_texts(decoder, data, at)?;
        batch.map(|batch| cells::from_text(&batch, &self.schema)).transpose()
    }

    fn json_decoder(&self) -> Result<json::Decoder, ArrowError> {
        if let Some(spare) = self.spare.decoders().pop() {
            return Ok(spare);
        }
        json::ReaderBuilder::new(self.raw.clone())
            .with_coerce_primitive(true)
            .with_batch_size(self.batch_rows + 1)
            .build_decoder()
    }

    /// Decodes lines, of which each that is not blank must be one row.
    fn json_batch(
        &self,
        decoder: &mut json::Decoder,
        data: &[u8],
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let lines = json_lines(data)?;
        let used = feed_json(decoder, data)?;
        let mut strict = JsonLines::default();
        if !strict.take(data) || !strict.is_between() {
            return Err(ArrowError::JsonError("a line is not JSON".to_owned()));
        }
        if used < data.len() || decoder.len() != lines || decoder.has_partial_record() {
            return Err(ArrowError::JsonError("a line is not one record".to_owned()));
        }
        decoder.flush()?.map(|batch| whole::from_text(&batch, &self.schema)).transpose()
    }
}

/// Gives the decoder `data`, and tells how much of it was taken.
fn feed_json(decoder: &mut json::Decoder, data: &[u8]) -> Result<usize, ArrowError> {
    let mut at = 0;
    for piece in data.chunks(PIECE_BYTES) {
        let used = decoder.decode(piece)?;
        at += used;
        if used < piece.len() {
            break;
        }
        give_way();
    }
    Ok(at)
}

/// How many lines are not blank; an error if one cannot be an object.
fn json_lines(data: &[u8]) -> Result<usize, ArrowError> {
    let mut lines = 0;
    for record in records(Framing::Values, data, 0, data.len()) {
        let line = data[record].trim_ascii();
        if line.first() != Some(&b'{') || line.last() != Some(&b'}') {
            return Err(ArrowError::JsonError("a line is not an object".to_owned()));
        }
        lines += 1;
    }
    Ok(lines)
}

/// The same with texts for what is read by us.
fn csv_texts(
    decoder: &mut csv::Decoder,
    data: &[u8],
    at: &mut usize,
) -> Result<Option<RecordBatch>, ArrowError> {
    loop {
        let piece = data.len().min(*at + PIECE_BYTES);
        let used = decoder.decode(&data[*at..piece])?;
        *at += used;
        give_way();
        if used == 0 || decoder.capacity() == 0 {
            return decoder.flush();
        }
    }
}

/// One chunk of text on its way into the sink.
struct TextRun<'a, 'b> {
    decode: &'a Decode,
    text: TextAt<'a>,
    stop: &'a Stop,
    sink: &'a mut Sink<'b>,
    counts: Counts,
    plain: Option<Plain>,
    patience: Patience,
}

impl TextRun<'_, '_> {
    fn csv(&mut self, header: bool) -> Result<(), Fault> {
        let data = self.text.data;
        let mut at = 0;
        if header {
            at = records(self.text.framing, data, 0, data.len())
                .next()
                .map_or(data.len(), |record| record.end);
        }
        let mut decoder = self.decode.csv_decoder().map_err(Fault::internal)?;
        loop {
            self.stop.check()?;
            let start = at;
            if let Some(batch) = self.plain_batch(&mut at)? {
                self.emit(&batch, start)?;
                continue;
            }
            let start = at;
            self.patience.turn();
            match self.decode.csv_batch(&mut decoder, data, &mut at) {
                Ok(Some(batch)) => self.emit(&batch, start)?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    at = self.recover(start)?;
                    decoder = self.decode.csv_decoder().map_err(Fault::internal)?;
                }
            }
        }
    }

    fn jsonl(&mut self) -> Result<(), Fault> {
        let data = self.text.data;
        let mut decoder = self.decode.json_decoder().map_err(Fault::internal)?;
        let mut start = 0;
        while start < data.len() {
            self.stop.check()?;
            let first = start;
            if let Some(batch) = self.plain_batch(&mut start)? {
                self.emit(&batch, first)?;
                continue;
            }
            let mut end = start;
            for _ in 0..self.decode.batch_rows {
                end = self.text.framing.record_end(data, end.min(data.len()));
            }
            self.patience.turn();
            match self.decode.json_batch(&mut decoder, &data[start..end]) {
                Ok(Some(batch)) => self.emit(&batch, start)?,
                Ok(None) => {}
                Err(_) => {
                    self.recover(start)?;
                    decoder = self.decode.json_decoder().map_err(Fault::internal)?;
                }
            }
            start = end;
        }
        self.decode.spare.decoders().push(decoder);
        Ok(())
    }

    /// Decodes the plain lines that begin at `at`, as many as a batch holds; `None` if there are none.
    fn plain_batch(&mut self, at: &mut usize) -> Result<Option<RecordBatch>, Fault> {
        let Some(plain) = &mut self.plain else { return Ok(None) };
        if !self.patience.is_over() {
            return Ok(None);
        }
        let data = self.text.data;
        while !plain.is_full() {
            let piece = data.len().min(*at + PIECE_BYTES);
            let used = plain.feed(&data[*at..piece]);
            *at += used;
            give_way();
            if used == 0 {
                break;
            }
        }
        if plain.is_worth_it() {
            self.patience.renew();
        } else {
            self.patience.give_up();
        }
        plain.flush().map_err(Fault::internal)
    }

    fn lines(&mut self) -> Result<(), Fault> {
        let data = self.text.data;
        let (mut start, mut number) = (0, self.text.lines);
        while start < data.len() {
            self.stop.check()?;
            let (mut at, mut lines) = (start, Vec::with_capacity(self.decode.batch_rows));
            while at < data.len() && lines.len() < self.decode.batch_rows {
                let end = self.text.framing.record_end(data, at);
                let line = data[at..end].strip_suffix(b"\n").unwrap_or(&data[at..end]);
                lines.push(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)));
                at = end;
            }
            let numbers = UInt64Array::from_iter_values(number + 1..=number + lines.len() as u64);
            number += lines.len() as u64;
            let batch = {
                let lines: ArrayRef = Arc::new(StringArray::from_iter_values(&lines));
                let numbers: ArrayRef = Arc::new(numbers);
                self.line_batch(&numbers, &lines)?
            };
            self.emit(&batch, start)?;
            start = at;
        }
        Ok(())
    }

    fn line_batch(&self, numbers: &ArrayRef, lines: &ArrayRef) -> Result<RecordBatch, Fault> {
        let schema = &self.decode.schema;
        let columns = schema.fields().iter().map(|field| {
            let column = if field.data_type().is_numeric() { numbers } else { lines };
            cast(column, field.data_type())
        });
        let columns = columns.collect::<Result<_, _>>().map_err(Fault::internal)?;
        let rows =
            datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &rows).map_err(Fault::internal)
    }

    fn emit(&mut self, batch: &RecordBatch, start: usize) -> Result<(), Fault> {
        give_way();
        (self.sink)(batch, &RowsAt::Following { text: self.text, start })?;
        self.counts.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Sorts the good rows of a batch that failed, which begins at `start`, from the bad ones.
    /// Returns where the next batch begins.
    fn recover(&mut self, start: usize) -> Result<usize, Fault> {
        let data = self.text.data;
        let rows = self.decode.batch_rows;
        let found: Vec<_> =
            records(self.text.framing, data, start, data.len()).take(rows).collect();
        let mut good = Good::default();
        self.halve(&found, &mut good)?;
        if !good.batches.is_empty() {
            let batch =
                concat_batches(&self.decode.schema, &good.batches).map_err(Fault::internal)?;
            (self.sink)(&batch, &RowsAt::Listed { text: self.text, starts: &good.starts })?;
            self.counts.rows += batch.num_rows() as u64;
        }
        Ok(found.last().map_or(data.len(), |record| record.end))
    }

    fn halve(&mut self, records: &[Range<usize>], good: &mut Good) -> Result<(), Fault> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        self.stop.check()?;
        let data = &self.text.data[first.start..last.end];
        match self.decode.rows(data) {
            Ok(batch) if batch.num_rows() == records.len() => {
                good.batches.push(batch);
                good.starts.extend(records.iter().map(|record| record.start));
            }
            _ if records.len() == 1 => {
                let (text, decode) = (self.text, self.decode);
                self.counts.bad.push(|| {
                    (text.line(first.start), reason::of(&decode.shape, &decode.columns, data))
                });
            }
            _ => {
                let (left, right) = records.split_at(records.len() / 2);
                self.halve(left, good)?;
                self.halve(right, good)?;
            }
        }
        Ok(())
    }
}

/// Rows that were decoded although others near them could not be.
#[derive(Default)]
struct Good {
    batches: Vec<RecordBatch>,
    starts: Vec<usize>,
}

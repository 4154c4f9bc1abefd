//! Records as most files have them, decoded at several times the speed of the general decoders.
//!
//! A line is plain if it holds what a general decoder would take as it stands: no quote, no return
//! and as many fields as the table in a delimited text; the members that the table knows, in its
//! order and without escapes in a JSON text; and in each column that is asked for a value of its
//! type. Every other line is left for the general decoder, which alone judges what is wrong.
//!
//! **Invariant**: of a line that is taken the values are those that the general decoder gives.

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use crate::options::Format;
use crate::prepared::Style;

mod blocks;
mod column;
mod delimited;
mod json;
pub(crate) mod numbers;
#[cfg(test)]
mod tests;

use column::Column;

/// What lines there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Delimited { delimiter: u8, quote: u8 },
    Json,
}

impl Form {
    /// The form of a text, if there are plain lines of it.
    pub(crate) fn of(format: Format, style: Option<Style>) -> Option<Self> {
        match (format, style) {
            (Format::Jsonl, _) => Some(Self::Json),
            (_, Some(style)) => {
                Some(Self::Delimited { delimiter: style.delimiter, quote: style.quote })
            }
            _ => None,
        }
    }
}

/// So many plain lines in a row are worth a batch of their own.
const ROWS_MIN: usize = 1024;
/// The most batches that the general decoder has to itself after a line that was not plain.
const GENERAL_BATCHES_MAX: u32 = 64;

/// Whether plain lines are looked for: more rarely where they are few.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How many batches the general decoder has to itself yet.
    waits: u32,
    /// How many it gets the next time.
    waits_next: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { waits: 0, waits_next: 1 }
    }

    /// Whether the next batch may be one of plain lines.
    pub(crate) fn is_over(&self) -> bool {
        self.waits == 0
    }

    /// The general decoder is done with a batch.
    pub(crate) fn turn(&mut self) {
        self.waits = self.waits.saturating_sub(1);
    }

    /// Plain lines were worth their batch.
    pub(crate) fn renew(&mut self) {
        self.waits_next = 1;
    }

    /// The next line is not plain.
    pub(crate) fn give_up(&mut self) {
        self.waits = self.waits_next;
        self.waits_next = (self.waits_next * 2).min(GENERAL_BATCHES_MAX);
    }
}

/// Plain lines in, batches out.
pub(crate) struct Plain {
    lines: Lines,
    rows: Rows,
    rows_max: usize,
    schema: SchemaRef,
}

enum Lines {
    Delimited(delimited::Delimited),
    Json(json::Json),
}

/// The columns that are asked for, and how many values each has.
struct Rows {
    columns: Vec<Column>,
    /// For each column of the file its place among those.
    places: Vec<Option<usize>>,
    count: usize,
}

impl Rows {
    /// Ends the row if it is whole; what was put down of one that is not goes.
    fn end(&mut self, is_whole: bool) -> bool {
        if is_whole {
            self.count += 1;
        } else {
            self.columns.iter_mut().for_each(|column| column.truncate(self.count));
        }
        is_whole
    }

    /// Puts down that columns of the file have no value.
    fn skip(&mut self, columns: std::ops::Range<usize>) {
        for place in self.places[columns].iter().flatten() {
            self.columns[*place].push_null();
        }
    }

    fn place(&mut self, column: usize) -> Option<&mut Column> {
        self.places[column].map(|place| &mut self.columns[place])
    }
}

impl Plain {
    /// A decoder for columns of a file, in batches of up to `rows_max` records; `None` if one of
    /// them is of a type that has no plain values, or a name is none that stands in JSON as it is. Cells are read strictly but in columns of `lax`.
    pub(crate) fn new(
        form: Form,
        whole: &SchemaRef,
        projection: &[usize],
        lax: &[usize],
        rows_max: usize,
    ) -> Option<Self> {
        let mut places = vec![None; whole.fields().len()];
        let mut columns = Vec::with_capacity(projection.len());
        for (place, at) in projection.iter().enumerate() {
            // Twice the same column would have to be put down twice.
            if places[*at].replace(place).is_some() {
                return None;
            }
            let is_strict = matches!(form, Form::Delimited { .. }) && !lax.contains(at);
            columns.push(Column::new(whole.field(*at).data_type(), is_strict)?);
        }
        let lines = match form {
            Form::Delimited { delimiter, quote } => {
                let width = whole.fields().len();
                Lines::Delimited(delimited::Delimited::new(delimiter, quote, width))
            }
            Form::Json => Lines::Json(json::Json::new(whole)?),
        };
        let schema = std::sync::Arc::new(whole.project(projection).ok()?);
        Some(Self { lines, rows: Rows { columns, places, count: 0 }, rows_max, schema })
    }

    /// Takes plain lines, and tells how many bytes they are: it stops at the first that is not
    /// plain or not whole, and when the batch is full.
    pub(crate) fn feed(&mut self, text: &[u8]) -> usize {
        let unplain = match &self.lines {
            Lines::Delimited(lines) => memchr::memchr3(lines.quote(), b'\r', 0, text),
            Lines::Json(_) => memchr::memchr(0, text),
        };
        let text = &text[..unplain.unwrap_or(text.len())];
        let Some(end) = memchr::memrchr(b'\n', text) else { return 0 };
        let text = &text[..=end];
        let text = std::str::from_utf8(text)
            .or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()]))
            .unwrap_or_default();
        match &mut self.lines {
            Lines::Delimited(lines) => lines.feed(text, &mut self.rows, self.rows_max),
            Lines::Json(lines) => lines.feed(text, &mut self.rows, self.rows_max),
        }
    }

    /// How many records wait.
    pub(crate) fn count(&self) -> usize {
        self.rows.count
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.count >= self.rows_max
    }

    /// Whether the records that wait are enough for a batch of their own.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.rows.count >= ROWS_MIN.min(self.rows_max)
    }

    /// The records that wait, if there are any.
    ///
    /// # Errors
    /// Where the values of a column are no array of its type, which would be a defect.
    pub(crate) fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let count = std::mem::take(&mut self.rows.count);
        if count == 0 {
            return Ok(None);
        }
        let columns =
            self.rows.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(std::sync::Arc::clone(&self.schema), columns, &options)
            .map(Some)
    }
}

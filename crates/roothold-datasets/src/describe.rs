//! What a source is, for whoever wants to ask it something.

use std::sync::Arc;

use roothold_core::{Budget, Fault};
use serde::Serialize;
use serde_json::Value;

use crate::engine::Engine;
use crate::meter::Meter;
use crate::options::Format;
use crate::parquet;
use crate::prepared::{Prepared, prepare};
use crate::query::Page;
use crate::records::{Piece, Records};
use crate::source::Source;
use crate::table::{Column, Table, columns_of};

/// The longest text of a cell in a sample, in characters.
const CELL_CHARS_MAX: usize = 200;
/// The most rows of a sample.
const SAMPLE_ROWS_MAX: usize = 100;
/// The most bytes of a sample as JSON, before its cells are cut.
const SAMPLE_BYTES_MAX: usize = 1024 * 1024;
/// How many files are listed; the others are counted.
const FILES_LISTED_MAX: usize = 20;

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDescription {
    /// The public path.
    pub path: String,
    /// Its size, as it is stored.
    pub bytes: u64,
    /// What it is compressed with.
    pub compression: &'static str,
    /// Which characters its bytes stand for; `None` for Parquet.
    pub encoding: Option<&'static str>,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// What its files hold.
    pub format: Format,
    /// The first files.
    pub files: Vec<FileDescription>,
    /// How many more there are.
    pub files_omitted: usize,
    /// The size of all files together, as they are stored.
    pub bytes: u64,
    /// What stands for the content: another one whenever a file is another.
    pub revision: String,
    /// The columns; hidden ones are not among them.
    pub columns: Vec<Column>,
    /// How many rows there are, as far as that is known without reading all.
    pub rows: Option<u64>,
    /// Whether `rows` is exact, as it is for Parquet.
    pub rows_exact: bool,
    /// The first rows; longer texts are cut and end with `…`.
    pub sample: Table,
    /// What separates fields, for CSV and TSV.
    pub delimiter: Option<char>,
    /// Whether the first record names the columns, for CSV and TSV.
    pub header: Option<bool>,
    /// What was left out, in words.
    pub notes: Vec<String>,
}

impl Engine {
    /// Looks at the first records of a source, and shows up to `sample_rows` of them.
    ///
    /// # Errors
    /// `Unsupported`, `Invalid` or `Limit` for what is no table that can be read, each with the
    /// file and what to do.
    ///
    /// # Cancellation
    /// It ends within one read when the budget ends, or when the future is dropped.
    pub async fn describe(
        &self,
        source: &Source,
        sample_rows: usize,
        budget: &Budget,
    ) -> Result<Description, Fault> {
        let meter = Arc::new(Meter::new(budget));
        let (source, limits, inner) = (source.clone(), *self.limits(), Arc::clone(&meter));
        let rows = sample_rows.min(SAMPLE_ROWS_MAX);
        self.blocking(budget, &meter, move || {
            let prepared = Arc::new(prepare(&source, &limits, &inner)?);
            describe(&prepared, rows, &inner)
        })
        .await
    }
}

fn describe(
    prepared: &Arc<Prepared>,
    sample_rows: usize,
    meter: &Arc<Meter>,
) -> Result<Description, Fault> {
    let source = &prepared.source;
    let is_parquet = prepared.format == Format::Parquet;
    let (rows, sample) = if is_parquet {
        let rows = parquet::rows(prepared, meter)?;
        (Some(rows), parquet_sample(prepared, sample_rows, meter)?)
    } else {
        (prepared.rows_estimated(), text_sample(prepared, sample_rows, meter)?)
    };
    let files = prepared.files.iter().take(FILES_LISTED_MAX).map(|file| FileDescription {
        path: file.file.path(),
        bytes: file.file.size(),
        compression: file.coding.compression.name(),
        encoding: (!is_parquet).then(|| file.coding.encoding.name()),
    });
    Ok(Description {
        format: prepared.format,
        files: files.collect(),
        files_omitted: prepared.files.len().saturating_sub(FILES_LISTED_MAX),
        bytes: source.bytes(),
        revision: source.revision(),
        columns: columns_of(&prepared.schema),
        rows,
        rows_exact: is_parquet,
        sample,
        delimiter: prepared.style.map(|style| char::from(style.delimiter)),
        header: prepared.style.map(|style| style.header),
        notes: prepared.notes.clone(),
    })
}

fn text_sample(prepared: &Arc<Prepared>, rows: usize, meter: &Arc<Meter>) -> Result<Table, Fault> {
    let piece = Piece { file: 0, from: 0, until: None };
    let mut records = Records::open_few(prepared, piece, &prepared.visible, rows, meter)?;
    let mut page = Page::new(&prepared.schema, rows, SAMPLE_BYTES_MAX);
    if rows > 0
        && let Some(batch) = records.next()?
    {
        page.take(&batch)?;
    }
    Ok(cut(page.table))
}

fn parquet_sample(
    prepared: &Arc<Prepared>,
    rows: usize,
    meter: &Arc<Meter>,
) -> Result<Table, Fault> {
    let mut page = Page::new(&prepared.schema, rows, SAMPLE_BYTES_MAX);
    if rows > 0
        && let Some(batch) = parquet::first_rows(prepared, rows, meter)?
    {
        page.take(&batch)?;
    }
    Ok(cut(page.table))
}

/// Cuts long texts.
fn cut(mut table: Table) -> Table {
    for value in table.rows.iter_mut().flatten() {
        cut_value(value);
    }
    table
}

fn cut_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(CELL_CHARS_MAX) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(items) => {
            items.truncate(CELL_CHARS_MAX);
            items.iter_mut().for_each(cut_value);
        }
        Value::Object(members) => members.values_mut().for_each(cut_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;

//! What processing needs of opened files, and no more: text from a place on, row groups, sizes.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use roothold_core::{Fault, FaultKind};

use super::records::Framing;
use crate::source::folded;

/// Files of one format and one schema. Synchronous: its callers are on blocking threads.
pub(super) trait Input: Send + Sync + 'static {
    /// The files in the order in which they are processed.
    fn files(&self) -> Vec<FileSize>;
    /// How the bytes are rows.
    fn shape(&self) -> &Shape;
    /// Changes whenever the files' content may have.
    fn revision(&self) -> String;
    /// The decoded text of a file from `offset` in that text on.
    fn text(&self, file: usize, offset: u64) -> Result<Box<dyn TextRead>, Fault>;
    /// A Parquet file's row groups; for other formats none.
    fn row_groups(&self, file: usize) -> Result<Vec<GroupSize>, Fault>;
    /// Whether what was read of a file still stands in it.
    fn unchanged(&self, _file: usize) -> Result<(), Fault> {
        Ok(())
    }
    /// What of the files is in no column, in words.
    fn notes(&self) -> &[String] {
        &[]
    }
    /// Ends every read that is under way.
    fn stop(&self) {}
    /// How many bytes of its files were read, compressed where they are.
    fn bytes_read(&self) -> u64 {
        0
    }
    /// One row group, in batches with the columns of `columns`, which count in the file's schema.
    fn row_group(&self, file: usize, group: usize, columns: &[usize]) -> Result<Batches, Fault>;
}

/// Batches of one row group.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Fault>> + Send>;

/// A file as its progress is measured.
#[derive(Debug, Clone)]
pub(super) struct FileSize {
    /// Its public path, for messages.
    pub(super) name: String,
    /// Its bytes as they are stored.
    pub(super) bytes: u64,
}

/// One row group of a Parquet file.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupSize {
    /// Its bytes as they are stored.
    pub(super) bytes: u64,
    /// Its rows.
    pub(super) rows: u64,
}

/// Decoded text, and how much of the file was read for it.
pub(super) trait TextRead: Read + Send {
    /// The offset of the first byte that it gives: behind a mark, if it began before one.
    fn start(&self) -> u64;
    /// Bytes of the file that were read, counted from its beginning; none where the text is stored
    /// as it is, so that its offsets tell.
    fn consumed(&self) -> Option<u64>;
}

/// How bytes are rows.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The format.
    pub(super) format: ShapeFormat,
    /// Every column that the files have.
    pub(super) schema: SchemaRef,
    /// The columns of `schema` whose types were given: cells of delimited text are read less strictly there.
    pub(super) lax: Vec<usize>,
    /// The columns of `schema` that callers may see.
    pub(super) visible: Vec<usize>,
    /// The names of columns that they may not, as they are compared: a record of JSON may have one
    /// that is not in the schema.
    pub(super) hidden: Vec<String>,
}

/// The format, with what of its options matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeFormat {
    Csv {
        delimiter: u8,
        quote: u8,
        escape: Option<u8>,
        /// Whether the first record of each file names the columns.
        header: bool,
        /// Whether a record may lack its last fields.
        short: bool,
    },
    Jsonl,
    /// Lines; the schema is one number and one text column.
    Text,
    Parquet,
}

impl Shape {
    /// How records are told apart.
    pub(super) fn framing(&self) -> Framing {
        match self.format {
            ShapeFormat::Csv { delimiter, quote, escape, .. } => {
                Framing::Csv { delimiter, quote, escape }
            }
            ShapeFormat::Jsonl => Framing::Values,
            ShapeFormat::Text | ShapeFormat::Parquet => Framing::Lines,
        }
    }

    /// Whether some columns of the files are kept from callers.
    pub(super) fn hides(&self) -> bool {
        !self.hidden.is_empty() || self.visible.len() < self.schema.fields().len()
    }

    /// Whether a name is that of a column which is kept from callers.
    pub(super) fn is_hidden(&self, name: &str) -> bool {
        !self.hidden.is_empty() && self.hidden.contains(&folded(name))
    }
}

/// Told once that nobody wants the work any more; asked once a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the work at its next check.
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work may go on.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Cancelled, "the processing was cancelled"));
        }
        Ok(())
    }
}

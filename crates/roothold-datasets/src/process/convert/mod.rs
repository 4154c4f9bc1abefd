//! The rows in another format.
//!
//! Each chunk is encoded by itself, at the same time as others; what is folded is only where its
//! bytes are. A checkpoint holds the length that the output had and, for Parquet, what its footer
//! must say of it; going on cuts the output back to that length. So one file comes out, whatever
//! broke off meanwhile, and whoever goes on needs the output and nothing else of who began.
//!
//! **Invariant**: a checkpoint speaks only of bytes that the output was told to make durable.

mod parquet;
mod rows;

use std::io;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use roothold_core::{Fault, FaultKind};
use serde_json::{Value, json};

use super::decode::{Counts, Decode};
use super::fold::{Fold, Work};
use super::input::{Input, Stop};
use super::operation::ConvertOptions;
use super::saved::{Saved, damaged};
use super::spans::Span;
use super::step::ProcessLimits;
use crate::export::ExportFormat;
use parquet::{Encoded, Footer};

/// What a conversion writes into: a file that only it writes, or what behaves like one.
///
/// Its calls block, and come from whoever calls [`step`](super::Process::step): they are short.
pub trait Output: Send {
    /// Cuts it to `length` bytes; it has at least so many.
    ///
    /// # Errors
    /// Also where it has fewer: what was durable is gone then.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Adds bytes at its end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything that was added is durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Encodes one chunk.
pub(super) struct ConvertWork {
    decode: Decode,
    options: ConvertOptions,
}

/// What was written of the chunks so far.
pub(super) struct Conversion {
    work: Arc<ConvertWork>,
    output: Box<dyn Output>,
    written: u64,
    /// For Parquet.
    footer: Option<Footer>,
    ended: bool,
}

impl Conversion {
    pub(super) fn new(
        input: &dyn Input,
        columns: Vec<usize>,
        options: &ConvertOptions,
        limits: &ProcessLimits,
        output: Box<dyn Output>,
    ) -> Result<Self, Fault> {
        if columns.len() > limits.columns_max {
            let most = format!(
                "more than {} columns are not converted at once; name some",
                limits.columns_max
            );
            return Err(Fault::new(FaultKind::Limit, most));
        }
        let decode = Decode::new(input.shape(), columns)?;
        let footer = match options.format {
            ExportFormat::Parquet => Some(Footer::new(decode.schema())?),
            ExportFormat::Csv | ExportFormat::Jsonl => None,
        };
        let work = Arc::new(ConvertWork { decode, options: options.clone() });
        Ok(Self { work, output, written: 0, footer, ended: false })
    }

    /// Begins the output, unless it was begun.
    fn begin(&mut self) -> Result<(), Fault> {
        if self.written > 0 {
            return Ok(());
        }
        self.output.truncate(0).map_err(unwritten)?;
        let schema = self.work.decode.schema().clone();
        let head = match self.work.options.format {
            ExportFormat::Parquet => parquet::MAGIC.to_vec(),
            ExportFormat::Csv => rows::csv_header(&schema, &self.work.options)?,
            ExportFormat::Jsonl => Vec::new(),
        };
        self.append(&head)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.output.append(bytes).map_err(unwritten)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// An output that fails, or is not what it was.
fn unwritten(error: io::Error) -> Fault {
    match error.downcast::<Fault>() {
        Ok(fault) => fault,
        Err(error) => Fault::new(
            FaultKind::Unavailable,
            "the output cannot be written; look at the space that is left, and start again",
        )
        .with_source(error),
    }
}

/// What comes out of one chunk.
pub(super) enum Part {
    /// Text that is appended as it is.
    Text(Vec<u8>),
    /// Row groups, with what a footer says of them.
    RowGroups(Encoded),
}

impl Work for ConvertWork {
    type Part = Part;

    fn work(&self, input: &dyn Input, span: &Span, stop: &Stop) -> Result<(Counts, Part), Fault> {
        let schema: &SchemaRef = self.decode.schema();
        if self.options.format == ExportFormat::Parquet {
            let mut encoder = parquet::Encoder::new(schema)?;
            let counts =
                self.decode.run(input, span, stop, &mut |batch, _| encoder.write(batch))?;
            return Ok((counts, Part::RowGroups(encoder.finish()?)));
        }
        let mut text = Vec::new();
        let counts = self
            .decode
            .run(input, span, stop, &mut |batch, _| rows::write(&mut text, batch, &self.options))?;
        Ok((counts, Part::Text(text)))
    }
}

impl Fold for Conversion {
    type Work = ConvertWork;

    fn work(&self) -> &Arc<ConvertWork> {
        &self.work
    }

    fn fold(&mut self, part: Part) -> Result<Option<Value>, Fault> {
        self.begin()?;
        match part {
            Part::Text(text) => self.append(&text)?,
            Part::RowGroups(encoded) => {
                let at = self.written;
                self.append(&encoded.bytes)?;
                if let Some(footer) = &mut self.footer {
                    footer.add(encoded, at)?;
                }
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }
        self.begin()?;
        if let Some(footer) = &self.footer {
            let bytes = footer.encode()?;
            self.append(&bytes)?;
        }
        self.output.sync().map_err(unwritten)?;
        self.ended = true;
        Ok(())
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        self.output.sync().map_err(unwritten)?;
        let tables = match &self.footer {
            Some(footer) => vec![footer.save()?],
            None => Vec::new(),
        };
        Ok(Saved { header: json!(self.written), tables, _held: None })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        self.written = saved.header.as_u64().ok_or_else(damaged)?;
        self.output.truncate(self.written).map_err(unwritten)?;
        if let Some(footer) = &mut self.footer {
            footer.load(saved.tables.first().ok_or_else(damaged)?)?;
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Value, Fault> {
        let options = &self.work.options;
        let mut report = json!({ "format": options.format, "bytes_written": self.written });
        // What stands in the file is not what was read, so it is said.
        if options.format == ExportFormat::Csv && options.guard_formulas {
            report["guard_formulas"] = true.into();
        }
        Ok(report)
    }
}

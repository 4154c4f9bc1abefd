//! A query whose rows go to a file.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::Resource;
use roothold_core::files::{OutputFile, OutputOptions, Written};
use roothold_core::{Fault, FaultKind, Permit, uri};
use roothold_datasets::{ExportFormat, Exported, Format, MakeWriter, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;

/// Encoders write in pieces of a few bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// What the rows are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatWord {
    Parquet,
    Csv,
    Jsonl,
}

impl FormatWord {
    /// As it was said, or by the ending of the name.
    ///
    /// # Errors
    /// `Invalid`, where neither tells.
    pub(super) fn of(said: Option<Self>, path: &str) -> Result<Self, Fault> {
        let by_name = || match Format::by_name(path)? {
            Format::Parquet => Some(Self::Parquet),
            Format::Csv => Some(Self::Csv),
            Format::Jsonl => Some(Self::Jsonl),
            Format::Tsv | Format::Text => None,
        };
        said.or_else(by_name).ok_or_else(|| {
            Fault::invalid("the ending of output does not tell; give format: parquet, csv or jsonl")
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Csv => "text/csv",
            Self::Jsonl => "application/x-ndjson",
        }
    }

    fn export(self) -> ExportFormat {
        match self {
            Self::Parquet => ExportFormat::Parquet,
            Self::Csv => ExportFormat::Csv,
            Self::Jsonl => ExportFormat::Jsonl,
        }
    }
}

/// A file that was written.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Output {
    pub(super) path: String,
    pub(super) format: &'static str,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) hash: String,
}

impl Output {
    /// The link by which clients find it.
    pub(super) fn link(&self, format: FormatWord) -> Resource {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        // A path that is shown as a URI is one already.
        let uri = match self.path.strip_prefix('/') {
            Some(path) => uri(path.as_bytes()),
            None => self.path.clone(),
        };
        Resource::new(uri, name).with_mime_type(format.media_type()).with_size(self.bytes)
    }
}

/// Runs a query and writes its rows. Nothing stands at the path unless all of them do.
///
/// # Errors
/// As the engine's; `Conflict` where something is at the path; as the gate's and the disk's.
///
/// # Cancellation
/// It ends within one read; the file is gone then.
pub(super) async fn export(
    call: &Call,
    query: &Query,
    permit: Permit,
    format: FormatWord,
    guards_formulas: bool,
) -> Result<(Output, Exported), Fault> {
    let options = OutputOptions { overwrite: false, bytes_max: call.datasets().output_bytes_max() };
    let file = call.blocking(move |budget| OutputFile::begin(&permit, options, budget)).await;
    let shared = Shared::new(file.map_err(|fault| in_words(&fault))?);
    let make = shared.writers();
    let engine = call.datasets().engine().await?;
    let exported =
        engine.export(query, format.export(), guards_formulas, make, call.budget()).await?;
    let written = call.blocking(move |budget| shared.take()?.publish(budget)).await?;
    let Written { path, hash, bytes, .. } = written;
    let output = Output { path, format: format.name(), rows: exported.rows, bytes, hash };
    Ok((output, exported))
}

/// The tool never replaces a file, so it cannot be told to.
fn in_words(fault: &Fault) -> Fault {
    if fault.kind() != FaultKind::Conflict {
        return fault.again();
    }
    Fault::new(
        FaultKind::Conflict,
        "something is at output already, and a query replaces no file; write to another path, or delete it first",
    )
}

/// The file, which the encoder and this call write one after the other.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<OutputFile>>>);

impl Shared {
    fn new(file: OutputFile) -> Self {
        Self(Arc::new(Mutex::new(Some(file))))
    }

    fn take(&self) -> Result<OutputFile, Fault> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        file.ok_or_else(|| Fault::internal("an output that was taken"))
    }

    fn with<T>(&self, work: impl FnOnce(&mut OutputFile) -> Result<T, Fault>) -> io::Result<T> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        work(file).map_err(io::Error::other)
    }

    /// Writers that each begin the file anew.
    fn writers(&self) -> MakeWriter {
        let shared = self.clone();
        Box::new(move || {
            shared.with(|file| file.truncate(0))?;
            let writer = BufWriter::with_capacity(BUFFER_BYTES, shared.clone());
            Ok(Box::new(writer) as Box<dyn Write + Send>)
        })
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|file| file.append(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_was_said_or_what_the_name_says() {
        let of = |said, path: &str| FormatWord::of(said, path).map_err(|fault| fault.to_string());
        assert_eq!(of(None, "/a/b.parquet"), Ok(FormatWord::Parquet));
        assert_eq!(of(None, "/a/b.CSV"), Ok(FormatWord::Csv));
        assert_eq!(of(None, "/a/b.jsonl"), Ok(FormatWord::Jsonl));
        assert_eq!(of(Some(FormatWord::Csv), "/a/b.parquet"), Ok(FormatWord::Csv));
        for path in ["/a/b", "/a/b.tsv", "/a/b.txt"] {
            assert!(of(None, path).unwrap_err().contains("give format"), "{path}");
        }
    }
}

//! A source that was looked at: what its files are, and the columns that they have.

use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::file::metadata::ParquetMetaData;
use roothold_core::{Fault, FaultKind};

use crate::limits::Limits;
use crate::meter::Meter;
use crate::options::{Format, TextEncoding};
use crate::sniff::{self, Raw};
use crate::source::{Source, folded};
use crate::stored::Stored;
use crate::text::{Bytes, Coding, fault_of};

mod columns;
mod delimited;
mod lines;
mod sample;

use delimited::Delimited;
pub(crate) use delimited::Style;
use sample::Sample;

/// From so many files of a source its schema is inferred; the others are held to it.
const INFERRED_FILES_MAX: usize = 8;

/// One file of a source.
#[derive(Debug, Clone)]
pub(crate) struct PreparedFile {
    pub(crate) file: Arc<Stored>,
    /// How its bytes become text; for Parquet nothing has to be done.
    pub(crate) coding: Coding,
    /// Where the columns of a Parquet object are, whose pages are looked at when they come.
    pub(crate) columns: Arc<[Range<u64>]>,
    /// What the footer of a Parquet file says, if there was room for it.
    pub(crate) footer: Option<Arc<ParquetMetaData>>,
}

impl PreparedFile {
    pub(crate) fn new(file: &Arc<Stored>, coding: Coding) -> Self {
        Self { file: Arc::clone(file), coding, columns: Arc::default(), footer: None }
    }
}

/// What a source is.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) format: Format,
    pub(crate) files: Vec<PreparedFile>,
    /// All columns, hidden ones too, as a decoder must know them. Never shown.
    pub(crate) file_schema: SchemaRef,
    /// Which of them are visible.
    pub(crate) visible: Vec<usize>,
    /// Those: the table as whoever asks sees it.
    pub(crate) schema: SchemaRef,
    /// The columns of `file_schema` whose types were given: of a delimited text their cells are read less
    /// strictly.
    pub(crate) lax: Vec<usize>,
    /// How fields are separated, for CSV and TSV.
    pub(crate) style: Option<Style>,
    /// What was left out, in words.
    pub(crate) notes: Vec<String>,
    /// How long records of the sample are on the average, in bytes of text.
    pub(crate) record_bytes: Option<f64>,
}

/// Looks at the files of a source.
///
/// # Errors
/// `Unsupported` for what is no table, `Invalid` for what is damaged or must be said, `Limit`;
/// each names the file.
pub(crate) fn prepare(
    source: &Source,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> Result<Prepared, Fault> {
    if source.files().len() > limits.files_max {
        return Err(Fault::new(
            FaultKind::Limit,
            format!("the source has more than {} files; narrow the glob", limits.files_max),
        ));
    }
    let first = &source.files()[0];
    if sniff::look(first, meter)? == Raw::Parquet {
        return crate::parquet::prepare(source, limits, meter);
    }
    let sample = sample_of(first, source, limits, meter)?;
    let format = sniff::format_of(&sample.text, source.options(), &sample.path)?;
    let delimited = matches!(format, Format::Csv | Format::Tsv)
        .then(|| Delimited::of(&sample, format, source, limits))
        .transpose()?;
    let mut files = vec![PreparedFile::new(first, sample.coding)];
    let mut samples = vec![sample];
    for file in &source.files()[1..] {
        let sample = sample_of(file, source, limits, meter)?;
        refuse_other_format(&sample, &samples[0], format, source)?;
        if let Some(delimited) = &delimited {
            delimited.records(&sample, limits)?;
        }
        files.push(PreparedFile::new(file, sample.coding));
        if samples.len() < INFERRED_FILES_MAX {
            samples.push(sample);
        }
    }
    let found = match (format, delimited) {
        (_, Some(delimited)) => delimited.columns(&samples, source.options(), limits)?,
        (Format::Text, None) if source.hides_any() => return Err(unhidden(&samples[0].path)),
        (Format::Text, None) => lines::columns(&samples),
        _ => lines::objects(&samples, source, limits)?,
    };
    let mut prepared = Prepared {
        source: source.clone(),
        limits: *limits,
        format,
        files,
        file_schema: Arc::new(Schema::new(found.fields)),
        visible: Vec::new(),
        schema: Arc::new(Schema::empty()),
        lax: found.lax,
        style: found.style,
        notes: found.notes,
        record_bytes: found.record_bytes,
    };
    prepared.hide(&found.original_names, format == Format::Jsonl)?;
    Ok(prepared)
}

fn refuse_other_format(
    sample: &Sample,
    first: &Sample,
    format: Format,
    source: &Source,
) -> Result<(), Fault> {
    let other = sniff::format_of(&sample.text, source.options(), &sample.path)?;
    if other == format {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "{} is {} and {} is {}; one source has one format",
        first.path,
        format.name(),
        sample.path,
        other.name()
    )))
}

impl Prepared {
    /// The columns in the files that a query asks for by their places among the visible ones; or
    /// all visible ones.
    pub(crate) fn columns(&self, asked: Option<&Vec<usize>>) -> Vec<usize> {
        match asked {
            Some(asked) => asked.iter().map(|at| self.visible[*at]).collect(),
            None => self.visible.clone(),
        }
    }

    /// Leaves out what is hidden. `names` are those in the file, before they were made unique.
    pub(crate) fn hide(&mut self, names: &[String], may_lack: bool) -> Result<(), Fault> {
        let hidden = self.source.hidden();
        let is_there = |name: &String| names.iter().any(|other| folded(other) == *name);
        if !may_lack && !hidden.iter().all(is_there) {
            return Err(unhidden(&self.files[0].file.path()));
        }
        self.visible = (0..self.file_schema.fields().len())
            .filter(|at| !hidden.contains(&folded(&names[*at])))
            .collect();
        if self.visible.is_empty() {
            return Err(Fault::invalid("the source has no column that is not hidden"));
        }
        let schema = self.file_schema.project(&self.visible).map_err(Fault::internal)?;
        self.schema = Arc::new(schema);
        Ok(())
    }

    /// Keeps no footer of a Parquet file.
    pub(crate) fn forget_footers(&mut self) {
        for file in &mut self.files {
            file.footer = None;
        }
    }

    /// Whether reading of a file can begin anywhere in it.
    pub(crate) fn is_seekable(&self, file: usize) -> bool {
        self.files[file].coding.is_seekable()
    }

    /// The text of a file from an offset on; see [`Bytes::open`].
    pub(crate) fn open(&self, file: usize, from: u64, meter: &Arc<Meter>) -> Result<Bytes, Fault> {
        let PreparedFile { file, coding, .. } = &self.files[file];
        Bytes::open(file, *coding, from, &self.limits, meter)
    }

    /// How many records the files hold, judged by the sample; `None` where they are compressed or
    /// there is no record in it.
    pub(crate) fn rows_estimated(&self) -> Option<u64> {
        let is_plain = (0..self.files.len()).all(|file| self.is_seekable(file));
        let record = self.record_bytes.filter(|record| is_plain && *record > 0.0)?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let rows = (self.source.bytes() as f64 / record).round() as u64;
        Some(rows)
    }
}

/// The columns that must be hidden are not where they were: nothing is shown rather than all.
fn unhidden(path: &str) -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        format!(
            "{path} does not have the columns that must be hidden, so none is shown; tell the operator"
        ),
    )
}

fn sample_of(
    file: &Arc<Stored>,
    source: &Source,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> Result<Sample, Fault> {
    /// Enough for marks and NULs to show.
    const HEAD_BYTES: u64 = 8000;
    let path = file.path();
    let compression = match sniff::look(file, meter)? {
        Raw::Compressed(compression) => compression,
        Raw::Parquet => {
            return Err(Fault::invalid(format!(
                "{path} is Parquet and others of the source are not; one source has one format"
            )));
        }
    };
    // Undecoded, as far as characters go: for what the text begins with.
    let raw = sniff::coding(compression, TextEncoding::Utf8);
    let mut head = Vec::new();
    let opened = Bytes::open_with_mark(file, raw, limits, meter)?;
    opened.take(HEAD_BYTES).read_to_end(&mut head).map_err(|e| fault_of(&e, file, raw))?;
    let encoding = sniff::encoding_of(&head, compression, source.options(), &path)?;
    let coding = sniff::coding(compression, encoding);
    Sample::read(file, coding, limits, meter)
}

/// What was found out about columns.
pub(crate) struct Found {
    pub(crate) fields: Vec<Field>,
    pub(crate) original_names: Vec<String>,
    /// Those of the fields whose types were given.
    pub(crate) lax: Vec<usize>,
    pub(crate) style: Option<Style>,
    pub(crate) notes: Vec<String>,
    /// How long the records of the first sample are on the average.
    pub(crate) record_bytes: Option<f64>,
}

/// How long records are on the average.
fn average(bytes: u64, records: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let average = bytes as f64 / records as f64;
    (records > 0).then_some(average)
}

/// A column of text, for what is not known better.
fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

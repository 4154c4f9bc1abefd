//! The columns of CSV and TSV.

use csv::ByteRecord;
use datafusion::arrow::datatypes::Field;
use roothold_core::Fault;

use super::columns::{Names, check_types};
use super::lines::too_many_columns;
use super::sample::Sample;
use super::{Found, average, unhidden};
use crate::infer::{self, Kind};
use crate::limits::Limits;
use crate::options::{ColumnType, Format, SourceOptions};
use crate::source::Source;

/// What may separate fields, most usual first.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// By so many records the delimiter is judged.
const JUDGED_RECORDS: usize = 20;

/// How fields are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) header: bool,
    pub(crate) short_records: bool,
}

/// How the fields of a source are separated and what its columns are called, by its first file.
pub(super) struct Delimited {
    style: Style,
    names: Vec<String>,
    path: String,
}

impl Delimited {
    /// Judges the first file.
    ///
    /// # Errors
    /// `Invalid`, `Limit`; `Unavailable` where columns are hidden and nothing names them.
    pub(super) fn of(
        sample: &Sample,
        format: Format,
        source: &Source,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let options = source.options();
        let quote = ascii(options.quote).unwrap_or(b'"');
        let delimiter = ascii(options.delimiter).unwrap_or_else(|| match format {
            Format::Tsv => b'\t',
            _ => judge(sample, quote),
        });
        let (records, _) = records(sample, delimiter, quote, limits)?;
        let header = options.header.unwrap_or_else(|| looks_like_header(&records));
        if !header && source.hides_any() {
            return Err(unhidden(&sample.path));
        }
        let style = Style { delimiter, quote, header, short_records: options.short_records };
        let names = names_of(&records, header, &sample.path)?;
        Ok(Self { style, names, path: sample.path.clone() })
    }

    /// The records of a file, without its header, and how many bytes they are with it.
    ///
    /// # Errors
    /// `Invalid` where the header is not that of the first file: its columns would be others, and
    /// one that is hidden would show.
    pub(super) fn records(
        &self,
        sample: &Sample,
        limits: &Limits,
    ) -> Result<(Vec<ByteRecord>, u64), Fault> {
        let Style { delimiter, quote, header, .. } = self.style;
        let (mut records, bytes) = records(sample, delimiter, quote, limits)?;
        if header && names_of(&records, true, &sample.path)? != self.names {
            return Err(Fault::invalid(format!(
                "{} has another header than {}; one source has one header",
                sample.path, self.path
            )));
        }
        records.drain(..usize::from(header));
        Ok((records, bytes))
    }

    /// The columns, judged by the samples.
    ///
    /// # Errors
    /// As [`Self::records`]; `Invalid` where types are said of what is no column.
    pub(super) fn columns(
        self,
        samples: &[Sample],
        options: &SourceOptions,
        limits: &Limits,
    ) -> Result<Found, Fault> {
        let mut kinds = vec![Kind::Empty; self.names.len()];
        let mut record_bytes = None;
        for sample in samples {
            let (records, bytes) = self.records(sample, limits)?;
            let header = usize::from(self.style.header);
            record_bytes = record_bytes.or_else(|| average(bytes, records.len() + header));
            add_kinds(&mut kinds, &records, self.style.short_records);
        }
        let fields = fields(&self.names, &kinds, options)?;
        let is_said = |at: &usize| {
            let types = &options.types;
            types.contains_key("*") || types.contains_key(fields[*at].name())
        };
        let lax = (0..fields.len()).filter(is_said).collect();
        let (original_names, style, notes) = (self.names, Some(self.style), Vec::new());
        Ok(Found { fields, original_names, lax, style, notes, record_bytes })
    }
}

fn ascii(character: Option<char>) -> Option<u8> {
    character.and_then(|character| u8::try_from(character).ok())
}

/// The whole records of a sample, the header among them, and how many bytes they are.
fn records(
    sample: &Sample,
    delimiter: u8,
    quote: u8,
    limits: &Limits,
) -> Result<(Vec<ByteRecord>, u64), Fault> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(quote)
        .from_reader(&sample.text[..]);
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut record = ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut record).map_err(Fault::internal)?;
        // What may be cut off is not judged.
        let is_last = reader.position().byte() >= sample.text.len() as u64;
        if !more || (is_last && !sample.is_whole && !records.is_empty()) {
            break;
        }
        if record.len() > limits.columns_max {
            return Err(too_many_columns(&sample.path, limits));
        }
        check_utf8(&record, sample)?;
        records.push(record.clone());
        bytes = reader.position().byte();
        if records.len() > limits.sample_rows_max {
            break;
        }
    }
    if records.is_empty() {
        return Err(Fault::invalid(format!("{} holds empty lines only", sample.path)));
    }
    Ok((records, bytes))
}

fn check_utf8(record: &ByteRecord, sample: &Sample) -> Result<(), Fault> {
    if std::str::from_utf8(record.as_slice()).is_ok() {
        return Ok(());
    }
    let line = record.position().map_or(1, csv::Position::line);
    Err(Fault::invalid(format!(
        "{} line {line} is not valid UTF-8; give the option encoding, such as \"windows-1252\"",
        sample.path
    )))
}

/// The delimiter that gives the same number of fields, and the most, in the first records.
fn judge(sample: &Sample, quote: u8) -> u8 {
    let fields = |delimiter: u8| {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .quote(quote)
            .from_reader(&sample.text[..]);
        let counts: Vec<usize> = reader
            .byte_records()
            .take(JUDGED_RECORDS)
            .map_while(Result::ok)
            .map(|record| record.len())
            .collect();
        let first = counts.first().copied().unwrap_or(0);
        let agreeing = counts.iter().filter(|count| **count == first).count();
        // Fields that are everywhere count, one or two records that differ do not.
        if first > 1 && agreeing * 10 >= counts.len() * 8 { first } else { 0 }
    };
    let best = DELIMITERS.into_iter().rev().max_by_key(|delimiter| fields(*delimiter));
    best.filter(|best| fields(*best) > 0).unwrap_or(b',')
}

/// Names are text; one may be empty, not all.
fn looks_like_header(records: &[ByteRecord]) -> bool {
    let is_name = |field: &[u8]| {
        let kind = infer::cell(std::str::from_utf8(field).unwrap_or_default());
        matches!(kind, Kind::Empty | Kind::Plain(ColumnType::Text))
    };
    records[0].iter().all(is_name) && records[0].iter().any(|field| !field.is_empty())
}

fn names_of(records: &[ByteRecord], header: bool, path: &str) -> Result<Vec<String>, Fault> {
    if !header {
        return Ok((1..=records[0].len()).map(|number| format!("column_{number}")).collect());
    }
    let name = |field: &[u8]| {
        std::str::from_utf8(field).map(str::to_owned).map_err(|_| {
            Fault::invalid(format!("{path} line 1 is not valid UTF-8; give the option encoding"))
        })
    };
    records[0].iter().map(name).collect()
}

/// Takes in the cells of records that are rows. Others are no rows, whatever their cells are, and do
/// not make text of a column of numbers.
fn add_kinds(kinds: &mut [Kind], records: &[ByteRecord], short_records: bool) {
    let columns = kinds.len();
    let is_row =
        |record: &&ByteRecord| record.len() == columns || (short_records && record.len() < columns);
    for record in records.iter().filter(is_row) {
        for (kind, field) in kinds.iter_mut().zip(record) {
            let text = std::str::from_utf8(field).unwrap_or("x");
            *kind = std::mem::take(kind).merge(infer::cell(text));
        }
    }
}

fn fields(names: &[String], kinds: &[Kind], options: &SourceOptions) -> Result<Vec<Field>, Fault> {
    let mut unique = Names::default();
    let shown: Vec<String> =
        names.iter().enumerate().map(|(at, name)| unique.next(name, at)).collect();
    check_types(options, &shown)?;
    let everything = options.types.get("*");
    let field = |(name, kind): (&String, &Kind)| {
        let said = options.types.get(name).or(everything).copied();
        let kind = said.map(ColumnType::arrow).or_else(|| kind.arrow());
        Field::new(name, kind.unwrap_or(ColumnType::Text.arrow()), true)
    };
    Ok(shown.iter().zip(kinds).map(field).collect())
}

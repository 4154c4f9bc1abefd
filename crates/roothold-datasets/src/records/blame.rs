//! Which record is at fault, found by looking once more: line by line, column by column.
//!
//! The decoders' own messages hold what stands in the file, perhaps in a hidden column; ours never
//! do.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use roothold_core::Fault;

use super::decoder::Decoder;
use crate::infer::{self, Kind, json};
use crate::meter::Meter;
use crate::options::Format;
use crate::prepared::Prepared;
use crate::remedy::{self, Remedy};
use crate::text::fault_of;

/// A batch that cannot be decoded.
pub(super) struct Batch<'a> {
    pub(super) prepared: &'a Arc<Prepared>,
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) projection: &'a [usize],
    pub(super) meter: &'a Arc<Meter>,
}

/// The number of the line that begins at `offset`, counted from 1.
pub(super) fn line_of(
    prepared: &Arc<Prepared>,
    file: usize,
    offset: u64,
    meter: &Arc<Meter>,
) -> Result<u64, Fault> {
    let bytes = prepared.open(file, 0, meter)?;
    let at = bytes.start();
    let mut reader = BufReader::with_capacity(256 * 1024, bytes);
    let read = |error| fault_of(&error, &prepared.files[file].file, prepared.files[file].coding);
    let (mut at, mut line) = (at, 1);
    while at < offset {
        let block = reader.fill_buf().map_err(read)?;
        if block.is_empty() {
            break;
        }
        let left = usize::try_from(offset - at).unwrap_or(usize::MAX);
        let count = block.len().min(left);
        line += memchr::memchr_iter(b'\n', &block[..count]).count() as u64;
        reader.consume(count);
        at += count as u64;
    }
    Ok(line)
}

/// The fault for a batch: with the file, the line and the column if they can be found.
pub(super) fn blame(batch: &Batch<'_>, error: &ArrowError) -> Fault {
    match find(batch, error) {
        Ok(fault) | Err(fault) => fault,
    }
}

/// The first record that fails by itself.
fn find(batch: &Batch<'_>, error: &ArrowError) -> Result<Fault, Fault> {
    let prepared = batch.prepared;
    let path = prepared.files[batch.file].file.path();
    let first = line_of(prepared, batch.file, batch.start, batch.meter)?;
    let bytes = prepared.open(batch.file, batch.start, batch.meter)?;
    let mut reader = BufReader::with_capacity(256 * 1024, bytes);
    let mut decoder = Decoder::new(prepared, batch.projection, batch.start == 0, Some(1))?;
    let read = |error| {
        fault_of(&error, &prepared.files[batch.file].file, prepared.files[batch.file].coding)
    };
    let (mut line, mut record_line, mut record) = (first, first, Vec::new());
    loop {
        let block = reader.fill_buf().map_err(read)?;
        let is_end = block.is_empty();
        let end = memchr::memchr(b'\n', block).map_or(block.len(), |at| at + 1);
        let text = block[..end].to_vec();
        reader.consume(end);
        record.extend_from_slice(&text);
        let failed = try_text(&mut decoder, &text, is_end);
        let fails = failed.is_err() || memchr::memchr(0, &text).is_some();
        if fails || record.len() > prepared.limits.record_bytes_max {
            let failed = failed.err();
            let why = reason(batch, &record, failed.as_ref().unwrap_or(error));
            return Ok(Fault::invalid(format!("{path} line {record_line} {why}")));
        }
        if is_end {
            return Ok(Fault::invalid(format!(
                "{path}: the records from line {first} on cannot be read as its first ones"
            )));
        }
        line += u64::from(text.ends_with(b"\n"));
        if decoder_is_between(&decoder, &record) {
            record.clear();
            record_line = line;
        }
    }
}

/// Decodes one line, and what it completes.
fn try_text(decoder: &mut Decoder, text: &[u8], is_end: bool) -> Result<(), ArrowError> {
    let mut used = 0;
    while used < text.len() {
        used += decoder.feed(&text[used..])?;
        if decoder.is_full() {
            decoder.flush()?;
        }
    }
    if is_end {
        decoder.finish()?;
        decoder.flush()?;
    }
    Ok(())
}

/// Whether the text that was fed since ends with a record, as far as quotes tell.
fn decoder_is_between(decoder: &Decoder, record: &[u8]) -> bool {
    match decoder.quote() {
        Some(quote) => memchr::memchr_iter(quote, record).count().is_multiple_of(2),
        None => true,
    }
}

fn reason(batch: &Batch<'_>, record: &[u8], error: &ArrowError) -> String {
    let prepared = batch.prepared;
    if memchr::memchr(0, record).is_some() {
        return "holds a NUL byte; the file is damaged there".to_owned();
    }
    if std::str::from_utf8(record).is_err() {
        return "is not valid UTF-8; give the option encoding, such as \"windows-1252\"".to_owned();
    }
    if prepared.format == Format::Jsonl && json::object(record.trim_ascii()).is_err() {
        return "is not one JSON object; there must be one a line".to_owned();
    }
    if let Some((counts, is_short)) = field_counts(error) {
        let may_be_short = prepared.style.is_some_and(|style| style.short_records);
        let remedy = (is_short && !may_be_short).then_some(Remedy::ShortRecords);
        let advice = match &remedy {
            Some(_) => remedy::advice(remedy.as_ref()) + ", which makes missing ones null",
            None => "; no option reads a longer one, so mend the file".to_owned(),
        };
        return format!("has another number of fields than the first record ({counts}){advice}");
    }
    let Some(column) = column_at_fault(batch, record) else {
        return "cannot be read as the first records".to_owned();
    };
    let field = prepared.file_schema.field(column);
    let (name, kind) = (field.name(), crate::table::kind_of(field.data_type()));
    let found = found_in(prepared, column, record);
    let advice = remedy::advice(Remedy::wider(name, field.data_type(), found).as_ref());
    format!(
        "has something else than {kind} in the column `{name}`, which the first records do not{advice}"
    )
}

/// What the decoder says of the number of fields, which is made of numbers alone; and whether there
/// are too few.
fn field_counts(error: &ArrowError) -> Option<(String, bool)> {
    let ArrowError::CsvError(message) = error else { return None };
    let counts = message.strip_prefix("incorrect number of fields for line ")?;
    let (_, counts) = counts.split_once(", ")?;
    Some((counts.to_owned(), !counts.contains("more than")))
}

fn column_at_fault(batch: &Batch<'_>, record: &[u8]) -> Option<usize> {
    let fails = |column: &usize| {
        let decoder = Decoder::new(batch.prepared, &[*column], false, Some(1));
        decoder.is_ok_and(|mut decoder| try_text(&mut decoder, record, true).is_err())
    };
    batch.projection.iter().copied().find(fails)
}

/// What stands in a column of one record.
fn found_in(prepared: &Prepared, column: usize, record: &[u8]) -> Kind {
    let Some(style) = prepared.style else {
        let name = prepared.file_schema.field(column).name();
        let members = json::object(record.trim_ascii()).unwrap_or_default();
        let member = members.into_iter().find(|(member, _)| member == name);
        return member.map_or(Kind::Empty, |(_, kind)| kind);
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(style.delimiter)
        .quote(style.quote)
        .from_reader(record);
    let fields = reader.byte_records().next().and_then(Result::ok);
    let field = fields.as_ref().and_then(|fields| fields.get(column)).unwrap_or_default();
    infer::cell(std::str::from_utf8(field).unwrap_or_default())
}

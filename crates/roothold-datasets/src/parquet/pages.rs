//! The headers of all pages of a file, before a decoder makes room for what they promise.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use roothold_core::{Fault, FaultKind};

use super::thrift::{self, Malformed};
use crate::limits::Limits;
use crate::meter::Meter;
use crate::stored::Stored;

/// Enough for a header without statistics; more is read where it is not.
const HEADER_BYTES: usize = 512;
/// Statistics are in headers, and may hold long texts.
const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Looks at every page of a file. Those of an object are looked at when they come.
///
/// # Errors
/// `Limit` for a page that is too large once decompressed; `Invalid` for what is outside the file.
pub(super) fn check(
    file: &Arc<Stored>,
    metadata: &ParquetMetaData,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> Result<(), Fault> {
    for group in metadata.row_groups() {
        meter.check()?;
        if group.num_rows() < 0 {
            return Err(outside(file));
        }
        for column in group.columns() {
            let range = range_of(file, column)?;
            if file.object().is_some() {
                continue;
            }
            let has_dictionary = column.dictionary_page_offset().is_some();
            let values_max = (!has_dictionary).then(|| column.num_values());
            let read = |at: u64, buffer: &mut [u8]| {
                meter.check()?;
                file.read_at(at, buffer, meter)
            };
            walk(file, range, values_max, limits, read, |_| ())?;
        }
    }
    Ok(())
}

/// The headers of all pages of a column of a file on disk.
///
/// # Errors
/// As [`check`].
pub(super) fn headers_of(
    file: &Stored,
    column: &ColumnChunkMetaData,
    limits: &Limits,
    meter: &Meter,
) -> Result<Vec<thrift::PageHeader>, Fault> {
    let has_dictionary = column.dictionary_page_offset().is_some();
    let values_max = (!has_dictionary).then(|| column.num_values());
    let read = |at: u64, buffer: &mut [u8]| {
        meter.check()?;
        file.read_at(at, buffer, meter)
    };
    let mut headers = Vec::new();
    let note = |header: &thrift::PageHeader| headers.push(*header);
    walk(file, range_of(file, column)?, values_max, limits, read, note)?;
    Ok(headers)
}

/// Where a column of a row group is.
fn range_of(file: &Stored, column: &ColumnChunkMetaData) -> Result<Range<u64>, Fault> {
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let start = u64::try_from(first).map_err(|_| outside(file))?;
    let length = u64::try_from(column.compressed_size()).map_err(|_| outside(file))?;
    if column.data_page_offset() < 0 || column.num_values() < 0 || column.uncompressed_size() < 0 {
        return Err(outside(file));
    }
    let end = start.checked_add(length).filter(|end| *end <= file.size());
    Ok(start..end.ok_or_else(|| outside(file))?)
}

/// Where all columns of all row groups are, in the order of the file.
///
/// # Errors
/// `Invalid` for what is outside the file.
pub(crate) fn columns_of(
    file: &Stored,
    metadata: &ParquetMetaData,
) -> Result<Vec<Range<u64>>, Fault> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut ranges = columns.map(|column| range_of(file, column)).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// Looks at the pages in bytes of an object, which begin at `start`, before a decoder sees them:
/// at those of the columns that lie within, or, where only some pages of one were asked for, at
/// all that there is.
///
/// # Errors
/// As [`check`].
pub(crate) fn look(
    file: &Stored,
    columns: &[Range<u64>],
    start: u64,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), Fault> {
    let end = start + bytes.len() as u64;
    let read = |at: u64, buffer: &mut [u8]| {
        let from = usize::try_from(at - start).map_err(Fault::internal)?;
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    };
    // Columns do not overlap in a file that was written by a writer; in others each is looked at.
    let before = columns.partition_point(|column| column.start < end);
    for column in columns[..before].iter().filter(|column| column.end > start) {
        let (from, to) = (column.start.max(start), column.end.min(end));
        walk(file, from..to, None, limits, read, |_| ())?;
    }
    Ok(())
}

fn walk(
    file: &Stored,
    column: Range<u64>,
    values_max: Option<i64>,
    limits: &Limits,
    read: impl Fn(u64, &mut [u8]) -> Result<usize, Fault>,
    mut seen: impl FnMut(&thrift::PageHeader),
) -> Result<(), Fault> {
    let (mut at, mut values) = (column.start, 0_i64);
    while at < column.end {
        let left = usize::try_from(column.end - at).unwrap_or(usize::MAX);
        let some = |most: usize| {
            let mut bytes = vec![0; most.min(left)];
            let got = read(at, &mut bytes)?;
            bytes.truncate(got);
            Ok(Bytes::from(bytes))
        };
        let (header, _) = header_of(file, left, some)?;
        let size = check_header(file, &header, limits)?;
        seen(&header);
        values = values.saturating_add(header.values);
        at = at.saturating_add(header.header_bytes as u64).saturating_add(size);
        // Readers stop there, whatever the size of the column says.
        if values_max.is_some_and(|most| values >= most) {
            break;
        }
    }
    Ok(())
}

/// Looks at the page that a reader is about to read, and gives what was read for it.
///
/// # Errors
/// As [`check`].
pub(super) fn look_at_one(
    file: &Stored,
    limits: &Limits,
    some: impl Fn(usize) -> Result<Bytes, Fault>,
) -> Result<Bytes, Fault> {
    let (header, bytes) = header_of(file, usize::MAX, some)?;
    check_header(file, &header, limits)?;
    Ok(bytes)
}

/// How many bytes the page has, without its header.
fn check_header(file: &Stored, header: &thrift::PageHeader, limits: &Limits) -> Result<u64, Fault> {
    let size = u64::try_from(header.compressed_bytes).map_err(|_| outside(file))?;
    let grown = u64::try_from(header.uncompressed_bytes).map_err(|_| outside(file))?;
    if grown.max(size) > limits.page_bytes_max {
        return Err(Fault::new(
            FaultKind::Limit,
            format!(
                "{} has a page of {} bytes; the limit is {}; write it with smaller pages",
                file.path(),
                grown.max(size),
                limits.page_bytes_max
            ),
        ));
    }
    if header.values < 0 {
        return Err(outside(file));
    }
    Ok(size)
}

/// The header with which what `some` gives begins, and what it gave.
fn header_of(
    file: &Stored,
    left: usize,
    some: impl Fn(usize) -> Result<Bytes, Fault>,
) -> Result<(thrift::PageHeader, Bytes), Fault> {
    let mut wanted = HEADER_BYTES;
    loop {
        let bytes = some(wanted)?;
        match thrift::page_header(&bytes) {
            Ok(header) => return Ok((header, bytes)),
            Err(Malformed::CutOff) if wanted < HEADER_BYTES_MAX.min(left) => wanted *= 8,
            Err(_) => return Err(outside(file)),
        }
    }
}

fn outside(file: &Stored) -> Fault {
    Fault::invalid(format!(
        "{} is damaged: it speaks of columns or pages that are not there",
        file.path()
    ))
}

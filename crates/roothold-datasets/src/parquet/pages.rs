//! The headers of all pages of a file, before a decoder makes room for what they promise.

use std::sync::Arc;

use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use roothold_core::files::SourceFile;
use roothold_core::{Fault, FaultKind};

use super::thrift::{self, Malformed};
use crate::limits::Limits;
use crate::meter::Meter;

/// Enough for a header without statistics; more is read where it is not.
const HEADER_BYTES: usize = 512;
/// Statistics are in headers, and may hold long texts.
const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Looks at every page.
///
/// # Errors
/// `Limit` for a page that is too large once decompressed; `Invalid` for what is outside the file.
pub(super) fn check(
    file: &Arc<SourceFile>,
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
            check_column(file, column, limits, meter)?;
        }
    }
    Ok(())
}

fn check_column(
    file: &Arc<SourceFile>,
    column: &ColumnChunkMetaData,
    limits: &Limits,
    meter: &Meter,
) -> Result<(), Fault> {
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let start = u64::try_from(first).map_err(|_| outside(file))?;
    let length = u64::try_from(column.compressed_size()).map_err(|_| outside(file))?;
    if column.data_page_offset() < 0 || column.num_values() < 0 || column.uncompressed_size() < 0 {
        return Err(outside(file));
    }
    let end = start.checked_add(length).filter(|end| *end <= file.size());
    let end = end.ok_or_else(|| outside(file))?;
    let (mut at, mut values) = (start, 0_i64);
    while at < end {
        meter.check()?;
        let header = header_at(file, at, end)?;
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
        values = values.saturating_add(header.values);
        at = at.saturating_add(header.header_bytes as u64).saturating_add(size);
        // Readers stop there, whatever the size of the column says.
        if values >= column.num_values() && column.dictionary_page_offset().is_none() {
            break;
        }
    }
    Ok(())
}

fn header_at(file: &Arc<SourceFile>, at: u64, end: u64) -> Result<thrift::PageHeader, Fault> {
    let mut wanted = HEADER_BYTES;
    loop {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut bytes = vec![0; wanted.min(left)];
        let got = file.read_at(at, &mut bytes)?;
        match thrift::page_header(&bytes[..got]) {
            Ok(header) => return Ok(header),
            Err(Malformed::CutOff) if wanted < HEADER_BYTES_MAX.min(left) => wanted *= 8,
            Err(_) => return Err(outside(file)),
        }
    }
}

fn outside(file: &SourceFile) -> Fault {
    Fault::invalid(format!(
        "{} is damaged: it speaks of columns or pages that are not there",
        file.path()
    ))
}

//! Parquet files: looked at before a decoder sees them, and scanned by DataFusion.
//!
//! The decoders trust what a file says of sizes and counts; so the footer, and the header of every
//! page, are walked first by a reader that allocates nothing.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use roothold_core::{Fault, FaultKind};

use crate::limits::Limits;
use crate::meter::Meter;
use crate::options::{Compression, Format, TextEncoding};
use crate::prepared::{Prepared, PreparedFile};
use crate::sniff::{self, Raw};
use crate::source::{Source, changed};
use crate::stored::Stored;

mod chunks;
mod pages;
mod places;
mod row_groups;
mod scan;
mod tally;
mod thrift;
mod widths;

pub(crate) use chunks::Chunks;
pub(crate) use pages::{columns_of, look as look_at_pages};
pub(crate) use places::places_in;
pub(crate) use scan::ParquetTable;
pub(crate) use tally::tallied;
pub(crate) use widths::Asked as AskedWidths;

/// The length of a footer and the magic number behind it.
const TAIL_BYTES: usize = 8;
const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";

/// How much is kept of the footers of a source's files.
const FOOTERS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Looks at the files of a source whose first one is Parquet.
///
/// # Errors
/// As [`crate::prepared::prepare`].
pub(crate) fn prepare(
    source: &Source,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> Result<Prepared, Fault> {
    let options = source.options();
    let is_said = options.format.is_none_or(|format| format == Format::Parquet);
    let first = &source.files()[0];
    if !is_said || !options.types.is_empty() || options.encoding.is_some() {
        return Err(Fault::invalid(format!(
            "{} is Parquet, which says itself what it holds; leave the options away",
            first.path()
        )));
    }
    let (mut files, mut schemas) = (Vec::new(), Vec::new());
    let mut footer_bytes = 0;
    for file in source.files() {
        if sniff::look(file, meter)? != Raw::Parquet {
            return Err(Fault::invalid(format!(
                "{} is Parquet and {} is not; one source has one format",
                first.path(),
                file.path()
            )));
        }
        let metadata = metadata_of(file, limits, meter)?;
        let columns = file.object().map_or(Ok(Vec::new()), |_| columns_of(file, &metadata))?;
        let schema = schema_of(&metadata).map_err(|error| damaged(file, &error))?;
        if schema.fields().len() > limits.columns_max {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("{} has more than {} columns", file.path(), limits.columns_max),
            ));
        }
        schemas.push(schema);
        let coding = sniff::coding(Compression::None, TextEncoding::Utf8);
        footer_bytes += metadata.memory_size();
        files.push(PreparedFile {
            columns: columns.into(),
            footer: (footer_bytes <= FOOTERS_BYTES_MAX).then(|| Arc::new(metadata)),
            ..PreparedFile::new(file, coding)
        });
    }
    let merged = Schema::try_merge(schemas).map_err(|_| {
        Fault::invalid("the files of the source have columns of one name and different types")
    })?;
    let names: Vec<String> = merged.fields().iter().map(|field| field.name().clone()).collect();
    let mut prepared = Prepared {
        source: source.clone(),
        limits: *limits,
        format: Format::Parquet,
        files,
        file_schema: Arc::new(merged),
        visible: Vec::new(),
        schema: Arc::new(Schema::empty()),
        style: None,
        lax: Vec::new(),
        notes: Vec::new(),
        record_bytes: None,
    };
    prepared.hide(&names, false)?;
    Ok(prepared)
}

/// What the footer of a file says, once its form, its counts and the sizes of the pages that it
/// speaks of are found to be within the limits.
///
/// # Errors
/// `Invalid` for what is damaged, `Unsupported` for what is encrypted, `Limit`.
pub(crate) fn metadata_of(
    file: &Arc<Stored>,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> Result<ParquetMetaData, Fault> {
    meter.check()?;
    let footer = footer_of(file, limits, meter)?;
    let is_sane = thrift::check_footer(&footer, limits.row_groups_max);
    is_sane.map_err(|error| damaged(file, &error))?;
    let metadata =
        ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| damaged(file, &error))?;
    pages::check(file, &metadata, limits, meter)?;
    Ok(metadata)
}

fn footer_of(file: &Stored, limits: &Limits, meter: &Meter) -> Result<Vec<u8>, Fault> {
    let path = file.path();
    let size = file.size();
    let cut_off =
        || Fault::invalid(format!("{path} is no whole Parquet file: its end is not that of one"));
    let tail_at = size.checked_sub(TAIL_BYTES as u64).ok_or_else(cut_off)?;
    let mut tail = [0; TAIL_BYTES];
    if file.read_at(tail_at, &mut tail, meter)? < TAIL_BYTES {
        return Err(changed(&path));
    }
    let (length, magic) = tail.split_at(4);
    if magic == MAGIC_ENCRYPTED {
        let what = format!("{path} is encrypted, which is not read");
        return Err(Fault::new(FaultKind::Unsupported, what));
    }
    if magic != MAGIC {
        return Err(cut_off());
    }
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let at = tail_at.checked_sub(length as u64).filter(|at| *at >= MAGIC.len() as u64);
    let at = at.ok_or_else(cut_off)?;
    if length > limits.footer_bytes_max {
        return Err(Fault::new(
            FaultKind::Limit,
            format!(
                "{path} has a footer of {length} bytes; the limit is {}",
                limits.footer_bytes_max
            ),
        ));
    }
    let mut footer = vec![0; length];
    if file.read_at(at, &mut footer, meter)? < length {
        return Err(changed(&path));
    }
    meter.count(length);
    Ok(footer)
}

/// The columns as Arrow sees them.
fn schema_of(metadata: &ParquetMetaData) -> Result<Schema, ParquetError> {
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    Ok(schema.with_metadata(std::collections::HashMap::new()))
}

/// The fault for a Parquet file that does not hold what it says.
pub(crate) fn damaged(file: &Stored, error: &(dyn std::error::Error + 'static)) -> Fault {
    if let Some(fault) = crate::refusal::fault_in(error) {
        return fault;
    }
    Fault::invalid(format!(
        "{} is damaged, or is Parquet of a kind that is not read; write it again",
        file.path()
    ))
}

/// Bytes of a file, all of them; none beyond its size when it was opened.
///
/// # Errors
/// `Invalid` for a range beyond the end, `Conflict` where the file became shorter; the meter's own.
pub(crate) fn read_range(
    file: &Stored,
    start: u64,
    length: u64,
    meter: &Meter,
) -> Result<Bytes, Fault> {
    meter.check()?;
    let is_there = start.checked_add(length).is_some_and(|end| end <= file.size());
    let length = usize::try_from(length).ok().filter(|_| is_there).ok_or_else(|| {
        Fault::invalid(format!("{} is damaged: it speaks of bytes beyond its end", file.path()))
    })?;
    let mut buffer = vec![0; length];
    if file.read_at(start, &mut buffer, meter)? < length {
        return Err(changed(&file.path()));
    }
    meter.count(length);
    Ok(buffer.into())
}

/// How many rows the files have, as their footers say.
///
/// # Errors
/// As [`metadata_of`].
pub(crate) fn rows(prepared: &Prepared, meter: &Arc<Meter>) -> Result<u64, Fault> {
    let mut rows = 0_u64;
    for file in &prepared.files {
        let metadata = metadata_of(&file.file, &prepared.limits, meter)?;
        let more = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        rows = rows.saturating_add(more);
    }
    Ok(rows)
}

/// The first rows of the first file, visible columns only.
///
/// # Errors
/// `Invalid` for a damaged file; the meter's own.
pub(crate) fn first_rows(
    prepared: &Prepared,
    rows: usize,
    meter: &Arc<Meter>,
) -> Result<Option<RecordBatch>, Fault> {
    let file = &prepared.files[0].file;
    let metadata = metadata_of(file, &prepared.limits, meter)?;
    let chunks = Chunks::new(file, &metadata, &prepared.limits, meter)?;
    let failures = chunks.failures();
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::default())
        .map_err(|error| damaged(file, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata);
    // The columns of this file: others of the source may have more.
    let own = builder.schema();
    let wanted: Vec<usize> = prepared
        .schema
        .fields()
        .iter()
        .filter_map(|field| own.index_of(field.name()).ok())
        .collect();
    if wanted.len() < prepared.schema.fields().len() {
        return Ok(None);
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let footer = Arc::clone(builder.metadata());
    let widths =
        AskedWidths { file, footer: &footer, mask: &mask, limits: &prepared.limits, meter };
    let is_empty = footer.num_row_groups() == 0;
    let rows = if is_empty { rows } else { widths.rows_at_once(0, rows)? };
    let mut reader = builder
        .with_projection(mask)
        .with_batch_size(rows)
        .with_limit(rows)
        .build()
        .map_err(|error| failures.fault(file, &error))?;
    reader.next().transpose().map_err(|error| failures.fault(file, &error))
}

//! Row groups that are encoded apart and become one Parquet file.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader,
    ParquetMetaDataWriter, RowGroupMetaData,
};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use roothold_core::{Fault, FaultKind};

use super::super::saved::damaged;

/// With these bytes a Parquet file begins and ends.
pub(super) const MAGIC: &[u8] = b"PAR1";
/// The most row groups: their numbers have 16 bits.
const ROW_GROUPS_MAX: usize = i16::MAX as usize;
/// The most rows of one.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// The row groups of one chunk.
pub(in super::super) struct Encoded {
    /// Their bytes, one after the other.
    pub(super) bytes: Vec<u8>,
    groups: Vec<RowGroupMetaData>,
}

/// Encodes rows in memory.
pub(super) struct Encoder(ArrowWriter<Vec<u8>>);

impl Encoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Fault> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            // An index of pages lies behind the row groups, where here the next ones are.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))
            .map(Self)
            .map_err(unencoded)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        self.0.write(batch).map_err(unencoded)
    }

    pub(super) fn finish(mut self) -> Result<Encoded, Fault> {
        self.0.flush().map_err(unencoded)?;
        let written = self.0.bytes_written();
        self.0.finish().map_err(unencoded)?;
        let mut bytes = std::mem::take(self.0.inner_mut());
        // As it is read back, since that is how a checkpoint gives it.
        let groups = decoded(&bytes[written.min(bytes.len())..])?.row_groups().to_vec();
        bytes.truncate(written);
        bytes.drain(..MAGIC.len().min(written));
        Ok(Encoded { bytes, groups })
    }
}

/// What a footer says, given up to the end of its file.
fn decoded(footer: &[u8]) -> Result<ParquetMetaData, Fault> {
    // Behind the metadata are its length, of 4 bytes, and the magic ones.
    let end = footer.len().checked_sub(4 + MAGIC.len()).ok_or_else(damaged)?;
    ParquetMetaDataReader::decode_metadata(&footer[..end]).map_err(unencoded)
}

fn unencoded(error: ParquetError) -> Fault {
    Fault::internal(error)
}

/// What the footer says.
pub(super) struct Footer {
    of_file: FileMetaData,
    groups: Vec<RowGroupMetaData>,
}

impl Footer {
    /// Of a file without rows.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Fault> {
        let mut writer = Encoder::new(schema)?.0;
        let metadata = writer.finish().map_err(unencoded)?;
        Ok(Self { of_file: metadata.file_metadata().clone(), groups: Vec::new() })
    }

    /// Adds row groups whose bytes begin at `at` in the file.
    pub(super) fn add(&mut self, encoded: Encoded, at: u64) -> Result<(), Fault> {
        // They were encoded as if they began behind the magic bytes.
        let by = i64::try_from(at.saturating_sub(MAGIC.len() as u64)).map_err(Fault::internal)?;
        for group in encoded.groups {
            if self.groups.len() == ROW_GROUPS_MAX {
                let most = format!(
                    "the output would have more than {ROW_GROUPS_MAX} row groups; convert parts of the source"
                );
                return Err(Fault::new(FaultKind::Limit, most));
            }
            let ordinal = i16::try_from(self.groups.len()).map_err(Fault::internal)?;
            let columns = group.columns().iter().map(|column| moved(column, by));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(unencoded)?;
            let offset = group.file_offset().map(|offset| offset + by);
            let mut group = group.into_builder().set_column_metadata(columns).set_ordinal(ordinal);
            if let Some(offset) = offset {
                group = group.set_file_offset(offset);
            }
            self.groups.push(group.build().map_err(unencoded)?);
        }
        Ok(())
    }

    /// Its bytes, up to the end of the file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let rows = self.groups.iter().map(RowGroupMetaData::num_rows).sum();
        let of = &self.of_file;
        let of_file = FileMetaData::new(
            of.version(),
            rows,
            of.created_by().map(str::to_owned),
            of.key_value_metadata().cloned(),
            of.schema_descr_ptr(),
            of.column_orders().cloned(),
        );
        let metadata = ParquetMetaData::new(of_file, self.groups.clone());
        let mut bytes = Vec::new();
        ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().map_err(unencoded)?;
        Ok(bytes)
    }

    pub(super) fn save(&self) -> Result<RecordBatch, Fault> {
        let bytes = self.encode()?;
        let column: Arc<dyn Array> = Arc::new(BinaryArray::from_vec(vec![&bytes]));
        RecordBatch::try_from_iter([("footer", column)]).map_err(Fault::internal)
    }

    pub(super) fn load(&mut self, table: &RecordBatch) -> Result<(), Fault> {
        let column =
            table.column_by_name("footer").and_then(|column| column.as_binary_opt::<i32>());
        let bytes = column.filter(|column| column.len() == 1).ok_or_else(damaged)?.value(0);
        self.groups = decoded(bytes)?.row_groups().to_vec();
        Ok(())
    }
}

/// The same column chunk elsewhere in the file.
fn moved(column: &ColumnChunkMetaData, by: i64) -> Result<ColumnChunkMetaData, ParquetError> {
    let (data, dictionary) = (column.data_page_offset(), column.dictionary_page_offset());
    let index = column.index_page_offset();
    let column = column.clone().into_builder();
    let column = column
        .set_data_page_offset(data + by)
        .set_dictionary_page_offset(dictionary.map(|offset| offset + by))
        .set_index_page_offset(index.map(|offset| offset + by));
    column.build()
}

//! How much of anything a dataset may hold or use.

/// How long batches of rows may get at which operators and decoders work, in bytes: where rows are long,
/// a batch has fewer of them. One row may be so long at most.
pub(crate) const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The same for batches as they are read, of which several wait for their turn.
pub(crate) const READ_BYTES_MAX: u64 = BATCH_BYTES_MAX / 4;
/// The same for what a filter gathers of batches that it was given.
pub(crate) const GATHERED_BYTES_MAX: u64 = 2 * BATCH_BYTES_MAX;

/// The limits that hold for every dataset of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest record (a line of text, a CSV record, a JSON object), in bytes.
    pub record_bytes_max: usize,
    /// The most columns of a table.
    pub columns_max: usize,
    /// How many bytes of a file its schema is inferred from; one whole record at least.
    pub sample_bytes_max: usize,
    /// How many records of a file its schema is inferred from.
    pub sample_rows_max: usize,
    /// How many times as long as its file a decompressed text may be.
    pub expansion_max: u64,
    /// Up to so many bytes of decompressed text any expansion is fine.
    pub expansion_free_bytes: u64,
    /// The most memory that a decompressor may want for its window, in bytes.
    pub window_bytes_max: u64,
    /// The most files of one source.
    pub files_max: usize,
    /// The most row groups of a Parquet file.
    pub row_groups_max: usize,
    /// The largest footer of a Parquet file, in bytes.
    pub footer_bytes_max: usize,
    /// The largest page of a Parquet file once it is decompressed, in bytes.
    pub page_bytes_max: u64,
    /// The longest text of a query, in bytes.
    pub sql_bytes_max: usize,
    /// How many times as long as the cells that it is made of a text that a query builds may be.
    pub growth_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 8 * 1024 * 1024,
            columns_max: 4096,
            sample_bytes_max: 1024 * 1024,
            sample_rows_max: 2000,
            expansion_max: 200,
            expansion_free_bytes: 64 * 1024 * 1024,
            window_bytes_max: 128 * 1024 * 1024,
            files_max: 256,
            row_groups_max: 100_000,
            footer_bytes_max: 64 * 1024 * 1024,
            page_bytes_max: 64 * 1024 * 1024,
            sql_bytes_max: 64 * 1024,
            growth_max: 64,
        }
    }
}

//! How many rows of a Parquet file make a batch that is not too long.
//!
//! A text that stands once in a dictionary is copied for each of its rows, so neither the size of a file nor
//! that of its pages says how long so many rows are. The longest text of a dictionary does.

use std::sync::Arc;

use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::basic::Type;
use datafusion::parquet::column::page::{Page, PageReader as _};
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use datafusion::parquet::file::reader::SerializedPageReader;
use roothold_core::Fault;

use super::chunks::Chunks;
use super::pages;
use super::thrift::PageHeader;
use crate::limits::{Limits, READ_BYTES_MAX};
use crate::meter::Meter;
use crate::stored::Stored;

/// The kind of a page that is a dictionary.
const DICTIONARY: i64 = 2;
/// Ways of writing values of which each stands in its page: as they are, and with lengths apart.
const WHOLE: [i64; 2] = [0, 6];
/// Ways of writing the numbers of values of a dictionary.
const NUMBERED: [i64; 2] = [2, 8];

/// What is asked about a file on disk.
pub(crate) struct Asked<'a> {
    pub(crate) file: &'a Arc<Stored>,
    pub(crate) footer: &'a ParquetMetaData,
    /// The columns that are read.
    pub(crate) mask: &'a ProjectionMask,
    pub(crate) limits: &'a Limits,
    pub(crate) meter: &'a Arc<Meter>,
}

impl Asked<'_> {
    /// How many rows of a row group may be decoded at once, up to `rows_max`, one at least. Pages of
    /// an object are not looked at.
    ///
    /// # Errors
    /// As reading.
    pub(crate) fn rows_at_once(&self, group: usize, rows_max: usize) -> Result<usize, Fault> {
        if self.file.object().is_some() {
            return Ok(rows_max);
        }
        let group = self.footer.row_group(group);
        let leaves = group.columns().iter().enumerate();
        let mut columns = Vec::new();
        for (_, chunk) in leaves.filter(|(leaf, _)| self.mask.leaf_included(*leaf)) {
            if let Some(column) = self.column(chunk, group.num_rows(), rows_max)? {
                columns.push(column);
            }
        }
        let bytes = |rows: usize| {
            columns.iter().fold(0_u64, |sum, column| sum.saturating_add(column.bytes(rows as u64)))
        };
        let mut rows = rows_max;
        while rows > 1 && bytes(rows) > READ_BYTES_MAX {
            rows /= 2;
        }
        Ok(rows)
    }

    fn column(
        &self,
        chunk: &ColumnChunkMetaData,
        rows: i64,
        rows_max: usize,
    ) -> Result<Option<Column>, Fault> {
        let of_row = u64::try_from(chunk.num_values().max(1) / rows.max(1)).unwrap_or(1).max(1);
        match chunk.column_type() {
            Type::FIXED_LEN_BYTE_ARRAY => {
                let longest = u64::try_from(chunk.column_descr().type_length()).unwrap_or(0);
                Ok(Some(Column { of_row, longest, whole: Vec::new() }))
            }
            Type::BYTE_ARRAY => {
                let headers = pages::headers_of(self.file, chunk, self.limits, self.meter)?;
                let mut column = Column::of(&headers, of_row);
                let numbered = headers.iter().any(|page| NUMBERED.contains(&page.encoding));
                let dictionaries = headers.iter().filter(|page| page.kind == DICTIONARY);
                let sizes: Vec<u64> = dictionaries.map(bytes_of).collect();
                let most = sizes.iter().copied().max().unwrap_or(0);
                let mut longest = most;
                if numbered
                    && sizes.len() == 1
                    && most.saturating_mul(rows_max as u64) > READ_BYTES_MAX
                {
                    longest = self.longest(chunk, rows)?.unwrap_or(most);
                }
                column.longest = column.longest.max(longest);
                Ok(Some(column))
            }
            _ => Ok(None),
        }
    }

    /// The longest value of a dictionary.
    fn longest(&self, chunk: &ColumnChunkMetaData, rows: i64) -> Result<Option<u64>, Fault> {
        let chunks = Chunks::new(self.file, self.footer, self.limits, self.meter)?;
        let failures = chunks.failures();
        let rows = usize::try_from(rows).unwrap_or(0);
        let page = SerializedPageReader::new(Arc::new(chunks), chunk, rows, None)
            .and_then(|mut pages| pages.get_next_page())
            .map_err(|error| failures.fault(self.file, &error))?;
        Ok(match page {
            Some(Page::DictionaryPage { buf, .. }) => Some(longest_of(&buf)),
            _ => None,
        })
    }
}

/// What is known of a column of a row group.
struct Column {
    /// How many values a row has, about.
    of_row: u64,
    /// The longest value that may stand for many, in bytes.
    longest: u64,
    /// Bytes and values of pages that hold values as they are.
    whole: Vec<(u64, u64)>,
}

impl Column {
    fn of(headers: &[PageHeader], of_row: u64) -> Self {
        let mut column = Self { of_row, longest: 0, whole: Vec::new() };
        for page in headers.iter().filter(|page| page.kind != DICTIONARY) {
            if WHOLE.contains(&page.encoding) {
                column.whole.push((bytes_of(page), u64::try_from(page.values).unwrap_or(0)));
            } else if !NUMBERED.contains(&page.encoding) {
                // A value begins as the one before does: each may be as long as all that is written.
                column.longest = column.longest.max(bytes_of(page));
            }
        }
        column
    }

    /// The most bytes that so many rows have, but for those of two pages, which are in memory anyway.
    fn bytes(&self, rows: u64) -> u64 {
        let values = rows.saturating_mul(self.of_row);
        values.saturating_mul(self.longest).saturating_add(self.pages_between(values))
    }

    /// The most bytes of pages that lie between the first and the last that so many values touch.
    fn pages_between(&self, values: u64) -> u64 {
        let (mut most, mut end, mut bytes, mut held) = (0, 0, 0_u64, 0_u64);
        for start in 0..self.whole.len() {
            end = end.max(start);
            while let Some((more, count)) = self.whole.get(end)
                && held.saturating_add(*count) <= values
            {
                (bytes, held, end) = (bytes + more, held + count, end + 1);
            }
            most = most.max(bytes);
            if end > start {
                let (less, count) = self.whole[start];
                (bytes, held) = (bytes - less, held - count);
            }
        }
        most
    }
}

fn bytes_of(page: &PageHeader) -> u64 {
    u64::try_from(page.uncompressed_bytes).unwrap_or(0)
}

/// Of values that stand one behind the other, each with its length before it, the longest.
fn longest_of(mut values: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, rest)) = values.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(length);
        values = rest.get(length as usize..).unwrap_or_default();
    }
    u64::from(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_value_of_a_dictionary_is_found() {
        let page =
            [&2_u32.to_le_bytes()[..], b"ab", &5_u32.to_le_bytes(), b"abcde", b"\0\0"].concat();
        assert_eq!(longest_of(&page), 5);
        assert_eq!(longest_of(&u32::MAX.to_le_bytes()), u64::from(u32::MAX));
        assert_eq!(longest_of(b""), 0);
    }

    #[test]
    fn pages_count_where_so_many_rows_hold_all_of_them() {
        let column = |whole: &[(u64, u64)]| Column { of_row: 1, longest: 0, whole: whole.to_vec() };
        assert_eq!(column(&[(1000, 10)]).bytes(9), 0);
        assert_eq!(column(&[(1000, 10)]).bytes(10), 1000);
        // One value a page: a batch of ten has ten of them.
        assert_eq!(column(&[(1000, 1); 50]).bytes(10), 10_000);
        assert_eq!(column(&[(5, 100), (1000, 2), (900, 2), (5, 100)]).bytes(4), 1900);
        assert_eq!(column(&[]).bytes(4), 0);
        let numbered = Column { of_row: 2, longest: 300, whole: Vec::new() };
        assert_eq!(numbered.bytes(10), 6000);
    }
}

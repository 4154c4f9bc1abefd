//! How long rows are while a query runs, and how many of them make a batch then.
//!
//! Joins repeat the rows that they are given, and so does what takes lists apart: a batch of so many rows is
//! as long as the longest of them so many times. So what goes into them is looked at; where it is too long, the
//! query begins again with fewer rows a batch, and a row that is too long alone is refused. What is read of
//! tables is looked at, too: filters gather what they let through in batches of their own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use roothold_core::{Fault, FaultKind};

use crate::limits::{BATCH_BYTES_MAX, GATHERED_BYTES_MAX};

/// The most rows of a batch.
pub(super) const BATCH_ROWS_MAX: usize = 8192;

/// How files are read for a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Whether its files are read in pieces.
    pub(crate) is_cut: bool,
    /// Rows of a batch.
    pub(crate) rows: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self { is_cut: true, rows: BATCH_ROWS_MAX }
    }
}

impl Reading {
    /// How to run it again, if something was found that forbids this way.
    pub(crate) fn other(self, widths: &Widths, seams_hold: bool) -> Option<Self> {
        let wanted = widths.rows.load(Ordering::Relaxed);
        if wanted < self.rows {
            // At least halved: so it begins a few times at most.
            return Some(Self { rows: wanted.min(self.rows / 2).max(1), ..self });
        }
        (self.is_cut && !seams_hold).then_some(Self { is_cut: false, ..self })
    }
}

/// What a run finds out of its rows.
#[derive(Debug)]
pub(crate) struct Widths {
    /// How many of them make a batch that is short enough.
    rows: AtomicUsize,
    /// Bytes of the long rows that were read.
    long_bytes: AtomicU64,
}

impl Default for Widths {
    fn default() -> Self {
        Self { rows: AtomicUsize::new(usize::MAX), long_bytes: AtomicU64::new(0) }
    }
}

impl Widths {
    /// Looks at rows that are repeated up to `rows` times, and are up to `growth` times as long then.
    ///
    /// # Errors
    /// `Limit`, where they would be too long; whoever asks [`Reading::other`] learns whether fewer are not.
    pub(super) fn check(&self, batch: &RecordBatch, rows: usize, growth: u64) -> Result<()> {
        let longest = longest_row(batch).saturating_mul(growth).max(1);
        if longest.saturating_mul(rows as u64) <= BATCH_BYTES_MAX {
            return Ok(());
        }
        let fit = usize::try_from(BATCH_BYTES_MAX / longest).unwrap_or(usize::MAX);
        if fit > 0 {
            self.rows.fetch_min(fit, Ordering::Relaxed);
        }
        Err(too_long())
    }

    /// Looks at rows that were read, of which any `rows` may come to stand in one batch.
    ///
    /// # Errors
    /// As [`Self::check`], where long ones are so many that they would not fit.
    pub(super) fn note_read(&self, batch: &RecordBatch, rows: usize) -> Result<()> {
        let longest = longest_row(batch);
        if rows == 1 || longest.saturating_mul(rows as u64) <= GATHERED_BYTES_MAX {
            return Ok(());
        }
        let bytes = longest.saturating_mul(batch.num_rows() as u64);
        let bytes = bytes.min(batch.get_array_memory_size() as u64);
        let before = self.long_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= GATHERED_BYTES_MAX {
            return Ok(());
        }
        let fit = usize::try_from(GATHERED_BYTES_MAX / longest).unwrap_or(usize::MAX);
        self.rows.fetch_min(fit.max(1), Ordering::Relaxed);
        Err(too_long())
    }
}

/// The fault for rows that cannot be repeated.
pub(super) fn too_long() -> DataFusionError {
    let what = format!(
        "a row of the query gets longer than {} MiB where it is repeated; join and unnest shorter texts and lists, for example left(x, 1000)",
        BATCH_BYTES_MAX / (1024 * 1024)
    );
    DataFusionError::External(Fault::new(FaultKind::Limit, what).into())
}

/// No row of the batch is longer, in bytes.
pub(super) fn longest_row(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| longest(column)).fold(0, u64::saturating_add)
}

/// No value of the column is longer, in bytes.
pub(super) fn longest(array: &dyn Array) -> u64 {
    if array.is_empty() {
        return 0;
    }
    match array.data_type() {
        DataType::Utf8 => longest_between(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => longest_between(array.as_string::<i64>().value_offsets()),
        DataType::Binary => longest_between(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => longest_between(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => longest_view(array.as_string_view().views()),
        DataType::BinaryView => longest_view(array.as_binary_view().views()),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            longest_between(lists.value_offsets()).saturating_mul(longest(lists.values()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            longest_between(lists.value_offsets()).saturating_mul(longest(lists.values()))
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            longest_between(maps.value_offsets()).saturating_mul(longest(maps.entries()))
        }
        DataType::FixedSizeList(_, count) => {
            let each = longest(array.as_fixed_size_list().values());
            u64::try_from(*count).unwrap_or(0).saturating_mul(each)
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| longest(column)).fold(0, u64::saturating_add)
        }
        DataType::Dictionary(..) => longest(array.as_any_dictionary().values()),
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().map_or(16, |bytes| bytes as u64),
    }
}

fn longest_between<T: Copy + Into<i64>>(offsets: &[T]) -> u64 {
    let most = offsets.windows(2).map(|pair| pair[1].into() - pair[0].into()).max();
    most.and_then(|most| u64::try_from(most).ok()).unwrap_or(0)
}

/// The lower half of a view's lower half is the length of its text.
fn longest_view(views: &[u128]) -> u64 {
    views
        .iter()
        .map(|view| u64::try_from(view & u128::from(u32::MAX)).unwrap_or(0))
        .max()
        .unwrap_or(0)
}

/// The rows of a batch in slices that are not too long once their lists are taken apart, when all
/// else of a row stands beside each element.
///
/// # Errors
/// `Limit` for a row that is too long alone.
pub(super) fn slices_to_spread(batch: &RecordBatch, growth: u64) -> Result<Vec<RecordBatch>> {
    let beside: u64 = batch.columns().iter().map(|column| longest(innermost(column))).sum();
    let of_element = beside.saturating_mul(growth).max(1);
    let (mut slices, mut start, mut bytes) = (Vec::new(), 0, 0_u64);
    for row in 0..batch.num_rows() {
        let elements = batch.columns().iter().map(|column| elements(column, row, row + 1)).max();
        let more = elements.unwrap_or(1).saturating_mul(of_element);
        if more > BATCH_BYTES_MAX {
            return Err(too_long());
        }
        bytes += more;
        if bytes > BATCH_BYTES_MAX {
            slices.push(batch.slice(start, row - start));
            (start, bytes) = (row, more);
        }
    }
    slices.push(batch.slice(start, batch.num_rows() - start));
    Ok(slices)
}

fn innermost(array: &dyn Array) -> &dyn Array {
    match array.data_type() {
        DataType::List(_) => innermost(array.as_list::<i32>().values()),
        DataType::LargeList(_) => innermost(array.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => innermost(array.as_fixed_size_list().values()),
        _ => array,
    }
}

/// How many elements the lists in these rows have, down to the innermost.
fn elements(array: &dyn Array, start: usize, end: usize) -> u64 {
    let (inner, start, end) = match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let place = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
            (lists.values(), place(start), place(end))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let place = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
            (lists.values(), place(start), place(end))
        }
        DataType::FixedSizeList(_, count) => {
            let lists = array.as_fixed_size_list();
            let count = usize::try_from(*count).unwrap_or(0);
            (lists.values(), start * count, end * count)
        }
        _ => return (end - start) as u64,
    };
    elements(inner, start, end).max((end - start) as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StringViewArray};
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_row_is_as_long_as_its_longest_cells() {
        let long = "x".repeat(300);
        let texts = StringArray::from(vec!["a", long.as_str()]);
        let views = StringViewArray::from(vec![long.as_str(), "b"]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1); 7]),
            Some(vec![Some(1)]),
        ]);
        let rows = batch(vec![
            ("a", Arc::new(Int64Array::from(vec![1, 2]))),
            ("b", Arc::new(texts)),
            ("c", Arc::new(views)),
            ("d", Arc::new(lists)),
        ]);
        assert_eq!(longest_row(&rows), 8 + 300 + 300 + 7 * 8);
        assert_eq!(longest_row(&rows.slice(1, 1)), 8 + 300 + 1 + 8);
    }

    #[test]
    fn a_batch_that_is_too_long_tells_how_many_rows_are_not() {
        let text =
            |bytes: usize| batch(vec![("a", Arc::new(StringArray::from(vec!["x".repeat(bytes)])))]);
        let (way, widths) = (Reading::default(), Widths::default());
        widths.check(&text(2048), way.rows, 1).unwrap();
        assert!(way.other(&widths, true).is_none());
        assert!(widths.check(&text(1024 * 1024), way.rows, 2).is_err());
        let next = way.other(&widths, true).unwrap();
        assert_eq!((next.rows, next.is_cut), (8, true));
        widths.check(&text(1024 * 1024), next.rows, 2).unwrap();
        assert!(!next.other(&widths, false).unwrap().is_cut);
        // No number of rows is small enough.
        let widths = Widths::default();
        assert!(widths.check(&text(17 * 1024 * 1024), 1, 1).is_err());
        assert!(way.other(&widths, true).is_none());
    }

    #[test]
    fn lists_are_taken_apart_few_at_a_time() {
        let list = |count: usize| Some(vec![Some(1); count]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            list(10),
            list(400_000),
            list(400_000),
            list(400_000),
        ]);
        let texts = StringArray::from(vec!["x".repeat(12); 4]);
        let rows = batch(vec![("a", Arc::new(lists)), ("b", Arc::new(texts))]);
        let slices = slices_to_spread(&rows, 1).unwrap();
        assert_eq!(slices.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [3, 1]);
        assert!(slices_to_spread(&rows, 3).is_err());
    }
}

//! Where rows stand: in which file of a source, and at which place in it.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, UInt64Type};
use datafusion::parquet::arrow::RowNumber;
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::parquet::file::metadata::ParquetMetaData;

use super::row_groups::Part;
use crate::prepared::Prepared;

/// The columns that say where a row stands, besides those of the files.
#[derive(Debug, Clone)]
pub(super) struct PlaceColumns {
    /// The number of the file among those of the source.
    pub(super) file: FieldRef,
    /// The number of the row in it.
    pub(super) row: FieldRef,
}

impl PlaceColumns {
    /// Columns by names that no column of the files has.
    pub(super) fn beside(files: &Schema) -> Self {
        let unused = |name: &str| {
            let mut name = name.to_owned();
            while files.index_of(&name).is_ok() {
                name.push('_');
            }
            name
        };
        let file = Field::new(unused("place_file"), DataType::UInt64, false);
        let row = Field::new(unused("place_row"), DataType::Int64, false);
        Self { file: Arc::new(file), row: Arc::new(row.with_extension_type(RowNumber)) }
    }
}

/// Whether the numbers of rows are those of the places at which they stand.
pub(super) fn are_in_order(footer: &ParquetMetaData) -> bool {
    let groups = footer.row_groups().iter().enumerate();
    groups
        .into_iter()
        .all(|(at, group)| group.ordinal().is_some_and(|it| usize::try_from(it) == Ok(at)))
}

/// The places in batches of a query for [`PlaceColumns`], file first.
pub(crate) fn places_in(batches: &[RecordBatch]) -> Vec<(u64, i64)> {
    let places = batches.iter().flat_map(|batch| {
        let files = batch.column(0).as_primitive::<UInt64Type>().values();
        let rows = batch.column(1).as_primitive::<Int64Type>().values();
        files.iter().copied().zip(rows.iter().copied()).collect::<Vec<_>>()
    });
    places.collect()
}

/// The row groups that have rows at these places, and which of their rows those are.
pub(super) fn parts_at(prepared: &Prepared, mut places: Vec<(u64, i64)>) -> Vec<Part> {
    places.sort_unstable();
    places.dedup();
    let (mut parts, mut places) = (Vec::new(), places.into_iter().peekable());
    for (file, prepared) in prepared.files.iter().enumerate() {
        let Some(footer) = &prepared.footer else { continue };
        let mut first = 0_i64;
        for (group, of_group) in footer.row_groups().iter().enumerate() {
            let behind = first.saturating_add(of_group.num_rows());
            let mut rows: Vec<Range<usize>> = Vec::new();
            while let Some((_, row)) =
                places.next_if(|(of, row)| *of == file as u64 && *row < behind)
            {
                let at = usize::try_from(row - first).unwrap_or(0);
                rows.push(at..at + 1);
            }
            if !rows.is_empty() {
                let all = usize::try_from(of_group.num_rows()).unwrap_or(0);
                let rows = RowSelection::from_consecutive_ranges(rows.into_iter(), all);
                parts.push(Part { file, group, rows: Some(rows) });
            }
            first = behind;
        }
    }
    parts
}

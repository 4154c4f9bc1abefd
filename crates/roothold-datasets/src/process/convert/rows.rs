//! Rows as text: CSV with its header, or one JSON object a line.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder as WriterOptions};
use roothold_core::Fault;

use super::super::operation::{ConvertFormat, ConvertOptions};
use super::super::values::kind;

/// With these a spreadsheet begins a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Whether every column can be a field of CSV.
pub(super) fn fits_csv(schema: &SchemaRef) -> Result<(), Fault> {
    for field in schema.fields() {
        let of = field.data_type();
        if of.is_nested()
            || matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
        {
            return Err(Fault::invalid(format!(
                "column `{}` is of type {}, which CSV cannot hold; convert to JSONL or Parquet, or name other columns",
                field.name(),
                kind(of)
            )));
        }
    }
    Ok(())
}

/// The line with the names of the columns.
pub(super) fn csv_header(schema: &SchemaRef, options: &ConvertOptions) -> Result<Vec<u8>, Fault> {
    let fields = schema.fields().iter().map(|field| {
        let name =
            guarded(field.name(), options.guard_formulas).unwrap_or_else(|| field.name().clone());
        Field::new(name, DataType::Null, true)
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut text);
    writer.write(&RecordBatch::new_empty(Arc::new(schema))).map_err(unencoded)?;
    drop(writer);
    Ok(text)
}

/// Appends the rows of a batch.
pub(super) fn write(
    text: &mut Vec<u8>,
    batch: &RecordBatch,
    options: &ConvertOptions,
) -> Result<(), Fault> {
    if options.format == ConvertFormat::Jsonl {
        let mut writer =
            WriterOptions::new().with_explicit_nulls(true).build::<_, LineDelimited>(text);
        writer.write(batch).map_err(unencoded)?;
        return writer.finish().map_err(unencoded);
    }
    let mut writer = WriterBuilder::new().with_header(false).build(text);
    if !options.guard_formulas {
        return writer.write(batch).map_err(unencoded);
    }
    let columns = batch
        .columns()
        .iter()
        .map(guarded_column)
        .collect::<Result<Vec<_>, _>>()
        .map_err(unencoded)?;
    let fields = batch.schema_ref().fields().iter().zip(&columns);
    let fields =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns).map_err(unencoded)?;
    writer.write(&batch).map_err(unencoded)
}

fn unencoded(error: ArrowError) -> Fault {
    Fault::internal(error)
}

/// A cell that is text, with a `'` before what a spreadsheet would run.
fn guarded_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Ok(column.clone());
    }
    let text = cast(column, &DataType::Utf8)?;
    let cells = text.as_string::<i32>();
    if !cells.iter().flatten().any(|cell| cell.starts_with(FORMULA_STARTS)) {
        return Ok(text);
    }
    let guarded_cells = cells
        .iter()
        .map(|cell| cell.map(|cell| guarded(cell, true).unwrap_or_else(|| cell.to_owned())));
    Ok(Arc::new(guarded_cells.collect::<StringArray>()))
}

fn guarded(cell: &str, guards: bool) -> Option<String> {
    (guards && cell.starts_with(FORMULA_STARTS)).then(|| format!("'{cell}"))
}

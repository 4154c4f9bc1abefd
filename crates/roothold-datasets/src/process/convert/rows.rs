//! Rows as text: CSV with its header, or one JSON object a line.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder as WriterOptions};
use roothold_core::Fault;

use super::super::operation::ConvertOptions;
use crate::export::{ExportFormat, csv_column, csv_field};

/// The line with the names of the columns.
pub(super) fn csv_header(schema: &SchemaRef, options: &ConvertOptions) -> Result<Vec<u8>, Fault> {
    let fields = schema.fields().iter().map(|field| csv_field(field, options.guard_formulas));
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
    if options.format == ExportFormat::Jsonl {
        let mut writer =
            WriterOptions::new().with_explicit_nulls(true).build::<_, LineDelimited>(text);
        writer.write(batch).map_err(unencoded)?;
        return writer.finish().map_err(unencoded);
    }
    let mut writer = WriterBuilder::new().with_header(false).build(text);
    let guards = options.guard_formulas;
    let columns = batch.columns().iter().map(|column| csv_column(column, guards));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let fields = batch.schema_ref().fields().iter().map(|field| csv_field(field, guards));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns).map_err(unencoded)?;
    writer.write(&batch).map_err(unencoded)
}

fn unencoded(error: ArrowError) -> Fault {
    Fault::internal(error)
}

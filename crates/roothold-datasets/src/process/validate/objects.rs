//! Records of other formats as JSON, held against a schema.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use roothold_core::Fault;
use serde_json::Value;

use super::super::bad::BadRows;
use super::super::decode::{Counts, Decode};
use super::super::input::{Input, Stop};
use super::super::spans::Span;
use super::schema::{RECORD_BYTES_MAX, RecordSchema};

/// How many rows are made JSON of at once.
const ROWS_AT_ONCE: usize = 256;

/// What is decoded, and what it is held against.
pub(super) struct Objects {
    pub(super) decode: Decode,
    pub(super) schema: RecordSchema,
}

impl Objects {
    pub(super) fn check(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<Counts, Fault> {
        let mut wrong = BadRows::default();
        let mut counts = self.decode.run(input, span, stop, &mut |batch, at| {
            for from in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
                stop.check()?;
                let rows = ROWS_AT_ONCE.min(batch.num_rows() - from);
                let lines = lines_of(&batch.slice(from, rows))?;
                for (row, line) in lines.split(|byte| *byte == b'\n').take(rows).enumerate() {
                    if let Some(reason) = self.wrong(line)? {
                        wrong.push(|| (at.line(from + row), reason.into()));
                    }
                }
            }
            Ok(())
        })?;
        counts.rows -= wrong.count;
        counts.bad.merge_by_line(wrong);
        Ok(counts)
    }

    fn wrong(&self, line: &[u8]) -> Result<Option<String>, Fault> {
        if line.len() > RECORD_BYTES_MAX {
            return Ok(Some(format!("is longer than {RECORD_BYTES_MAX} bytes")));
        }
        let value: Value = serde_json::from_slice(line).map_err(Fault::internal)?;
        Ok(self.schema.wrong(&value))
    }
}

/// One object a line, with a member for each column, null where it is empty.
fn lines_of(batch: &RecordBatch) -> Result<Vec<u8>, Fault> {
    let mut lines = Vec::new();
    let mut writer =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(batch).map_err(Fault::internal)?;
    writer.finish().map_err(Fault::internal)?;
    drop(writer);
    Ok(lines)
}

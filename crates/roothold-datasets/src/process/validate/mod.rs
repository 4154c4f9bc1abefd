//! Rows that are not as they should be: by the names and types of columns, or by a JSON Schema.

mod expected;
mod json;
mod objects;
mod schema;

use std::sync::Arc;

use datafusion::arrow::array::Array;
use roothold_core::Fault;
use serde_json::Value;

use super::bad::BadRows;
use super::decode::{Counts, Decode};
use super::fold::{Fold, Work};
use super::input::{Input, ShapeFormat, Stop};
use super::operation::ValidateOptions;
use super::saved::{Saved, damaged};
use super::spans::{Body, Span};
use expected::Expected;
use json::{Members, Wanted};
use objects::Objects;
use schema::RecordSchema;

/// Validates one chunk.
pub(super) struct ValidateWork(Check);

/// How rows are looked at.
enum Check {
    /// By decoding them to the types that they should have.
    Columns {
        decode: Decode,
        /// Which of the decoded columns must not be empty.
        needed: Vec<usize>,
    },
    /// One JSON value a line.
    Records(Wanted),
    /// By decoding them, and making JSON of that.
    Objects(Objects),
}

/// The bad rows of the chunks so far.
pub(super) struct Validation {
    work: Arc<ValidateWork>,
    /// What is wrong with the columns as a whole.
    problems: Vec<String>,
    extra: Vec<String>,
    chunks_with_bad: u64,
}

impl Validation {
    pub(super) fn new(input: &dyn Input, options: &ValidateOptions) -> Result<Self, Fault> {
        if let Some(schema) = &options.schema {
            return Self::of_schema(input, options, RecordSchema::new(schema)?);
        }
        let expected = Expected::new(input.shape(), &options.columns)?;
        let check = if input.shape().format == ShapeFormat::Jsonl {
            Check::Records(Wanted::Members(Members::new(expected.wanted, input.shape())))
        } else {
            let decode = Decode::new(&expected.shape, expected.columns)?;
            Check::Columns { decode, needed: expected.needed }
        };
        Ok(Self::with(check, expected.problems, expected.extra))
    }

    fn of_schema(
        input: &dyn Input,
        options: &ValidateOptions,
        schema: RecordSchema,
    ) -> Result<Self, Fault> {
        if !options.columns.is_empty() {
            return Err(Fault::invalid(
                "records are held against expected columns or against a schema; leave one of them out",
            ));
        }
        let shape = input.shape();
        let check = if shape.format == ShapeFormat::Jsonl {
            Check::Records(Wanted::Schema { schema, shape: shape.clone() })
        } else {
            Check::Objects(Objects { decode: Decode::new(shape, shape.visible.clone())?, schema })
        };
        Ok(Self::with(check, Vec::new(), Vec::new()))
    }

    fn with(check: Check, problems: Vec<String>, extra: Vec<String>) -> Self {
        Self { work: Arc::new(ValidateWork(check)), problems, extra, chunks_with_bad: 0 }
    }
}

impl Work for ValidateWork {
    type Part = BadRows;

    fn work(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, BadRows), Fault> {
        let counts = match (&self.0, &span.body) {
            (Check::Records(wanted), Body::Text(data)) => {
                json::check(wanted, data, span.at.lines, stop)?
            }
            (Check::Objects(objects), _) => objects.check(input, span, stop)?,
            (Check::Records(_), Body::RowGroups(_)) => {
                return Err(Fault::internal("row groups are no lines"));
            }
            (Check::Columns { decode, needed }, _) => columns(decode, needed, input, span, stop)?,
        };
        let bad = counts.bad.clone();
        Ok((counts, bad))
    }
}

fn columns(
    decode: &Decode,
    needed: &[usize],
    input: &dyn Input,
    span: &Span,
    stop: &Stop,
) -> Result<Counts, Fault> {
    let mut empty = BadRows::default();
    let mut counts = decode.run(input, span, stop, &mut |batch, at| {
        let nulls: Vec<_> =
            needed.iter().map(|column| batch.column(*column).logical_nulls()).collect();
        if nulls.iter().flatten().all(|nulls| nulls.null_count() == 0) {
            return Ok(());
        }
        for row in 0..batch.num_rows() {
            let missing = nulls
                .iter()
                .position(|nulls| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
            if let Some(missing) = missing {
                let name = decode.schema().field(needed[missing]).name();
                empty.push(|| (at.line(row), format!("column `{name}` is empty").into()));
            }
        }
        Ok(())
    })?;
    counts.rows -= empty.count;
    counts.bad.merge_by_line(empty);
    Ok(counts)
}

impl Fold for Validation {
    type Work = ValidateWork;

    fn work(&self) -> &Arc<ValidateWork> {
        &self.work
    }

    fn fold(&mut self, part: BadRows) -> Result<Option<Value>, Fault> {
        if part.count == 0 {
            return Ok(None);
        }
        self.chunks_with_bad += 1;
        Ok(Some(serde_json::json!({ "bad_rows": part.count, "bad": part.first })))
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        Ok(Saved { header: serde_json::json!(self.chunks_with_bad), ..Saved::default() })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        self.chunks_with_bad = saved.header.as_u64().ok_or_else(damaged)?;
        Ok(())
    }

    fn report(&mut self) -> Result<Value, Fault> {
        let mut report =
            serde_json::json!({ "valid": self.problems.is_empty() && self.chunks_with_bad == 0 });
        for (name, list) in [("problems", &self.problems), ("extra_columns", &self.extra)] {
            if !list.is_empty() {
                report[name] = serde_json::json!(list);
            }
        }
        Ok(report)
    }
}

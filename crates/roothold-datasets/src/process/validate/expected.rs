//! The columns that rows should have, held against those that they have.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use roothold_core::Fault;

use super::super::input::{Shape, ShapeFormat};
use super::super::operation::{ExpectedColumn, ExpectedType};
use crate::options::ColumnType;
use crate::table::kind_of;

/// What rows are checked for.
#[derive(Debug)]
pub(super) struct Expected {
    /// The files with the types that their columns should have.
    pub(super) shape: Shape,
    /// The columns that are checked, which count in the schema.
    pub(super) columns: Vec<usize>,
    /// Which of those must not be empty, counted in `columns`.
    pub(super) needed: Vec<usize>,
    /// What is wrong whatever the rows hold.
    pub(super) problems: Vec<String>,
    /// Columns that nobody expects.
    pub(super) extra: Vec<String>,
    /// The expected columns themselves.
    pub(super) wanted: Vec<ExpectedColumn>,
}

impl Expected {
    /// `wanted` of these files; if it is empty, what was inferred of them.
    pub(super) fn new(shape: &Shape, wanted: &[ExpectedColumn]) -> Result<Self, Fault> {
        let mut found = Self {
            shape: shape.clone(),
            columns: shape.visible.clone(),
            needed: Vec::new(),
            problems: Vec::new(),
            extra: Vec::new(),
            wanted: wanted.to_vec(),
        };
        if wanted.is_empty() {
            found.wanted =
                shape.visible.iter().map(|column| inferred(shape.schema.field(*column))).collect();
            return Ok(found);
        }
        found.columns.clear();
        let mut fields: Vec<Field> =
            shape.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut checked = Vec::new();
        for column in wanted {
            let named = |index: &&usize| shape.schema.field(**index).name() == &column.name;
            let Some(index) = shape.visible.iter().find(named).copied() else {
                // A record of JSON just lacks the member, which is no matter of the file.
                if shape.format == ShapeFormat::Jsonl {
                    continue;
                }
                found.problems.push(format!("column `{}` is missing", column.name));
                continue;
            };
            if checked.contains(&(index, true)) || checked.contains(&(index, false)) {
                return Err(Fault::invalid(format!("column `{}` is named twice", column.name)));
            }
            found.expect_type(index, &mut fields[index], column);
            checked.push((index, !column.nullable));
        }
        checked.sort_unstable();
        found.columns = checked.iter().map(|(index, _)| *index).collect();
        found.needed = (0..checked.len()).filter(|place| checked[*place].1).collect();
        found.extra = shape
            .visible
            .iter()
            .filter(|index| !found.columns.contains(index))
            .map(|index| shape.schema.field(*index).name().clone())
            .collect();
        found.shape.schema = Arc::new(Schema::new(fields));
        Ok(found)
    }

    /// Text is read as the type that it should have; what has a type of its own is compared.
    fn expect_type(&mut self, at: usize, field: &mut Field, column: &ExpectedColumn) {
        let Some(expected) = column.kind else { return };
        if matches!(self.shape.format, ShapeFormat::Csv { .. }) {
            field.set_data_type(engine_type(expected));
            self.shape.lax.push(at);
            return;
        }
        let (is, should) = (kind_of(field.data_type()), expected.name());
        let widened = match expected {
            ExpectedType::Number => is == "integer",
            ExpectedType::Decimal => is == "integer" || is.starts_with("decimal("),
            _ => false,
        };
        if self.shape.format != ShapeFormat::Jsonl && is != should && !widened {
            self.problems
                .push(format!("column `{}` is of type {is}, expected {should}", column.name));
        }
    }
}

/// A column as it was found to be; what has no word of ours can be anything.
fn inferred(field: &Field) -> ExpectedColumn {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(ExpectedType::Text),
        DataType::Boolean => Some(ExpectedType::Boolean),
        integer if integer.is_integer() => Some(ExpectedType::Integer),
        number if number.is_floating() => Some(ExpectedType::Number),
        _ => None,
    };
    ExpectedColumn { name: field.name().clone(), kind, nullable: true }
}

fn engine_type(expected: ExpectedType) -> DataType {
    match expected {
        ExpectedType::Text => DataType::Utf8,
        ExpectedType::Integer => DataType::Int64,
        ExpectedType::Number => DataType::Float64,
        ExpectedType::Decimal => ColumnType::Decimal.arrow(),
        ExpectedType::Boolean => DataType::Boolean,
        ExpectedType::Date => DataType::Date32,
        ExpectedType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

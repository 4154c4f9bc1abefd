//! Why one record is no row, in words; asked only once it is known that it is none.

use datafusion::arrow::datatypes::Field;
use serde_json::Value;

use super::decode::Decode;
use super::input::{Shape, ShapeFormat};
use super::values::brief;
use crate::infer::{self, Kind};
use crate::remedy::Remedy;
use crate::table::kind_of;

/// The most of a value that a reason quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 60;

/// What is wrong with a record, and what would help.
#[derive(Debug, PartialEq)]
pub(super) struct Reason {
    pub(super) text: String,
    pub(super) remedy: Option<Remedy>,
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, remedy: None }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// What is wrong with `record`. Only the columns that are decoded are looked at, so that nothing
/// of others is told.
pub(super) fn of(shape: &Shape, columns: &[usize], record: &[u8]) -> Reason {
    match shape.format {
        ShapeFormat::Csv { delimiter, quote, escape, short, .. } => {
            let mut reader = csv_core::ReaderBuilder::new();
            reader.delimiter(delimiter).quote(quote).escape(escape);
            csv(shape, columns, &fields(&mut reader.build(), record), short)
        }
        ShapeFormat::Jsonl => jsonl(shape, columns, record),
        ShapeFormat::Text | ShapeFormat::Parquet => "cannot be read".into(),
    }
}

/// The fields of one record.
fn fields(reader: &mut csv_core::Reader, record: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut ends) = (vec![0; record.len() + 1], vec![0; record.len() + 2]);
    let mut input = [b"\n", record].concat();
    if !record.ends_with(b"\n") {
        input.push(b'\n');
    }
    let (_, read, _, _) = reader.read_record(&input[..1], &mut out, &mut ends);
    let (_, _, _, found) = reader.read_record(&input[read..], &mut out, &mut ends);
    let mut from = 0;
    ends[..found].iter().map(|end| out[std::mem::replace(&mut from, *end)..*end].to_vec()).collect()
}

fn csv(shape: &Shape, columns: &[usize], fields: &[Vec<u8>], short: bool) -> Reason {
    let expected = shape.schema.fields().len();
    if fields.len() > expected || (fields.len() < expected && !short) {
        let text = format!("has {} fields, expected {expected}", fields.len());
        return Reason { text, remedy: (fields.len() < expected).then_some(Remedy::ShortRecords) };
    }
    for column in columns {
        let field = shape.schema.field(*column);
        let Some(value) = fields.get(*column) else { continue };
        let Ok(value) = std::str::from_utf8(value) else {
            let text = format!("column `{}` is not UTF-8", field.name());
            return Reason { text, remedy: Some(Remedy::Encoding) };
        };
        let quoted = format!("\"{}\"\n", value.replace('"', "\"\""));
        if !decodes_alone(shape, *column, quoted.as_bytes()) {
            return wrong(field, value, infer::cell(value));
        }
    }
    "cannot be read".into()
}

fn jsonl(shape: &Shape, columns: &[usize], record: &[u8]) -> Reason {
    let value: Value = match serde_json::from_slice(record) {
        Ok(value) => value,
        Err(error) if error.is_syntax() && error.to_string().starts_with("trailing") => {
            return "holds more than one JSON value".into();
        }
        Err(error) => return format!("is not JSON: {error}").into(),
    };
    let Value::Object(object) = value else { return "is not a JSON object".into() };
    for column in columns {
        let field = shape.schema.field(*column);
        let Some(value) = object.get(field.name()) else { continue };
        let alone = serde_json::json!({ field.name(): value }).to_string();
        if !decodes_alone(shape, *column, alone.as_bytes()) {
            let text = value.to_string();
            let kind = serde_json::from_str(&text).unwrap_or(Kind::Mixed);
            return wrong(field, &text, kind);
        }
    }
    "cannot be read".into()
}

/// Whether a record that has just this column can be decoded.
fn decodes_alone(shape: &Shape, column: usize, record: &[u8]) -> bool {
    let Ok(schema) = shape.schema.project(&[column]) else { return false };
    let format = match shape.format {
        ShapeFormat::Csv { header, .. } => {
            ShapeFormat::Csv { delimiter: b',', quote: b'"', escape: None, header, short: false }
        }
        other => other,
    };
    let lax = if shape.lax.contains(&column) { vec![0] } else { Vec::new() };
    let shape = Shape { format, schema: schema.into(), lax, visible: vec![0], hidden: Vec::new() };
    Decode::new(&shape, vec![0]).is_ok_and(|decode| decode.rows(record).is_ok())
}

fn wrong(field: &Field, value: &str, kind: Kind) -> Reason {
    let (name, expected) = (field.name(), field.data_type());
    let quoted = brief(value, QUOTED_BYTES_MAX);
    let text = format!("column `{name}` is not of type {}: {quoted:?}", kind_of(expected));
    Reason { text, remedy: Remedy::wider(name, expected, kind) }
}

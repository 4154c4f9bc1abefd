//! Records of JSON, one a line, and whether they are as expected.

use datafusion::arrow::array::types::{Date32Type, Decimal128Type, TimestampMicrosecondType};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, parse_decimal};
use roothold_core::Fault;
use serde_json::{Map, Value};

use super::super::decode::Counts;
use super::super::input::{Shape, Stop};
use super::super::operation::{ExpectedColumn, ExpectedType};
use super::super::records::{Framing, count_lines, records};
use super::super::values::brief;
use super::schema::{RECORD_BYTES_MAX, RecordSchema};
use crate::whole::WHOLE_MAX;

/// The most of a value that a reason quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 60;

/// What records should be.
pub(super) enum Wanted {
    /// Objects with such members.
    Members(Members),
    /// As a schema says.
    Schema { schema: RecordSchema, shape: Shape },
}

/// What members records should have.
#[derive(Debug)]
pub(super) struct Members(Vec<Member>);

impl Members {
    /// A member that is kept from callers is one that no record has.
    pub(super) fn new(wanted: Vec<ExpectedColumn>, shape: &Shape) -> Self {
        let unseen =
            |member: ExpectedColumn| Member { is_hidden: shape.is_hidden(&member.name), member };
        Self(wanted.into_iter().map(unseen).collect())
    }
}

#[derive(Debug)]
struct Member {
    member: ExpectedColumn,
    is_hidden: bool,
}

/// Checks the lines of a chunk, before which `lines` lines are.
pub(super) fn check(
    wanted: &Wanted,
    data: &[u8],
    lines: u64,
    stop: &Stop,
) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    let (mut line, mut counted) = (lines + 1, 0);
    for (index, record) in records(Framing::Values, data, 0, data.len()).enumerate() {
        if index % 256 == 0 {
            stop.check()?;
        }
        line += count_lines(&data[counted..record.start], false);
        counted = record.start;
        match wrong(wanted, &data[record]) {
            None => counts.rows += 1,
            Some(reason) => counts.bad.push(|| (line, reason.into())),
        }
    }
    Ok(counts)
}

fn wrong(wanted: &Wanted, record: &[u8]) -> Option<String> {
    if matches!(wanted, Wanted::Schema { .. }) && record.len() > RECORD_BYTES_MAX {
        return Some(format!("is longer than {RECORD_BYTES_MAX} bytes"));
    }
    match (serde_json::from_slice::<Value>(record), wanted) {
        (Err(error), _) => Some(format!("is not JSON: {error}")),
        (Ok(Value::Object(object)), Wanted::Members(members)) => {
            members.0.iter().find_map(|member| member_wrong(member, &object))
        }
        (Ok(_), Wanted::Members(_)) => Some("is not a JSON object".to_owned()),
        (Ok(mut value), Wanted::Schema { schema, shape }) => {
            if let Value::Object(object) = &mut value {
                object.retain(|name, _| !shape.is_hidden(name));
            }
            schema.wrong(&value)
        }
    }
}

fn member_wrong(
    Member { member, is_hidden }: &Member,
    object: &Map<String, Value>,
) -> Option<String> {
    let name = &member.name;
    let value = match object.get(name).filter(|_| !is_hidden) {
        None | Some(Value::Null) if member.nullable => return None,
        None | Some(Value::Null) => return Some(format!("column `{name}` is empty")),
        Some(value) => value,
    };
    let expected = member.kind?;
    if is_of(expected, value) {
        return None;
    }
    let (word, value) = (expected.name(), brief(&value.to_string(), QUOTED_BYTES_MAX));
    Some(format!("column `{name}` is not of type {word}: {value:?}"))
}

fn is_of(expected: ExpectedType, value: &Value) -> bool {
    let text = value.as_str();
    match expected {
        ExpectedType::Text => text.is_some(),
        ExpectedType::Number => value.is_number(),
        ExpectedType::Integer => {
            value.is_i64()
                || value
                    .as_f64()
                    .is_some_and(|value| value.fract() == 0.0 && value.abs() < WHOLE_MAX)
        }
        // As text it keeps the digits that a number of JSON may lose.
        ExpectedType::Decimal => {
            let digits = text.map_or_else(|| value.to_string(), str::to_owned);
            (text.is_some() || value.is_number())
                && parse_decimal::<Decimal128Type>(&digits, 38, 10).is_ok()
        }
        ExpectedType::Boolean => value.is_boolean(),
        ExpectedType::Date => text.is_some_and(|text| Date32Type::parse(text).is_some()),
        ExpectedType::Timestamp => {
            text.is_some_and(|text| TimestampMicrosecondType::parse(text).is_some())
        }
    }
}

//! The columns of lines: of plain text, and of JSON Lines.

use datafusion::arrow::datatypes::{DataType, Field};
use roothold_core::{Fault, FaultKind};

use super::columns::{Names, check_types};
use super::sample::Sample;
use super::{Found, average, text_field};
use crate::infer::{Kind, json, merge_fields};
use crate::limits::Limits;
use crate::options::{ColumnType, SourceOptions};

/// The columns of plain text.
pub(super) fn columns(samples: &[Sample]) -> Found {
    Found {
        fields: vec![Field::new("number", DataType::Int64, false), text_field("line")],
        original_names: vec!["number".to_owned(), "line".to_owned()],
        style: None,
        notes: Vec::new(),
        record_bytes: average(samples[0].text.len() as u64, samples[0].lines().count()),
    }
}

/// The columns of JSON Lines: the members of the objects in the samples.
pub(super) fn objects(
    samples: &[Sample],
    options: &SourceOptions,
    limits: &Limits,
) -> Result<Found, Fault> {
    let (mut members, mut first_rows, mut first_bytes) = (Vec::new(), 0, 0);
    for (at, sample) in samples.iter().enumerate() {
        let lines = sample.lines().filter(|(_, line)| !line.trim_ascii().is_empty());
        for (number, line) in lines.take(limits.sample_rows_max) {
            let object = json::object(line).map_err(|_| no_object(&sample.path, number, line))?;
            members = merge_fields(members, object);
            if members.len() > limits.columns_max {
                return Err(too_many_columns(&sample.path, limits));
            }
            if at == 0 {
                first_rows += 1;
                first_bytes += line.len() as u64 + 1;
            }
        }
    }
    let (mut fields, mut originals, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = Names::default();
    let everything = options.types.get("*").copied();
    for (name, kind) in members {
        // The decoder finds members by the very name, so one that would be written otherwise
        // cannot be a column.
        let shown = names.next(&name, fields.len());
        let said = options.types.get(&name).copied().or(everything);
        match said.map(ColumnType::arrow).or_else(|| kind.arrow()) {
            Some(kind) if shown == name => {
                fields.push(Field::new(&name, kind, true));
                originals.push(name);
            }
            Some(_) => notes
                .push(format!("left out `{shown}`: its name holds characters that are not shown")),
            None => notes.push(left_out(&shown, &kind)),
        }
    }
    check_types(options, &originals)?;
    let record_bytes = average(first_bytes, first_rows);
    if fields.is_empty() {
        return Err(Fault::invalid(format!(
            "{} has no member that can be a column; one JSON object a line is needed",
            samples[0].path
        )));
    }
    Ok(Found { fields, original_names: originals, style: None, notes, record_bytes })
}

fn left_out(name: &str, kind: &Kind) -> String {
    match kind {
        Kind::Struct(_) => format!("left out `{name}`: its objects have no member of one type"),
        _ => format!("left out `{name}`: it is now a value, now a list or an object"),
    }
}

fn no_object(path: &str, number: usize, line: &[u8]) -> Fault {
    let why = match std::str::from_utf8(line) {
        Err(_) => "is not valid UTF-8; give the option encoding, or convert the file",
        Ok(_) => "is not one JSON object; write one object a line, or give the option format",
    };
    Fault::invalid(format!("{path} line {number} {why}"))
}

pub(super) fn too_many_columns(path: &str, limits: &Limits) -> Fault {
    Fault::new(
        FaultKind::Limit,
        format!(
            "{path} has more than {} columns; split it, or choose columns with another tool",
            limits.columns_max
        ),
    )
}

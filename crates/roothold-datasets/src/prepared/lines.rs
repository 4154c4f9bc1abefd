//! The columns of lines: of plain text, and of JSON Lines.

use datafusion::arrow::datatypes::{DataType, Field};
use roothold_core::{Fault, FaultKind};

use super::columns::{Names, check_types};
use super::sample::Sample;
use super::{Found, average, text_field};
use crate::infer::{Kind, json, merge_fields};
use crate::limits::Limits;
use crate::options::ColumnType;
use crate::shown;
use crate::source::{Source, folded};

/// The columns of plain text.
pub(super) fn columns(samples: &[Sample]) -> Found {
    Found {
        fields: vec![Field::new("number", DataType::Int64, false), text_field("line")],
        original_names: vec!["number".to_owned(), "line".to_owned()],
        lax: Vec::new(),
        style: None,
        notes: Vec::new(),
        record_bytes: average(samples[0].text.len() as u64, samples[0].lines().count()),
    }
}

/// The columns of JSON Lines: the members of the objects in the samples.
pub(super) fn objects(
    samples: &[Sample],
    source: &Source,
    limits: &Limits,
) -> Result<Found, Fault> {
    let options = source.options();
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
    let (mut fields, mut originals, mut notes) = (Vec::new(), Vec::new(), Notes::default());
    let mut names = Names::default();
    let hidden = source.hidden();
    let everything = options.types.get("*").copied();
    for (name, kind) in members {
        // The decoder finds members by the very name, so one that would be written otherwise
        // cannot be a column.
        let shown = names.next(&name, fields.len());
        // Nothing is told of what is hidden.
        let is_visible = !hidden.contains(&folded(&name));
        let said = options.types.get(&name).copied().or(everything);
        match said.map(ColumnType::arrow).or_else(|| kind.arrow()) {
            Some(column) if shown == name => {
                if is_visible && said.is_none() {
                    kind.each_left_out(&name, &mut |part, kind| notes.add(left_out(part, kind)));
                }
                fields.push(Field::new(&name, column, true));
                originals.push(name);
            }
            Some(_) if is_visible => {
                let why = "its name holds characters that are not shown";
                notes.add(format!("left out `{shown}`: {why}"));
            }
            None if is_visible => notes.add(left_out(&shown, &kind)),
            _ => {}
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
    let notes = notes.told();
    let (lax, style) = (Vec::new(), None);
    Ok(Found { fields, original_names: originals, lax, style, notes, record_bytes })
}

/// What is said of parts that were left out: of the first, and how many others there are.
#[derive(Default)]
struct Notes {
    first: Vec<String>,
    others: usize,
}

impl Notes {
    fn add(&mut self, note: String) {
        /// A source with many such parts is nothing that notes could tell of.
        const NOTES_MAX: usize = 8;
        if self.first.len() < NOTES_MAX {
            self.first.push(note);
        } else {
            self.others += 1;
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.others > 0 {
            self.first.push(format!("left out {} more in the same way", self.others));
        }
        self.first
    }
}

fn left_out(name: &str, kind: &Kind) -> String {
    let name = shown::name(name);
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

//! The text of a report: a line a thing, fields apart by tabs where they are cells.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Shown;
use crate::tools::table::line;

/// What of a report is about the bad rows.
const OPTIONS: &str = "options";

impl Shown {
    pub(super) fn text(&self) -> String {
        let mut out = format!("{}: {} bytes", self.operation, self.bytes);
        if let Some(rows) = self.rows {
            let _ = write!(out, ", {rows} rows");
        }
        if self.bad_rows > 0 {
            let _ = write!(out, ", {} bad rows", self.bad_rows);
        }
        for (name, value) in self.report.iter().filter(|(_, value)| !value.is_array()) {
            if name == OPTIONS {
                continue;
            }
            let _ = write!(out, ", {name} {}", plain(value));
        }
        if let Some(output) = &self.output {
            let _ = write!(
                out,
                "\nwrote {}: {} bytes, hash {}",
                output.path, output.bytes, output.hash
            );
            for remark in &output.remarks {
                let _ = write!(out, "\n{remark}");
            }
        }
        for (name, list) in &self.report {
            let Value::Array(list) = list else { continue };
            match (name.as_str(), self.report.get("result")) {
                // They are the heading of the rows.
                ("columns", Some(_)) => {}
                ("result", _) => table(&mut out, self.report.get("columns"), list),
                ("columns", None) if list.iter().any(Value::is_object) => {
                    for column in list {
                        profiled(&mut out, column);
                    }
                }
                ("matches", _) => {
                    for found in list {
                        matched(&mut out, found);
                    }
                }
                ("sample", _) => {
                    for row in list {
                        sampled(&mut out, row);
                    }
                }
                _ if list.is_empty() => {}
                _ => {
                    let _ = write!(out, "\n{name}\t{}", line(list));
                }
            }
        }
        for bad in &self.bad {
            let _ = write!(out, "\nbad {}: {}", place(bad), plain(&bad["reason"]));
        }
        if let Some(options) = self.report.get(OPTIONS) {
            let _ = write!(out, "\nread them with options {options}");
        }
        for note in &self.notes {
            let _ = write!(out, "\nnote: {note}");
        }
        for (name, count) in &self.omitted {
            let _ = write!(out, "\n{count} more in {name}, left out for room");
        }
        if self.truncated {
            out.push_str("\ntruncated=true");
        }
        out
    }
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(char::is_control) => text.clone(),
        other => other.to_string(),
    }
}

/// Where a row is.
fn place(row: &Value) -> String {
    match row["file"].as_str() {
        Some(file) => format!("{file} line {}", row["line"]),
        None => format!("line {}", row["line"]),
    }
}

fn table(out: &mut String, columns: Option<&Value>, rows: &[Value]) {
    let columns = columns.and_then(Value::as_array).into_iter().flatten();
    let names: Vec<Value> =
        columns.map(|column| column.get("name").unwrap_or(column).clone()).collect();
    let _ = write!(out, "\n{}", line(&names));
    for row in rows {
        let row = row.as_array().map_or(&[][..], Vec::as_slice);
        let _ = write!(out, "\n{}", line(row));
    }
}

/// One column of a profile.
fn profiled(out: &mut String, column: &Value) {
    let _ = write!(out, "\n{} {}", plain(&column["name"]), plain(&column["type"]));
    for (name, word) in [
        ("nulls", "nulls"),
        ("distinct", if column["distinct_exact"] == false { "about distinct" } else { "distinct" }),
        ("min", "min"),
        ("max", "max"),
        ("mean", "mean"),
    ] {
        if let Some(value) = column.get(name) {
            let _ = write!(out, ", {word} {}", cell(value));
        }
    }
    let empty = Map::new();
    for (name, value) in column["quantiles"].as_object().unwrap_or(&empty) {
        let _ = write!(out, ", {name} {}", cell(value));
    }
    let top = column["top"].as_array().into_iter().flatten();
    let top: Vec<String> =
        top.map(|one| format!("{} {}×", cell(&one["value"]), one["count"])).collect();
    if !top.is_empty() {
        let _ = write!(out, ", top {}", top.join(", "));
    }
}

fn cell(value: &Value) -> String {
    line(std::slice::from_ref(value))
}

fn matched(out: &mut String, found: &Value) {
    for before in found["before"].as_array().into_iter().flatten() {
        let _ = write!(out, "\n  {}", plain(before));
    }
    let _ = write!(out, "\n{}: ", place(found));
    match found["values"].as_object() {
        Some(values) => {
            let values: Vec<String> =
                values.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect();
            out.push_str(&values.join("\t"));
        }
        None => out.push_str(&plain(&found["text"])),
    }
    for after in found["after"].as_array().into_iter().flatten() {
        let _ = write!(out, "\n  {}", plain(after));
    }
}

fn sampled(out: &mut String, row: &Value) {
    let values = row["values"].as_array().map_or(&[][..], Vec::as_slice);
    let _ = write!(out, "\n{}: {}", place(row), line(values));
}

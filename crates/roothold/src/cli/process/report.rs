//! The result of an operation, for people.
//!
//! What is not known here is shown as JSON, so that nothing of an answer gets lost.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::table::{Align, Table, bytes, cell, counted, line, thousands};
use super::options::Word;
use super::place::Place;
use super::words;

/// How many of the most frequent values stand in a profile's table.
const TOP_SHOWN: usize = 3;
/// How many characters each has there.
const TOP_CHARS_MAX: usize = 16;
/// How many bad rows are shown.
const BAD_SHOWN: usize = 20;

/// A result.
#[derive(Debug)]
pub(super) struct Report {
    operation: Word,
    value: Value,
}

impl Report {
    pub(super) fn new(operation: Word, value: Value) -> Self {
        Self { operation, value }
    }

    /// All that the tool answered.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// The operation's own result.
    pub(super) fn result(&self) -> &Value {
        let inner = &self.value["report"];
        if inner.is_object() { inner } else { &self.value }
    }

    /// Whether the answer to the question is no.
    pub(super) fn is_no(&self) -> bool {
        self.operation == Word::Validate && self.result()["valid"] == false
    }

    /// Whether rows that could not be read are missing from the result.
    pub(super) fn leaves_out(&self) -> bool {
        self.operation != Word::Validate && self.count("bad_rows") > 0
    }

    /// A count of the result, or of all that was answered.
    pub(super) fn count(&self, key: &str) -> u64 {
        self.result()[key].as_u64().or_else(|| self.value[key].as_u64()).unwrap_or(0)
    }

    /// A list of the result.
    pub(super) fn list(&self, key: &str) -> &[Value] {
        let list = self.result()[key].as_array().or_else(|| self.value[key].as_array());
        list.map_or(&[], Vec::as_slice)
    }

    /// The whole as text.
    pub(super) fn text(&self, place: &Place) -> String {
        let file = line(place.shown());
        let mut text = match self.operation {
            Word::Profile => self.profile(&file),
            Word::Aggregate => self.aggregate(&file),
            Word::Search => self.search(&file),
            Word::Validate => self.validate(&file),
            Word::Sample => self.sample(&file),
            Word::Sql => self.sql(),
            Word::Convert => self.convert(place),
        };
        text.push_str(&self.bad());
        for note in self.notes() {
            let _ = write!(text, "\nnote: {}", line(&note));
        }
        text
    }

    /// What else was answered: what was left out of the files, and out of the answer.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = self.value["notes"].as_array().into_iter().flatten().map(shown);
        let omitted = self.value["omitted"].as_object().into_iter().flatten();
        let omitted = omitted
            .map(|(name, count)| format!("{count} more in {name} were left out, there is no room"));
        told.chain(omitted).collect()
    }

    fn rows(&self) -> String {
        counted(self.count("rows"), "row", "rows")
    }

    fn profile(&self, file: &str) -> String {
        let columns = self.list("columns");
        let number = counted(columns.len() as u64, "column", "columns");
        let mut table = Table::new([
            ("column", Align::Left),
            ("type", Align::Left),
            ("nulls", Align::Right),
            ("distinct", Align::Right),
            ("least", Align::Left),
            ("greatest", Align::Left),
            ("mean", Align::Right),
            ("~median", Align::Right),
            ("most frequent", Align::Left),
        ]);
        for column in columns {
            table.push([
                shown(&column["name"]),
                shown(&column["type"]),
                count_and_share(&column["nulls"], &column["rows"]),
                distinct(column),
                short(&column["min"]),
                short(&column["max"]),
                short(&column["mean"]),
                short(&column["quantiles"]["p50"]),
                frequent(column),
            ]);
        }
        format!("{file}: {}, {number}\n\n{}", self.rows(), table.text())
    }

    fn aggregate(&self, file: &str) -> String {
        let groups = counted(self.count("groups"), "group", "groups");
        let shown = self.list("result").len();
        let cut = self.cut(shown, "--limit", 10_000);
        let cut = cut.map_or_else(String::new, |cut| format!("; {cut}"));
        format!("{file}: {} in {groups}{cut}\n\n{}", self.rows(), self.table("result"))
    }

    fn sql(&self) -> String {
        let shown = self.list("result").len();
        let cut = self.cut(shown, "--rows", 10_000);
        let cut = cut.map_or_else(String::new, |cut| format!("\n{cut}"));
        format!("{}{cut}", self.table("result"))
    }

    /// What to say where not all is shown: the flag that shows more, unless these are the most
    /// that it can.
    fn cut(&self, shown: usize, flag: &str, most: usize) -> Option<String> {
        if self.result()["truncated"] != true {
            return None;
        }
        Some(if shown >= most {
            format!("the first {} are shown, which are the most", thousands(most as u64))
        } else {
            format!("not all are shown; {flag} shows up to {}", thousands(most as u64))
        })
    }

    /// Rows, which are lists of values, below the names of the columns.
    fn table(&self, key: &str) -> String {
        let (names, rows) = (self.list("columns"), self.list(key));
        let head = names.iter().enumerate().map(|(at, column)| {
            let name = if column.is_object() { &column["name"] } else { column };
            let mut values = rows.iter().map(|row| &row[at]).filter(|value| !value.is_null());
            let is_number = values.next().is_some_and(Value::is_number);
            (shown(name), if is_number { Align::Right } else { Align::Left })
        });
        let mut table = Table::new(head);
        for row in rows {
            table.push(row.as_array().into_iter().flatten().map(tidy));
        }
        table.text()
    }

    fn sample(&self, file: &str) -> String {
        let (names, rows) = (self.list("columns"), self.list("sample"));
        let several = rows.iter().any(|row| row["file"].is_string());
        let places = [("file", Align::Left), ("line", Align::Right)];
        let places = places.into_iter().skip(usize::from(!several));
        let head = places.map(|(name, align)| (name.to_owned(), align));
        let mut table = Table::new(head.chain(names.iter().map(|name| (shown(name), Align::Left))));
        for row in rows {
            let file = several.then(|| shown(&row["file"]));
            let values = row["values"].as_array().into_iter().flatten().map(shown);
            table.push(file.into_iter().chain([shown(&row["line"])]).chain(values));
        }
        format!("{file}: {} of {}\n\n{}", thousands(rows.len() as u64), self.rows(), table.text())
    }

    fn search(&self, file: &str) -> String {
        let matches = self.list("matches");
        let total = counted(self.count("total"), "match", "matches");
        let mut text = format!("{file}: {total} in {}", self.rows());
        if let Some(cut) = self.cut(matches.len(), "--max-matches", 1_000) {
            let _ = write!(text, "; {cut}");
        }
        let has_context = |found: &Value| !found["before"].is_null() || !found["after"].is_null();
        for (at, found) in matches.iter().enumerate() {
            let gap = at == 0 || has_context(found);
            text.push_str(if gap { "\n\n" } else { "\n" });
            text.push_str(&one_match(found));
        }
        text
    }

    fn validate(&self, file: &str) -> String {
        let (good, bad) = (self.count("rows"), self.count("bad_rows"));
        let all = counted(good + bad, "row", "rows");
        let mut text = match self.result()["valid"].as_bool() {
            Some(true) => format!("{file} is valid: {all}"),
            _ if bad > 0 => format!("{file} is not valid: {} of {all} are bad", thousands(bad)),
            _ => format!("{file} is not valid"),
        };
        for problem in self.list("problems") {
            let _ = write!(text, "\n{}", line(&shown(problem)));
        }
        let extra: Vec<String> =
            self.list("extra_columns").iter().map(|name| line(&shown(name))).collect();
        if !extra.is_empty() {
            let _ = write!(text, "\ncolumns that were not asked about: {}", extra.join(", "));
        }
        text
    }

    fn convert(&self, place: &Place) -> String {
        let output = place.output_shown().unwrap_or_default();
        let written = self.value["output"]["bytes"].as_u64();
        let size = bytes(written.unwrap_or_else(|| self.count("bytes_written")));
        let guards = if self.result()["guard_formulas"] == true {
            "; cells that a spreadsheet would run begin with '"
        } else {
            ""
        };
        format!("wrote {} to {}: {size}{guards}", self.rows(), line(&output))
    }

    /// The rows that were left out.
    fn bad(&self) -> String {
        let (all, listed) = (self.count("bad_rows"), self.list("bad"));
        if all == 0 {
            return String::new();
        }
        let what = if self.operation == Word::Validate {
            "bad rows".to_owned()
        } else {
            format!("{} could not be read and left out", counted(all, "row", "rows"))
        };
        let mut text = format!("\n\n{what}");
        for row in listed.iter().take(BAD_SHOWN) {
            let file = row["file"].as_str().map(|file| format!("{} ", line(file)));
            let (file, reason) = (file.unwrap_or_default(), line(&shown(&row["reason"])));
            let _ = write!(text, "\n  {file}line {}: {reason}", shown(&row["line"]));
        }
        let more = all.saturating_sub(listed.len().min(BAD_SHOWN) as u64);
        if more > 0 {
            let _ = write!(text, "\n  … and {} more", thousands(more));
        }
        let options = &self.result()["options"];
        if options.is_object() {
            let _ = write!(text, "\nread them with {}", words::flags(options));
        }
        text
    }
}

/// A match as `grep` writes it: with its line, and those around it.
fn one_match(found: &Value) -> String {
    let file = found["file"].as_str().map(|file| format!("{}:", line(file))).unwrap_or_default();
    let at = found["line"].as_u64().unwrap_or(0);
    let around = |key: &str| found[key].as_array().cloned().unwrap_or_default();
    let (before, after) = (around("before"), around("after"));
    let mut lines = Vec::new();
    for (text, back) in before.iter().zip((1..=before.len() as u64).rev()) {
        lines.push(format!("{file}{}- {}", at.saturating_sub(back), line(&shown(text))));
    }
    let what = match found["values"].as_object() {
        None => line(&shown(&found["text"])),
        Some(values) => {
            let values = values
                .iter()
                .map(|(name, value)| format!("{}={}", line(name), cell(&shown(value))));
            values.collect::<Vec<_>>().join("  ")
        }
    };
    lines.push(format!("{file}{at}: {what}"));
    for (text, on) in after.iter().zip(1..) {
        lines.push(format!("{file}{}- {}", at + on, line(&shown(text))));
    }
    lines.join("\n")
}

/// A value as text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as text; of a sum of fractions without the digits that adding them up leaves behind.
fn tidy(value: &Value) -> String {
    let Some(number) = value.as_f64().filter(|_| value.is_f64()) else { return shown(value) };
    match format!("{number:.14e}").parse::<f64>() {
        Ok(rounded) if rounded == 0.0 || (1e-5..1e16).contains(&rounded.abs()) => {
            rounded.to_string()
        }
        Ok(rounded) => format!("{rounded:e}"),
        Err(_) => shown(value),
    }
}

fn shown_if(value: &Value) -> String {
    if value.is_null() { String::new() } else { shown(value) }
}

/// A number with as many digits as matter to people.
pub(super) fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => short_number(number),
        _ => shown_if(value),
    }
}

/// About six digits.
pub(super) fn short_number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let size = number.abs();
    if !(1e-4..1e15).contains(&size) {
        return format!("{number:.5e}");
    }
    // 6 digits in all, and none of those before the point is given up.
    let digits = if size >= 1e5 {
        0
    } else {
        [1e4, 1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3]
            .iter()
            .position(|least| size >= *least)
            .map_or(9, |at| at + 1)
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// How many distinct values there are, with `~` where that is an estimate.
pub(super) fn distinct(column: &Value) -> String {
    let about = if column["distinct_exact"] == true { "" } else { "~" };
    match column["distinct"].as_u64() {
        Some(number) => format!("{about}{}", thousands(number)),
        None => String::new(),
    }
}

/// A count, and its share of all where it is not nothing.
pub(super) fn count_and_share(part: &Value, all: &Value) -> String {
    let (part, all) = (part.as_u64().unwrap_or(0), all.as_u64().unwrap_or(0));
    if part == 0 {
        return "0".to_owned();
    }
    format!("{} ({})", thousands(part), percent(part, all))
}

/// A share, with one digit behind the point; only nothing is 0, and only all is 100.
pub(super) fn percent(part: u64, all: u64) -> String {
    let (part, all) = (u128::from(part), u128::from(all.max(1)));
    match (part * 1000 + all / 2) / all {
        0 if part > 0 => "<0.1 %".to_owned(),
        1000.. if part < all => ">99.9 %".to_owned(),
        permille => format!("{}.{} %", permille / 10, permille % 10),
    }
}

/// The most frequent values, where some value is there more than once.
fn frequent(column: &Value) -> String {
    let top = column["top"].as_array().map_or(&[][..], Vec::as_slice);
    if top.first().is_none_or(|first| first["count"].as_u64() <= Some(1)) {
        return String::new();
    }
    let values = column["rows"].as_u64().unwrap_or(0) - column["nulls"].as_u64().unwrap_or(0);
    let one = |entry: &Value| {
        let value = line(&shown(&entry["value"]));
        let mut short: String = value.chars().take(TOP_CHARS_MAX).collect();
        if short.len() < value.len() {
            short.push('…');
        }
        format!("{short} {}", percent(entry["count"].as_u64().unwrap_or(0), values))
    };
    top.iter().take(TOP_SHOWN).map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "report/tests.rs"]
mod tests;

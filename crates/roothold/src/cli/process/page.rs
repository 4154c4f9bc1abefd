//! A profile as one page of HTML: no script, no other file, nothing from the network.
//!
//! **Invariant**: every text of the data goes through [`escape`]; what it holds is never markup.

mod chart;

use std::fmt::Write as _;

use serde_json::Value;

use super::super::table::{counted, thousands};
use super::report::{Report, count_and_share, distinct, percent, short, shown};
use super::words;
use crate::plain::html as escape;
use chart::Marks;

const STYLE: &str = include_str!("page/style.css");

/// The page. `file` is what was profiled, `when` is when that was.
pub(super) fn page(report: &Report, file: &str, when: &str) -> String {
    let columns = report.list("columns");
    let rows = counted(report.count("rows"), "row", "rows");
    let number = counted(columns.len() as u64, "column", "columns");
    let file = escape(file);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Profile of {file}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Profile of <bdi>{file}</bdi></h1>\n<p>{rows}, {number}{}.</p>\n",
        bad_in_words(report)
    );
    for note in report.notes() {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&note));
    }
    page.push_str(&overview(columns));
    for (id, column) in columns.iter().enumerate() {
        page.push_str(&section(id, column));
    }
    page.push_str(&bad(report));
    let _ = writeln!(
        page,
        "</main>\n<footer><p>Made by roothold {} on {}. What is marked with ~, and every quantile, is an estimate; the rest is exact.</p></footer>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION"),
        escape(when)
    );
    page
}

fn name_of(column: &Value) -> String {
    escape(&shown(&column["name"]))
}

fn bad_in_words(report: &Report) -> String {
    match report.count("bad_rows") {
        0 => String::new(),
        bad => format!(
            "; <a href=\"#bad\">{}</a> could not be read and left out",
            counted(bad, "row", "rows")
        ),
    }
}

/// All columns in one table.
fn overview(columns: &[Value]) -> String {
    let mut table = "<div class=\"scroll\" role=\"region\" aria-labelledby=\"all\" tabindex=\"0\">\n<table>\n\
         <caption id=\"all\">All columns</caption>\n<thead><tr><th scope=\"col\">column</th><th scope=\"col\">type</th>\
         <th scope=\"col\" class=\"number\">nulls</th><th scope=\"col\" class=\"number\">distinct</th>\
         <th scope=\"col\">least</th><th scope=\"col\">greatest</th><th scope=\"col\" class=\"number\">mean</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for (id, column) in columns.iter().enumerate() {
        let value = |key: &str| match &column[key] {
            Value::Null => String::new(),
            value => escape(&short(value)),
        };
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\" class=\"value\"><a href=\"#c{id}\"><bdi>{}</bdi></a></th><td>{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"value\"><bdi>{}</bdi></td><td class=\"value\"><bdi>{}</bdi></td><td class=\"number\">{}</td></tr>",
            name_of(column),
            value("type"),
            escape(&count_and_share(&column["nulls"], &column["rows"])),
            distinct(column),
            value("min"),
            value("max"),
            value("mean"),
        );
    }
    table + "</tbody>\n</table>\n</div>\n"
}

/// One column: its numbers, and what can be drawn of it.
fn section(id: usize, column: &Value) -> String {
    let name = name_of(column);
    let mut section = format!(
        "<section class=\"column\" id=\"c{id}\" aria-labelledby=\"h{id}\">\n<h2 id=\"h{id}\"><bdi>{name}</bdi></h2>\n"
    );
    section.push_str(&facts(column));
    let top = column["top"].as_array().map_or(&[][..], Vec::as_slice);
    let all_in_top = column["distinct"].as_u64() == Some(top.len() as u64);
    let marks = if all_in_top { None } else { Marks::of(column) };
    if let Some(marks) = &marks {
        section.push_str(&marks.figure(id, &shown(&column["name"])));
        section.push_str(&quantiles(column));
    }
    let repeats = top.first().is_some_and(|first| first["count"].as_u64() > Some(1));
    if repeats || all_in_top && !top.is_empty() {
        section.push_str(&bars(column, top));
    } else if marks.is_none() && has_values(column) {
        section.push_str("<p class=\"note\">Nothing to draw: there are too many different values to count each, and they are no numbers that differ.</p>\n");
    }
    section + "</section>\n"
}

fn has_values(column: &Value) -> bool {
    column["rows"].as_u64() > column["nulls"].as_u64()
}

fn facts(column: &Value) -> String {
    let pairs = [
        ("type", shown(&column["type"])),
        ("rows", column["rows"].as_u64().map(thousands).unwrap_or_default()),
        ("nulls", count_and_share(&column["nulls"], &column["rows"])),
        ("distinct", distinct(column)),
        ("least", text_of(&column["min"])),
        ("greatest", text_of(&column["max"])),
        ("mean", short(&column["mean"])),
    ];
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(key, value)| {
        format!("<div><dt>{key}</dt><dd><bdi>{}</bdi></dd></div>", escape(value))
    });
    format!("<dl>{}</dl>\n", pairs.collect::<String>())
}

fn text_of(value: &Value) -> String {
    if value.is_null() { String::new() } else { shown(value) }
}

/// What the drawing shows, in numbers.
fn quantiles(column: &Value) -> String {
    let names = ["p01", "p05", "p25", "p50", "p75", "p95", "p99"];
    let cell = |tag: &str, text: &str| format!("<{tag} class=\"number\">{text}</{tag}>");
    let head: String = names
        .iter()
        .map(|name| {
            format!(
                "<th scope=\"col\" class=\"number\">{} %</th>",
                name[1..].trim_start_matches('0')
            )
        })
        .collect();
    let row: String =
        names.iter().map(|name| cell("td", &escape(&short(&column["quantiles"][name])))).collect();
    format!(
        "<div class=\"scroll\"><table><caption>Quantiles: so much of the values is below</caption><thead><tr>{head}</tr></thead><tbody><tr>{row}</tr></tbody></table></div>\n"
    )
}

/// The most frequent values, each with a bar as long as its share.
fn bars(column: &Value, top: &[Value]) -> String {
    let count = |entry: &Value| entry["count"].as_u64().unwrap_or(0);
    let values =
        column["rows"].as_u64().unwrap_or(0).saturating_sub(column["nulls"].as_u64().unwrap_or(0));
    let mut table = format!(
        "<div class=\"scroll\"><table><caption>{}</caption><thead><tr><th scope=\"col\">value</th>\
         <th scope=\"col\" class=\"number\">rows</th><th scope=\"col\" class=\"number\">share</th><th scope=\"col\">of all that are not null</th></tr></thead>\n<tbody>\n",
        if column["distinct"].as_u64() == Some(top.len() as u64) {
            "All values"
        } else {
            "The most frequent values"
        }
    );
    for entry in top {
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\" class=\"value\"><bdi>{}</bdi></th>{}</tr>",
            escape(&shown(&entry["value"])),
            bar(count(entry), values)
        );
    }
    let others = values.saturating_sub(top.iter().map(count).sum());
    if others > 0 {
        let _ =
            writeln!(table, "<tr><th scope=\"row\">all others</th>{}</tr>", bar(others, values));
    }
    table + "</tbody></table></div>\n"
}

/// The cells of a count: the number, its share, and that as a bar.
fn bar(count: u64, all: u64) -> String {
    // In thousandths, which are finer than a screen.
    let width = u128::from(count) * 1000 / u128::from(all.max(1));
    format!(
        "<td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td><svg class=\"share\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"bar\" width=\"{}\" height=\"10\"/></svg></td>",
        thousands(count),
        escape(&percent(count, all)),
        width.max(3),
    )
}

/// The rows that were left out.
fn bad(report: &Report) -> String {
    let (all, listed) = (report.count("bad_rows"), report.list("bad"));
    if all == 0 {
        return String::new();
    }
    let mut section = format!(
        "<section class=\"column\" id=\"bad\" aria-labelledby=\"hbad\">\n<h2 id=\"hbad\">Rows that could not be read</h2>\n<p>{} in all; the first of them:</p>\n<ul>\n",
        thousands(all)
    );
    for row in listed {
        let file = row["file"].as_str().map(|file| format!("<bdi>{}</bdi>, ", escape(file)));
        let _ = writeln!(
            section,
            "<li>{}line {}: <bdi>{}</bdi></li>",
            file.unwrap_or_default(),
            escape(&shown(&row["line"])),
            escape(&shown(&row["reason"]))
        );
    }
    section.push_str("</ul>\n");
    let options = &report.result()["options"];
    if options.is_object() {
        let flags = escape(&words::flags(options));
        let _ = writeln!(section, "<p>Read them with <code>{flags}</code></p>");
    }
    section + "</section>\n"
}

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;

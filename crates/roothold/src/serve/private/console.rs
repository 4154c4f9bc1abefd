//! What `/status` and `/metrics` say, as one page for a person: no script, no other file, nothing from
//! the network. The browser asks for it again by itself.
//!
//! **Invariant**: every text that is not of these files goes through [`html`].

mod tools;

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderName;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use serde_json::Value;

use crate::plain::{bytes, counted, html, thousands};
use crate::telemetry::Sample;
use crate::telemetry::described::{Described, GROUPS, Kind};

const STYLE: &str = include_str!("console.css");

/// How often the browser asks again, in seconds.
const EVERY: u32 = 5;

/// What every answer of the private port says to browsers: it is nobody else's to show, keep or run.
pub(super) fn headers() -> [(HeaderName, &'static str); 5] {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
                  base-uri 'none'; form-action 'none'";
    [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ]
}

/// The page of a status and the metrics of the same moment.
pub(super) fn page(status: &Value, metrics: &str) -> String {
    let samples = Samples::parse(metrics);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"{EVERY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}Roothold</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        if status["ready"] == true { "" } else { "NOT READY: " }
    );
    page.push_str(&head(status, &samples));
    page.push_str(&tools::table(&samples));
    page.push_str(&databases(&status["databases"]));
    for group in &GROUPS {
        let rows: String = group.metrics.iter().map(|metric| rows(metric, &samples)).collect();
        if !rows.is_empty() {
            page.push_str(&section(group.title, &["metric", "labels", "#value"], &rows));
        }
    }
    let _ = write!(
        page,
        "</main>\n<footer>As of now, anew every {EVERY} seconds; counted since the process began. \
         <a href=\"/metrics\">/metrics</a>, <a href=\"/status\">/status</a></footer>\n</body>\n</html>\n"
    );
    page
}

/// Whether it is well, and what is wrong.
fn head(status: &Value, samples: &Samples<'_>) -> String {
    let word = match (status["stopping"] == true, status["ready"] == true) {
        (true, _) => "<span class=\"state bad\">stopping</span>",
        (_, true) => "<span class=\"state good\">ready</span>",
        _ => "<span class=\"state bad\">not ready</span>",
    };
    let mut head = format!("<h1>Roothold {word}</h1>\n");
    for what in wrong(status, samples) {
        let _ = writeln!(head, "<p class=\"bad\">{what}</p>");
    }
    let started = samples.sum("process_start_time_seconds", &[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let text = |value: &Value| html(value.as_str().unwrap_or_default());
    let facts = [
        ("version", text(&status["version"])),
        ("up for", lasting(now - started)),
        ("calls in flight", whole(samples.sum("roothold_calls_in_flight", &[]))),
        ("memory", bytes_of(samples.sum("process_resident_memory_bytes", &[]))),
        ("landlock", text(&status["walls"]["landlock"]["state"])),
        ("seccomp", yes(&status["walls"]["seccomp"]).to_owned()),
    ];
    head.push_str("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(head, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    head.push_str("</dl>\n");
    head
}

/// What an operator must know, each in a sentence.
fn wrong(status: &Value, samples: &Samples<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if status["audit_healthy"] != true {
        wrong.push("The audit log cannot be written, so every call is refused.".to_owned());
    }
    if samples.sum("roothold_config_refused", &[]) > 0.0 {
        let what = "The configuration that was read last was refused; the log says why.";
        wrong.push(what.to_owned());
    }
    for database in status["databases"].as_array().into_iter().flatten() {
        let text = |key: &str| html(database[key].as_str().unwrap_or_default());
        let name = text("name");
        match database["state"].as_str() {
            Some("down") => {
                wrong.push(format!("The database {name} does not answer: {}", text("reason")));
            }
            Some("disabled") => wrong.push(format!(
                "The database {name} is disabled: its role can do more than read. `roothold check` says what mends it."
            )),
            _ => {}
        }
    }
    wrong
}

/// Each database by itself; metrics know their kinds only.
fn databases(all: &Value) -> String {
    let mut rows = String::new();
    for one in all.as_array().into_iter().flatten() {
        let text = |key: &str| html(one[key].as_str().unwrap_or_default());
        let is_well = one["state"] == "ready" || one["state"] == "unasked";
        let class = if is_well { "good" } else { "bad" };
        let connections = &one["connections"];
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{}</td>\
             <td class=\"number\">{} of {}</td></tr>",
            text("name"),
            text("kind"),
            text("access"),
            yes(&one["required"]),
            text("state"),
            connections["in_use"],
            connections["max"],
        );
    }
    if rows.is_empty() {
        return rows;
    }
    let columns = ["database", "kind", "access", "required", "state", "#connections"];
    section("Databases by name", &columns, &rows)
}

/// The rows of a metric, one for each of its series that there is.
fn rows(metric: &Described, samples: &Samples<'_>) -> String {
    let name = metric.exposed();
    let of_histogram = format!("{name}_count");
    let sought = if metric.kind() == Kind::Histogram { &of_histogram } else { &name };
    let mut rows = String::new();
    for sample in samples.of(sought) {
        let labels = sample.labels.iter().filter(|(_, value)| !value.is_empty());
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let value = match metric.kind() {
            Kind::Histogram => {
                let sum = samples.sum(&format!("{name}_sum"), &sample.labels);
                format!("{} × {}", whole(sample.value), lasting(mean(sum, sample.value)))
            }
            _ if name == "process_start_time_seconds" => whole(sample.value),
            _ if name.contains("_bytes") => bytes_of(sample.value),
            _ if name.contains("_seconds") => lasting(sample.value),
            _ => whole(sample.value),
        };
        let (title, shown) = (html(metric.about()), html(&labels.join(" ")));
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\" title=\"{title}\">{name}</th><td>{shown}</td><td class=\"number\">{value}</td></tr>"
        );
    }
    rows
}

/// A table with a title. A column of numbers has a `#` before its name.
fn section(title: &str, columns: &[&str], rows: &str) -> String {
    let mut section = format!(
        "<section>\n<h2>{title}</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"{title}\">\n<table>\n<thead><tr>"
    );
    for column in columns {
        let of_numbers = column.strip_prefix('#');
        let class = if of_numbers.is_some() { " class=\"number\"" } else { "" };
        let _ = write!(section, "<th scope=\"col\"{class}>{}</th>", of_numbers.unwrap_or(column));
    }
    let _ =
        write!(section, "</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n");
    section
}

fn yes(value: &Value) -> &'static str {
    if *value == true { "yes" } else { "no" }
}

/// The lines of the metrics.
struct Samples<'a>(Vec<Sample<'a>>);

impl<'a> Samples<'a> {
    fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(Sample::parse).collect())
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample<'a>> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of all series that have these labels among theirs.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample<'_>| labels.iter().all(|label| sample.labels.contains(label));
        self.of(name).filter(has).map(|sample| sample.value).sum()
    }
}

fn mean(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 0.0 }
}

/// A number without what stands behind the point, except a small one's first digits.
fn whole(number: f64) -> String {
    if number.fract() != 0.0 && number.abs() < 100.0 {
        return format!("{number:.2}");
    }
    thousands(rounded(number))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for a person's eyes; what is negative or beyond all numbers is cut to the nearest"
)]
fn rounded(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

fn bytes_of(number: f64) -> String {
    bytes(rounded(number))
}

/// A time in the unit that suits it.
fn lasting(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0 s".to_owned(),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => counted(rounded(s / 86_400.0), "day", "days"),
    }
}

#[cfg(test)]
mod tests;

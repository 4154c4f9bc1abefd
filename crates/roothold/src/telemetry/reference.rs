//! The reference page of the metrics, made from their descriptions.

use std::fmt::Write as _;

use super::described::{Described, GROUPS, Kind, Label, SETS, Values};

const HEAD: &str = "# Metrics

This page is made from the code by `cargo xtask golden`; do not edit it.

`GET /metrics` on the private port (`telemetry.listen`, by default `127.0.0.1:9464`) says all of this as OpenMetrics text, which
Prometheus scrapes. A metric with labels has a series once there is something to count; those whose values are few begin at 0.
No label is a path, a principal, a database, SQL or an id, so that there are as many series as this page says, whatever
callers send. `deploy/prometheus` has rules and alerts over these, `deploy/grafana` dashboards, and `docs/runbook.md` what to do.

A histogram `NAME` is scraped as `NAME_bucket{le=…}`, `NAME_sum` and `NAME_count`.
";

/// The page, as Markdown.
pub fn metrics_reference() -> String {
    let mut page = String::from(HEAD);
    for group in &GROUPS {
        let _ = write!(page, "\n## {}\n\n", group.title);
        if !group.about.is_empty() {
            let _ = write!(page, "{}\n\n", group.about);
        }
        page.push_str("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
        for metric in group.metrics {
            row(&mut page, metric);
        }
    }
    page.push_str("\n## Values of labels\n\n| values | words | meaning |\n|---|---|---|\n");
    for set in SETS {
        let all =
            if set.words.is_empty() { "names of tools".to_owned() } else { quoted(set.words) };
        let _ = writeln!(page, "| *{}* | {all} | {} |", set.name, set.about);
    }
    page
}

fn row(page: &mut String, metric: &Described) {
    let labels: Vec<String> = metric.labels().iter().map(label).collect();
    let (name, kind) = (metric.exposed(), metric.kind().as_str());
    let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join("; "), metric.about());
}

fn label(label: &Label) -> String {
    let values = match &label.values {
        Values::Set(set) => format!("*{}*", set.name),
        // Each release would make another page of it.
        Values::Words(_) if label.name == "version" => "the program's version".to_owned(),
        Values::Words(words) => quoted(words),
    };
    format!("`{}`: {values}", label.name)
}

fn quoted(words: &[&str]) -> String {
    let quoted =
        |word: &&str| if word.is_empty() { "empty".to_owned() } else { format!("`{word}`") };
    words.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// What in a text of metrics is not as described: a name, a kind, a label or a value of one. Values that are
/// names of tools are whatever `is_tool` says.
pub fn undescribed(text: &str, is_tool: impl Fn(&str) -> bool) -> Vec<String> {
    let all: Vec<&Described> = GROUPS.iter().flat_map(|group| group.metrics).copied().collect();
    let known = |sample: &str| {
        all.iter().find(|one| {
            let rest = sample.strip_prefix(one.exposed().as_str());
            rest.is_some_and(|rest| match one.kind() {
                Kind::Histogram => ["_bucket", "_sum", "_count"].contains(&rest),
                Kind::Counter | Kind::Gauge => rest.is_empty(),
            })
        })
    };
    let mut wrong = Vec::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse) {
        let Some(described) = known(sample.name) else {
            wrong.push(sample.name.to_owned());
            continue;
        };
        for (name, value) in &sample.labels {
            let is_bucket = described.kind() == Kind::Histogram && *name == "le";
            let label = described.labels().iter().find(|label| label.name == *name);
            let fits = label.is_some_and(|label| match &label.values {
                Values::Words(words) => words.contains(value),
                Values::Set(set) if set.words.is_empty() => {
                    value.is_empty() || *value == "other" || is_tool(value)
                }
                Values::Set(set) => set.words.contains(value),
            });
            if !fits && !is_bucket {
                wrong.push(format!("{}{{{name}={value:?}}}", sample.name));
            }
        }
    }
    wrong
}

/// A line of metrics.
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) value: f64,
}

impl<'a> Sample<'a> {
    /// A line that is no comment. Values of labels here hold neither quotes nor backslashes.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, labels)) = series.split_once('{') else {
            return Some(Self { name: series, labels: Vec::new(), value });
        };
        let labels = labels.strip_suffix('}')?.split("\",");
        let pair = |pair: &'a str| {
            let (name, value) = pair.split_once("=\"")?;
            Some((name, value.strip_suffix('"').unwrap_or(value)))
        };
        Some(Self { name, labels: labels.filter_map(pair).collect(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_described_is_found() {
        let text = "# TYPE roothold_denials counter\nroothold_denials_total{rule=\"read\"} 3\n\
                    roothold_denials_total{rule=\"/etc/shadow\"} 1\nroothold_denials{rule=\"read\"} 1\n\
                    roothold_calls_in_flight 0\nroothold_calls_in_flight{who=\"anna\"} 0\nroothold_else 1\n\
                    roothold_job_run_duration_seconds_bucket{le=\"+Inf\",gen_ai_tool_name=\"t\"} 1\n\
                    roothold_job_run_duration_seconds_bucket{le=\"1.0\",gen_ai_tool_name=\"u\"} 1\n# EOF\n";
        assert_eq!(
            undescribed(text, |name| name == "t"),
            [
                "roothold_denials_total{rule=\"/etc/shadow\"}",
                "roothold_denials",
                "roothold_calls_in_flight{who=\"anna\"}",
                "roothold_else",
                "roothold_job_run_duration_seconds_bucket{gen_ai_tool_name=\"u\"}",
            ]
        );
    }

    #[test]
    fn a_sample_is_parsed_whole() {
        let line = "a_total{one=\"1\",two=\"\",three=\"a b\"} 1.5";
        let sample = Sample::parse(line).unwrap();
        assert_eq!((sample.name, sample.value), ("a_total", 1.5));
        assert_eq!(sample.labels, [("one", "1"), ("two", ""), ("three", "a b")]);
        assert!(Sample::parse("a{one=\"1\" 2").is_none());
    }
}

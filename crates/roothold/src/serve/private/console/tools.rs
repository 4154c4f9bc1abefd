//! What calls of each tool came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Samples, bytes_of, lasting, mean, rounded, section, whole};
use crate::plain::html;

const DURATION: &str = "mcp_server_operation_duration_seconds";
const TOOL: &str = "gen_ai_tool_name";

/// The calls of one tool.
#[derive(Default)]
struct Calls {
    count: f64,
    failed: f64,
    sum: f64,
    /// How many took at most so many microseconds.
    buckets: BTreeMap<u64, f64>,
}

/// What no bound holds.
const BOUNDLESS: u64 = u64::MAX;

impl Calls {
    /// The bound that at least `share` of the calls kept below.
    fn below(&self, share: f64) -> String {
        let enough = self.count * share;
        match self.buckets.iter().find(|(_, count)| **count >= enough) {
            Some((&BOUNDLESS, _)) => "more".to_owned(),
            Some((us, _)) => {
                format!("≤ {}", lasting(Duration::from_micros(*us).as_secs_f64()))
            }
            None => String::new(),
        }
    }
}

/// The table; nothing before the first call.
pub(super) fn table(samples: &Samples<'_>) -> String {
    let rows: String =
        by_tool(samples).into_iter().map(|(tool, calls)| row(samples, tool, &calls)).collect();
    if rows.is_empty() {
        return rows;
    }
    let columns = ["tool", "#calls", "#failed", "#mean", "#half", "#95 %", "#answers", "#cut"];
    section("Tools", &columns, &rows)
}

fn by_tool<'a>(samples: &'a Samples<'_>) -> BTreeMap<&'a str, Calls> {
    let mut tools: BTreeMap<&str, Calls> = BTreeMap::new();
    for (part, name) in
        ["_count", "_sum", "_bucket"].map(|part| (part, format!("{DURATION}{part}")))
    {
        for sample in samples.0.iter().filter(|sample| sample.name == name) {
            let label = |sought| sample.labels.iter().find(|(name, _)| *name == sought);
            let Some((_, tool)) = label(TOOL).filter(|(_, tool)| !tool.is_empty()) else {
                continue;
            };
            let calls = tools.entry(tool).or_default();
            match part {
                "_count" => {
                    calls.count += sample.value;
                    let failed = label("error_type").is_some_and(|(_, fault)| !fault.is_empty());
                    calls.failed += if failed { sample.value } else { 0.0 };
                }
                "_sum" => calls.sum += sample.value,
                _ => {
                    let bound = label("le").and_then(|(_, bound)| bound.parse::<f64>().ok());
                    let bound = bound.filter(|bound| bound.is_finite());
                    let us = bound.map_or(BOUNDLESS, |bound| rounded(bound * 1e6));
                    *calls.buckets.entry(us).or_default() += sample.value;
                }
            }
        }
    }
    tools
}

fn row(samples: &Samples<'_>, tool: &str, calls: &Calls) -> String {
    let mut row = format!("<tr><th scope=\"row\">{}</th>", html(tool));
    let label = [(TOOL, tool)];
    let cells = [
        whole(calls.count),
        whole(calls.failed),
        lasting(mean(calls.sum, calls.count)),
        calls.below(0.5),
        calls.below(0.95),
        bytes_of(samples.sum("roothold_answer_bytes_total", &label)),
        whole(samples.sum("roothold_answers_cut_total", &label)),
    ];
    for cell in cells {
        let _ = write!(row, "<td class=\"number\">{cell}</td>");
    }
    row.push_str("</tr>\n");
    row
}

//! `bench datasets`: what questions about large files cost, beside DuckDB and Polars on the same
//! files; and what calls of others notice of them meanwhile.
//!
//! Every contender takes its turn in a process of its own, with two threads. The figure is the time
//! that the question took, without that of the start; the memory is the whole process's. Only equal
//! answers count.

mod beside;
mod corpus;
mod large;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Options;
use super::family::memory_of;
use super::report::{Goal, Row, median};
use super::rivals::{DATAFRAMES, install_dataframes};
use super::stdio::{Call, Session};
use corpus::Events;

/// Where the rivals' side of it is written down.
const SCRIPT: &str = "xtask/src/bench/dataframes.py";

/// The formats, with how much of the faster rival's speed is the goal.
const FORMATS: [(&str, f64); 3] = [("csv", 1.0), ("jsonl", 1.0 / 1.1), ("parquet", 1.0)];

const OPERATIONS: [(&str, &str); 4] = [
    ("group", "group by two columns"),
    ("filter", "count of lines with a word"),
    ("top", "the greatest 100"),
    ("profile", "profile of every column"),
];

/// The columns of numbers whose profiles are compared.
const PROFILED: [&str; 2] = ["id", "amount"];

pub(super) fn run(root: &Path, options: &Options) -> anyhow::Result<Vec<Row>> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("the bench lies in TARGET/PROFILE")?;
    let python = install_dataframes(root)?;
    if options.large {
        return large::run(target, options, &python);
    }
    let script = root.join(SCRIPT);
    let events = Events::open(target, options.quick, (&python, &script))?;
    let home = tempfile::tempdir()?;
    let bench = Bench { events, python, script, home, options };
    let idle = bench.start()?.family().rss_mib()?;
    let mut rows = vec![Row::new("memory, idle", "MiB", idle, None, None)];
    for (format, least) in FORMATS {
        for (operation, title) in OPERATIONS {
            let name = format!("{title}, {} of {format}", bench.events.size_of(format)?);
            if options.wants(&name) {
                rows.extend(bench.compare(&name, operation, format, least)?);
            }
        }
    }
    if options.wants(beside::NAME) {
        rows.extend(beside::run(&bench)?);
    }
    Ok(rows)
}

struct Bench<'a> {
    events: Events,
    python: PathBuf,
    script: PathBuf,
    home: tempfile::TempDir,
    options: &'a Options,
}

/// How one turn went.
struct Turn {
    seconds: f64,
    peak_mib: f64,
    answer: Value,
}

/// What the rivals' script prints.
#[derive(Deserialize)]
struct Printed {
    seconds: f64,
    answer: Value,
}

impl Bench<'_> {
    /// All three in turn, and how Roothold did beside the better of the others.
    fn compare(
        &self,
        name: &str,
        operation: &str,
        format: &str,
        least: f64,
    ) -> anyhow::Result<[Row; 2]> {
        println!("\n{name}");
        let file = self.events.file(format);
        let mut turns: [Vec<Turn>; 3] = Default::default();
        for _ in 0..self.options.rounds() {
            turns[0].push(self.ours(operation, &file)?);
            turns[1].push(self.rival("duckdb", operation, &file)?);
            turns[2].push(self.rival("polars", operation, &file)?);
        }
        let expected = &turns[1][0].answer;
        for (who, turn) in ["roothold", "duckdb", "polars"].iter().zip(&turns) {
            for turn in turn {
                ensure!(
                    same(&turn.answer, expected),
                    "{who} answers {} and duckdb {expected}",
                    turn.answer
                );
            }
        }
        let middle = |at: usize| -> anyhow::Result<(f64, f64)> {
            let seconds = median(turns[at].iter().map(|turn| turn.seconds).collect());
            let peak = median(turns[at].iter().map(|turn| turn.peak_mib).collect());
            Ok((seconds.context("no turns")?, peak.context("no turns")?))
        };
        let (ours, duckdb, polars) = (middle(0)?, middle(1)?, middle(2)?);
        for (who, (seconds, peak)) in [("roothold", ours), ("duckdb", duckdb), ("polars", polars)] {
            println!("  {who:10} {seconds:>8.3} s {peak:>8.1} MiB");
        }
        let (duckdb_name, polars_name) = (DATAFRAMES[0], DATAFRAMES[1]);
        let faster =
            if duckdb.0 <= polars.0 { (duckdb_name, duckdb.0) } else { (polars_name, polars.0) };
        let smaller =
            if duckdb.1 <= polars.1 { (duckdb_name, duckdb.1) } else { (polars_name, polars.1) };
        Ok([
            Row::new(
                format!("{name}: elapsed"),
                "s",
                ours.0,
                Some(faster),
                Some(Goal::RatioAtLeast(least)),
            ),
            Row::new(
                format!("{name}: peak memory"),
                "MiB",
                ours.1,
                Some(smaller),
                Some(Goal::RatioAtLeast(1.0)),
            ),
        ])
    }

    fn start(&self) -> anyhow::Result<Session> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name("roothold"));
        command.arg("stdio").arg("--audit-dir").arg(self.home.path().join("audit"));
        command.env("ROOTHOLD_STATE__DIR", self.home.path().join("state"));
        command.env("ROOTHOLD_DATASET_ENGINE__THREADS", "2");
        Session::start(command.arg(&self.events.place))
    }

    fn ours(&self, operation: &str, file: &Path) -> anyhow::Result<Turn> {
        let mut session = self.start()?;
        // Starts the engine, as the others are loaded before their time is taken.
        let small = self.events.place.join("small.csv");
        std::fs::write(&small, "region\nnorth\n")?;
        let small = json!({"data_source": small, "sql": "SELECT region FROM data"});
        session.structured(&Call::new("query_dataset", small))?;
        let call = ours(operation, file)?;
        let started = Instant::now();
        let result = session.structured(&call)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Turn {
            seconds,
            peak_mib: session.family().peak_mib()?,
            answer: answer(operation, &result)?,
        })
    }

    /// A rival, in a process that tells its own peak: that of its whole life, as ours.
    fn rival(&self, who: &str, operation: &str, file: &Path) -> anyhow::Result<Turn> {
        let mut child = Command::new(&self.python)
            .arg("-B")
            .arg(&self.script)
            .args([who, operation])
            .arg(file)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let mut peak_mib: f64 = 0.0;
        let status = loop {
            // The peak only grows, so the last look before its end is close to it.
            let text = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
            let peak = text.ok().and_then(|text| memory_of(&text, "VmHWM:"));
            peak_mib = peak_mib.max(peak.unwrap_or(0.0));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        ensure!(status.success(), "{who} could not answer");
        let output = std::io::read_to_string(child.stdout.take().context("its output is a pipe")?)?;
        let Printed { seconds, answer } =
            serde_json::from_str(&output).context("a rival's answer")?;
        Ok(Turn { seconds, peak_mib, answer })
    }
}

/// What Roothold is asked.
fn ours(operation: &str, file: &Path) -> anyhow::Result<Call> {
    let file = file.to_str().context("a folder's name is not UTF-8")?;
    let sql = match operation {
        "group" => {
            "SELECT region, category, count(*), sum(amount), avg(amount) FROM data \
             GROUP BY region, category ORDER BY region, category"
        }
        "filter" => "SELECT count(*) FROM data WHERE message LIKE '%timeout%'",
        "top" => "SELECT id, region, amount, message FROM data ORDER BY amount DESC, id LIMIT 100",
        "profile" => {
            let arguments = json!({"data_source": file, "operation": "profile"});
            return Ok(Call::new("process_large_dataset", arguments));
        }
        other => bail!("there is no operation {other}"),
    };
    Ok(Call::new("query_dataset", json!({"data_source": file, "sql": sql})))
}

/// Its answer in the form of the others'.
fn answer(operation: &str, result: &Value) -> anyhow::Result<Value> {
    if operation != "profile" {
        return Ok(result["rows"].clone());
    }
    let columns =
        result["result"]["report"]["columns"].as_array().context("a profile has columns")?;
    let of = |name: &str| {
        let column = columns.iter().find(|column| column["name"] == json!(name));
        let column = column.with_context(|| format!("the profile has no column {name}"))?;
        Ok(json!([name, column["rows"], column["min"], column["max"], column["mean"]]))
    };
    PROFILED.iter().map(|name| of(name)).collect::<anyhow::Result<Vec<_>>>().map(Value::Array)
}

/// Whether two answers are equal, but for the last digits of numbers.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
            _ => false,
        },
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_equal_but_for_the_last_digits() {
        assert!(same(&json!([["a", 3, 0.1]]), &json!([["a", 3.0, 0.100_000_000_000_01]])));
        assert!(!same(&json!([["a", 3, 0.1]]), &json!([["a", 3, 0.1001]])));
        assert!(!same(&json!([["a"]]), &json!([["a"], ["b"]])));
        assert!(!same(&json!([["1"]]), &json!([[1]])));
    }
}

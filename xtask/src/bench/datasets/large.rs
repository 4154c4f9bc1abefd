//! `bench datasets --large`: what files of ten gigabytes take of memory, and how often the client
//! hears how far it is. Each file is made, asked about and removed, so that the disk holds one.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::super::Options;
use super::super::corpus::Random;
use super::super::report::{Goal, Row};
use super::super::stdio::{Call, Session};
use super::beside::is_result;

/// Memory above an idle server's that a fold may take, and what needs the pool, in MiB.
const FOLD_MIB_MAX: f64 = 128.0;
const POOL_MIB_MAX: f64 = 320.0;
const POOL_BYTES: u64 = 256 * 1024 * 1024;
/// The longest time between two words about it, and until the first one.
const SILENCE_MAX_MS: f64 = 500.0;

/// What is asked: its name, its arguments besides the file, and what it may take.
fn questions() -> [(&'static str, Call, f64); 4] {
    let sql = |sql: &str| Call::new("query_dataset", json!({"sql": sql}));
    let aggregate = json!({"operation": "aggregate", "group_by": ["region"], "aggregates": [
        {"function": "count"}, {"function": "sum", "column": "amount"}, {"function": "avg", "column": "amount"},
    ]});
    let profile = json!({"operation": "profile"});
    [
        ("profile", Call::new("process_large_dataset", profile), FOLD_MIB_MAX),
        ("aggregate", Call::new("process_large_dataset", aggregate), FOLD_MIB_MAX),
        (
            "sort of all rows",
            sql(
                "SELECT max(at) FROM (SELECT row_number() OVER (ORDER BY amount, id) AS at FROM data)",
            ),
            POOL_MIB_MAX,
        ),
        (
            "group by as many keys as rows",
            sql("SELECT count(*) FROM (SELECT id, count(*) FROM data GROUP BY id)"),
            POOL_MIB_MAX,
        ),
    ]
}

pub(super) fn run(target: &Path, options: &Options, python: &Path) -> anyhow::Result<Vec<Row>> {
    let place = target.join("bench-large");
    std::fs::create_dir_all(&place)?;
    let home = tempfile::tempdir_in(target)?;
    let text_bytes: u64 = if options.quick { 1_000_000_000 } else { 10_000_000_000 };
    let mut rows = Vec::new();
    for format in ["csv", "jsonl", "parquet"] {
        if !options.wants(format) {
            continue;
        }
        let file = place.join(format!("large.{format}"));
        match format {
            "parquet" => parquet(&file, text_bytes / 5, python)?,
            _ => text(&file, text_bytes)?,
        }
        let bytes = std::fs::metadata(&file)?.len();
        for (name, call, most) in questions() {
            let name = format!("{name}, {} MB of {format}", bytes / 1_000_000);
            println!("\n{name}");
            rows.extend(ask(&name, &call.over(&file)?, most, (&place, home.path()))?);
        }
        std::fs::remove_file(&file)?;
    }
    Ok(rows)
}

/// One question to a server of its own.
fn ask(
    name: &str,
    call: &Call,
    most: f64,
    (place, home): (&Path, &Path),
) -> anyhow::Result<Vec<Row>> {
    let mut session = start(place, home)?;
    let idle = session.family().rss_mib()?;
    let started = Instant::now();
    let id = session.begin(call, Some("large"))?;
    let mut heard: Vec<Duration> = Vec::new();
    loop {
        let message = session.message()?;
        if message["id"] == json!(id) {
            is_result(&message)?;
            break;
        }
        let said = message["params"]["message"].as_str().unwrap_or_default();
        if said.starts_with("Processed: ") {
            heard.push(started.elapsed());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let above = session.family().peak_mib()? - idle;
    println!("  {seconds:.1} s, {above:.1} MiB above idle, told {} times", heard.len());
    let mut rows = vec![
        Row::new(
            format!("{name}: memory above idle"),
            "MiB",
            above,
            None,
            Some(Goal::AtMost(most)),
        ),
        Row::new(format!("{name}: elapsed"), "s", seconds, None, None),
    ];
    if most < POOL_MIB_MAX {
        let first = heard.first().map_or(f64::INFINITY, |first| first.as_secs_f64() * 1e3);
        let gaps = heard.windows(2).map(|two| two[1].saturating_sub(two[0]).as_secs_f64() * 1e3);
        let longest = gaps.fold(0.0, f64::max);
        for (what, figure) in [("first word", first), ("longest silence", longest)] {
            let goal = Some(Goal::AtMost(SILENCE_MAX_MS));
            rows.push(Row::new(format!("{name}: {what}"), "ms", figure, None, goal));
        }
    }
    Ok(rows)
}

fn start(place: &Path, home: &Path) -> anyhow::Result<Session> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("roothold"));
    command.arg("stdio").arg("--audit-dir").arg(home.join("audit"));
    command.env("ROOTHOLD_STATE__DIR", home.join("state"));
    command.env("ROOTHOLD_DATASET_ENGINE__MEMORY_BYTES_MAX", POOL_BYTES.to_string());
    command.env("ROOTHOLD_DATASET_ENGINE__QUERY_TIMEOUT_SECONDS", "600");
    Session::start(command.arg(place))
}

/// Records of CSV or JSON Lines.
fn text(file: &Path, bytes: u64) -> anyhow::Result<()> {
    println!("making {}", file.display());
    let is_csv = file.extension().is_some_and(|end| end == "csv");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let (mut random, mut written, mut id) = (Random(7), 0, 0_u64);
    if is_csv {
        writeln!(out, "id,region,amount,message")?;
    }
    while written < bytes {
        let region = random.pick(&["north", "south", "east", "west"]);
        let quarters = random.below(4_000_000_000);
        let amount = format!("{}.{:02}", quarters / 4, quarters % 4 * 25);
        let message = format!("event {:x} of {:x}", random.below(1 << 48), random.below(1 << 48));
        let line = if is_csv {
            format!("{id},{region},{amount},{message}\n")
        } else {
            format!(
                "{{\"id\":{id},\"region\":\"{region}\",\"amount\":{amount},\"message\":\"{message}\"}}\n"
            )
        };
        out.write_all(line.as_bytes())?;
        written += line.len() as u64;
        id += 1;
    }
    Ok(out.flush()?)
}

/// The same columns as Parquet; of what cannot be compressed, to be so large.
fn parquet(file: &Path, bytes: u64, python: &Path) -> anyhow::Result<()> {
    println!("making {}", file.display());
    // About 24 bytes a row, compressed: a number, one of four words, an amount, and 32 random hexadecimal digits.
    let sql = format!(
        "COPY (SELECT i AS id, ['north','south','east','west'][1 + i % 4] AS region, \
         floor(random() * 4e9) / 4 AS amount, substr(md5(random()::VARCHAR), 1, 32) AS message \
         FROM range({}) t(i)) TO '{}' (FORMAT parquet, COMPRESSION zstd)",
        bytes / 24,
        file.display()
    );
    let program = "import duckdb, sys; base = duckdb.connect(config={'threads': 2}); \
                   base.execute('SET enable_progress_bar = false'); base.execute(sys.argv[1])";
    let status = Command::new(python).args(["-c", program, &sql]).status()?;
    ensure!(status.success(), "Parquet could not be made");
    Ok(())
}

impl Call {
    /// The same over a file.
    fn over(self, file: &Path) -> anyhow::Result<Self> {
        let file = file.to_str().context("a folder's name is not UTF-8")?;
        Ok(self.with("data_source", json!(file)))
    }
}

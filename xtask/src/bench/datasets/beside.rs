//! What calls of others notice of a question about a large file: reads of 4 KB while it is answered,
//! beside the same reads of an idle server.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::report::{Goal, Row};
use super::super::stdio::{Call, Session};
use super::{Bench, ours};

pub(super) const NAME: &str = "read 4 KB beside a profile";
/// The goal: the slowest hundredth of the reads takes at most so many times as long.
const SLOWER_MAX: f64 = 3.0;
const PAGE_BYTES: usize = 4096;
/// Reads of the idle server.
const READS: usize = 3000;
/// An agent's pace and more; without a pause the reads themselves would be the load.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    println!("\n{NAME}");
    let page = bench.events.place.join("page.txt");
    std::fs::write(&page, "The quick brown fox. 0123456789\n".repeat(PAGE_BYTES / 32))?;
    let read = Call::new("read_text_file", json!({"path": page}));
    let profile = ours("profile", &bench.events.file("csv"))?;
    let mut session = bench.start()?;
    let idle = reads(&mut session, &read, None)?;
    let busy = reads(&mut session, &read, Some(&profile))?;
    println!("  {} reads, {} of them beside the profile", idle.len() + busy.len(), busy.len());
    let (idle, busy) = (slowest_hundredth(idle), slowest_hundredth(busy));
    let goal = Some(Goal::RatioAtLeast(1.0 / SLOWER_MAX));
    let name = format!("{NAME}: latency p99");
    Ok(vec![Row::new(name, "us", busy, Some(("the same, idle", idle)), goal)])
}

/// How long reads take, one at a time: while `beside` is answered, or so many as are enough.
fn reads(
    session: &mut Session,
    read: &Call,
    beside: Option<&Call>,
) -> anyhow::Result<Vec<Duration>> {
    let long = beside.map(|call| session.begin(call, None)).transpose()?;
    let mut latencies = Vec::new();
    loop {
        let started = Instant::now();
        let id = session.begin(read, None)?;
        loop {
            let message = session.message()?;
            if message["id"] == json!(id) {
                is_result(&message)?;
                latencies.push(started.elapsed());
                break;
            }
            if long.is_some_and(|long| message["id"] == json!(long)) {
                is_result(&message)?;
                return Ok(latencies);
            }
        }
        if long.is_none() && latencies.len() >= READS {
            return Ok(latencies);
        }
        std::thread::sleep(PAUSE);
    }
}

pub(super) fn is_result(message: &Value) -> anyhow::Result<()> {
    let result = &message["result"];
    ensure!(result.is_object() && result["isError"] != json!(true), "a call failed: {message}");
    Ok(())
}

fn slowest_hundredth(mut latencies: Vec<Duration>) -> f64 {
    latencies.sort_unstable();
    let at = latencies.len() * 99 / 100;
    latencies.get(at).map_or(f64::INFINITY, |latency| latency.as_secs_f64() * 1e6)
}

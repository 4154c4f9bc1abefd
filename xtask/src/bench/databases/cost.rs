//! Processor time of one query, beside the bare handler's, in turn with it.

use anyhow::Context as _;

use super::super::Options;
use super::super::client;
use super::super::process::{SERVER_CORE, Server};
use super::super::report::{Goal, Row, median};
use super::{BARE, CONNECTIONS, NAME as ROLE, Site, answers_rightly, keys, lookup};

pub(super) const NAME: &str = "query_database, one row: processor time";

/// Processor time of the bare handler over ours.
const GOAL: Goal = Goal::RatioAtLeast(0.7);
/// Different keys that are asked for.
const KEYS: u32 = 512;

/// What one round showed.
struct Round {
    cpu_us: f64,
    p99_us: f64,
}

pub(super) async fn run(site: &Site, options: &Options) -> anyhow::Result<[Row; 2]> {
    let (server, bare) = (site.roothold(SERVER_CORE, ROLE)?, site.bare(SERVER_CORE, ROLE)?);
    answers_rightly(&server).await?;
    answers_rightly(&bare).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round of each only warms up; then they take turns at coming first.
    for turn in 0..=options.rounds() {
        let (a, b) = if turn % 2 == 0 {
            let a = round(&server, options).await?;
            (a, round(&bare, options).await?)
        } else {
            let b = round(&bare, options).await?;
            (round(&server, options).await?, b)
        };
        if turn > 0 {
            ours.push(a);
            theirs.push(b);
        }
    }
    let row = |name: &str, of: fn(&Round) -> f64, goal| {
        let middle = |rounds: &[Round]| {
            median(rounds.iter().map(of).collect()).context("there is at least one round")
        };
        anyhow::Ok(Row::new(name, "us", middle(&ours)?, Some((BARE, middle(&theirs)?)), goal))
    };
    Ok([
        row(NAME, |round| round.cpu_us, Some(GOAL))?,
        row("query_database, one row: latency p99", |round| round.p99_us, None)?,
    ])
}

async fn round(server: &Server, options: &Options) -> anyhow::Result<Round> {
    let requests: Vec<Vec<u8>> = keys(KEYS).map(|id| lookup(server.addr, id)).collect();
    let calls = options.queries_per_round() / CONNECTIONS * CONNECTIONS;
    let before = server.family().cpu()?;
    let load = client::load(server.addr, &requests, CONNECTIONS, calls).await?;
    let cpu = server.family().cpu()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "some thousand calls")]
    let calls = calls as f64;
    Ok(Round {
        cpu_us: cpu.as_secs_f64() * 1e6 / calls,
        p99_us: load.latencies.percentile_us(0.99),
    })
}

//! Many callers, few connections: how long they wait, and whether all wait alike.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::super::Options;
use super::super::client::{self, Latencies, Load};
use super::super::process::{BOTH_CORES, Server};
use super::super::report::{Goal, Row, median};
use super::pgbench::{self, Script};
use super::{CONNECTIONS, NAME as ROLE, Site, answers_rightly, keys, lookup};

pub(super) const NAME: &str = "64 callers on 8 connections";

const CALLERS: usize = 64;
/// How many callers share a connection.
const TURNS: f64 = 8.0;
/// Keys that a caller asks for.
const KEYS: u32 = 50;
/// The time of the slowest caller over that of the middle one.
const FAIR: Goal = Goal::AtMost(1.5);
/// What pgbench's slowest hundredth takes, over what ours does.
const P99: Goal = Goal::RatioAtLeast(1.0 / 3.0);

/// What one round showed.
struct Round {
    many: Load,
    few: Load,
    recipe: Load,
    plain: Load,
    /// The slowest caller's time over the middle one's.
    unfair: f64,
}

pub(super) async fn run(site: &Site, options: &Options) -> anyhow::Result<Vec<Row>> {
    let server = site.roothold(BOTH_CORES, ROLE)?;
    answers_rightly(&server).await?;
    // So that every connection is there.
    callers(&server, CALLERS, 20).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.loads() {
        rounds.push(round(site, &server, options.queries_per_caller()).await?);
    }
    rows(&rounds)
}

async fn round(site: &Site, server: &Server, each: usize) -> anyhow::Result<Round> {
    let (many, times) = callers(server, CALLERS, each).await?;
    let queries = CALLERS * each;
    let (few, _) = callers(server, CONNECTIONS, queries / CONNECTIONS).await?;
    let recipe = pgbench::run(site, Script::Recipe, queries)?;
    let plain = pgbench::run(site, Script::Plain, queries)?;
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let middle = median(times).context("there is at least one caller")?;
    Ok(Round { many, few, recipe, plain, unfair: slowest / middle })
}

/// So many callers, each of which asks so often, one question after the other; and how many
/// seconds each of them took. An answer that is no row fails it.
async fn callers(server: &Server, count: usize, each: usize) -> anyhow::Result<(Load, Vec<f64>)> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..count {
        let addr = server.addr;
        let mut requests: Vec<Vec<u8>> = keys(KEYS).map(|id| lookup(addr, id)).collect();
        requests.rotate_left(caller % KEYS as usize);
        tasks.spawn(async move { client::connection(addr, &requests, each).await });
    }
    let (mut latencies, mut times) = (Vec::with_capacity(count * each), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let own = done.context("a caller's task")??;
        times.push(own.iter().sum::<Duration>().as_secs_f64());
        latencies.extend(own);
    }
    Ok((Load { elapsed: started.elapsed(), latencies: Latencies::of(latencies) }, times))
}

fn rows(rounds: &[Round]) -> anyhow::Result<Vec<Row>> {
    let middle = |of: &dyn Fn(&Round) -> f64| {
        median(rounds.iter().map(of).collect()).context("there is at least one round")
    };
    let p99 = |load: &Load| load.latencies.percentile_us(0.99) / 1e3;
    let recipe = ("pgbench, 8 clients, same statements", middle(&|round| p99(&round.recipe))?);
    let plain = ("pgbench, 8 clients, the query alone", middle(&|round| p99(&round.plain))?);
    let many = middle(&|round| p99(&round.many))?;
    let few = middle(&|round| p99(&round.few))?;
    Ok(vec![
        Row::new(format!("{NAME}: latency p99"), "ms", many, Some(recipe), None),
        // Eight callers share a connection, so each waits for eight turns, however fast they are.
        Row::new(
            format!("{NAME}: latency p99 by turns of 8"),
            "ms",
            many / TURNS,
            Some(recipe),
            Some(P99),
        ),
        Row::new("8 callers on 8 connections: latency p99", "ms", few, Some(recipe), Some(P99)),
        Row::new("8 callers on 8 connections: latency p99", "ms", few, Some(plain), None),
        Row::new(
            format!("{NAME}: elapsed per call"),
            "us",
            middle(&|round| per_call_us(&round.many))?,
            Some((recipe.0, middle(&|round| per_call_us(&round.recipe))?)),
            None,
        ),
        Row::new(
            format!("{NAME}: slowest caller beside the middle one"),
            "x",
            middle(&|round| round.unfair)?,
            None,
            Some(FAIR),
        ),
    ])
}

fn per_call_us(load: &Load) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
    let calls = load.latencies.count() as f64;
    load.elapsed.as_secs_f64() * 1e6 / calls
}

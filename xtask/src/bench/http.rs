//! `bench http`: processor time per call, latency, memory and start of the HTTP server.
//!
//! The server runs alone on one core and the client on the other, with the reference measured in
//! turn with it, round by round.

use std::time::Instant;

use anyhow::Context as _;

use super::Options;
use super::client::{self, Era, tools_call};
use super::process::{Server, pin_client};
use super::report::{Goal, Row, median};
use super::server::{PUBLIC, Site};

/// Clients that come and go before memory is looked at again.
const CLIENTS: usize = 10_000;
/// How many of them are there at once.
const CLIENTS_AT_ONCE: usize = 100;

/// What the reference is called.
const BARE: &str = "bare axum handler";
/// Says about 200 bytes of text: a tool of the example `hello`, which is the server with that one
/// tool more, so that nothing is measured but the way of a call.
const SHORT_ANSWER: &str = "hello";
/// A built-in tool whose answer has both forms; without a goal, since the bare handler sends one.
const BOTH_FORMS: &str = "list_allowed_directories";
/// Reads 4 KB.
const READ: &str = "read_text_file";
const READ_US_MAX: Goal = Goal::AtMost(60.0);

const START_GOAL: Goal = Goal::AtMost(50.0);
const IDLE_GOAL: Goal = Goal::AtMost(20.0);
const BUSY_GOAL: Goal = Goal::AtMost(60.0);

/// How the audit log is kept, and the speed that a short answer has then: processor time of the
/// bare handler, which checks, decides and records nothing, over ours.
const AUDIT_MODES: &[(&str, Goal)] =
    &[("written", Goal::RatioAtLeast(0.6)), ("queued", Goal::RatioAtLeast(0.8))];

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let site = Site::new()?;
    pin_client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        let path = format!(r#"{{"path":"{PUBLIC}/page.md"}}"#);
        for (reads, short_goal) in AUDIT_MODES {
            for era in Era::ALL {
                let tools = [
                    (SHORT_ANSWER, "{}", Some(*short_goal)),
                    (BOTH_FORMS, "{}", None),
                    (READ, path.as_str(), Some(READ_US_MAX)),
                ];
                for (tool, arguments, goal) in tools {
                    let pair = Pair { site: &site, options, reads, era, tool, arguments, goal };
                    rows.extend(pair.measure().await?);
                }
            }
        }
        rows.extend(memory_and_start(&site, options).await?);
        Ok(rows)
    })
}

/// One thing to measure on the server and on the reference.
struct Pair<'a> {
    site: &'a Site,
    options: &'a Options,
    reads: &'a str,
    era: Era,
    tool: &'a str,
    arguments: &'a str,
    goal: Option<Goal>,
}

/// What one round showed.
struct Round {
    cpu_us: f64,
    p99_us: f64,
    calls_per_s: f64,
}

impl Pair<'_> {
    async fn measure(&self) -> anyhow::Result<[Row; 3]> {
        let (server, bare) = (self.site.roothold(self.reads)?, self.site.bare()?);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first round of each only warms up; then they take turns at coming first.
        for round in 0..=self.options.rounds() {
            let (a, b) = if round % 2 == 0 {
                let a = self.round(&server).await?;
                (a, self.round(&bare).await?)
            } else {
                let b = self.round(&bare).await?;
                (self.round(&server).await?, b)
            };
            if round > 0 {
                ours.push(a);
                theirs.push(b);
            }
        }
        let row = |what: &str, unit, of: fn(&Round) -> f64, goal| {
            let middle = |rounds: &[Round]| median(rounds.iter().map(of).collect());
            let name =
                format!("{} {} audit {}: {what}", self.era.revision(), self.tool, self.reads);
            let figure = middle(&ours).context("there is at least one round")?;
            anyhow::Ok(Row::new(
                name,
                unit,
                figure,
                middle(&theirs).map(|theirs| (BARE, theirs)),
                goal,
            ))
        };
        Ok([
            row("processor time per call", "us", |round| round.cpu_us, self.goal)?,
            row("elapsed per call", "us", |round| 1e6 / round.calls_per_s, None)?,
            row("latency p99", "us", |round| round.p99_us, None)?,
        ])
    }

    async fn round(&self, server: &Server) -> anyhow::Result<Round> {
        let request = tools_call(self.era, server.addr, self.tool, self.arguments);
        let calls = self.options.calls_per_round() / client::CONNECTIONS * client::CONNECTIONS;
        let before = server.family().cpu()?;
        let load = client::load(server.addr, &[request], client::CONNECTIONS, calls).await?;
        let cpu = server.family().cpu()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
        let calls = calls as f64;
        Ok(Round {
            cpu_us: cpu.as_secs_f64() * 1e6 / calls,
            p99_us: load.latencies.percentile_us(0.99),
            calls_per_s: calls / load.elapsed.as_secs_f64(),
        })
    }
}

async fn memory_and_start(site: &Site, options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut starts = Vec::new();
    for _ in 0..options.rounds() {
        starts.push(first_answer_ms(site).await?);
    }
    let start = median(starts).context("there is at least one round")?;
    let (server, bare) = (site.roothold("written")?, site.bare()?);
    let idle = (server.family().rss_mib()?, bare.family().rss_mib()?);
    come_and_go(&server).await?;
    come_and_go(&bare).await?;
    let after = (server.family().rss_mib()?, bare.family().rss_mib()?);
    Ok(vec![
        Row::new("from start to the first answer", "ms", start, None, Some(START_GOAL)),
        Row::new("resident memory, idle", "MiB", idle.0, Some((BARE, idle.1)), Some(IDLE_GOAL)),
        Row::new(
            "resident memory after 10,000 clients",
            "MiB",
            after.0,
            Some((BARE, after.1)),
            Some(BUSY_GOAL),
        ),
    ])
}

/// Milliseconds from starting the process until it answered a call.
async fn first_answer_ms(site: &Site) -> anyhow::Result<f64> {
    let server = site.roothold("written")?;
    let connected = Instant::now();
    let request = tools_call(Era::Modern, server.addr, SHORT_ANSWER, "{}");
    client::connection(server.addr, &[request], 1).await?;
    Ok((server.listening_after + connected.elapsed()).as_secs_f64() * 1e3)
}

/// [`CLIENTS`] clients that connect, call once and leave.
async fn come_and_go(server: &Server) -> anyhow::Result<()> {
    let request = tools_call(Era::Modern, server.addr, SHORT_ANSWER, "{}");
    for _ in 0..CLIENTS / CLIENTS_AT_ONCE {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS_AT_ONCE {
            let (addr, request) = (server.addr, request.clone());
            tasks.spawn(async move { client::connection(addr, &[request], 1).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a client's task")??;
        }
    }
    Ok(())
}

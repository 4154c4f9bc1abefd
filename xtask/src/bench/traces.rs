//! `bench traces`: what traces add to the processor time of a call, sent to a receiver that takes
//! them and keeps nothing.
//!
//! Servers that differ only in that take turns, round by round, on one core; the client and the
//! receiver share the other.

use anyhow::Context as _;
use roothold_testing::{Behaviour, Collector};

use super::Options;
use super::client::{self, Era, tools_call};
use super::process::{Server, pin_client};
use super::report::{Goal, Row, median};
use super::server::{PUBLIC, Site};

/// What the figures are compared with.
const WITHOUT: &str = "the same without traces";

/// A way of tracing, and the part of the processor time without it that must remain.
struct Way {
    name: &'static str,
    protocol: &'static str,
    ratio: &'static str,
    goal: f64,
}

/// At most 15 % more for all traces, and 5 % for one in a hundred.
const WAYS: [Way; 3] = [
    Way { name: "all traces, gRPC", protocol: "grpc", ratio: "1.0", goal: 1.0 / 1.15 },
    Way { name: "all traces, HTTP", protocol: "http/protobuf", ratio: "1.0", goal: 1.0 / 1.15 },
    Way { name: "one trace in 100, gRPC", protocol: "grpc", ratio: "0.01", goal: 1.0 / 1.05 },
];

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    pin_client()?;
    let (site, collector) = (Site::new()?, Collector::start(Behaviour::Forgets));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = format!(r#"{{"path":"{PUBLIC}/page.md"}}"#);
    // A call that does nothing costs less than the spans of one, so only the other has goals.
    let calls = [("read_text_file", path.as_str(), true), ("hello", "{}", false)];
    let mut rows = Vec::new();
    for (tool, arguments, has_goal) in calls.iter().filter(|(tool, ..)| options.wants(tool)) {
        let call = Call { site: &site, collector: &collector, tool, arguments };
        rows.extend(runtime.block_on(call.measure(options, *has_goal))?);
    }
    Ok(rows)
}

/// One call, and who answers it.
struct Call<'a> {
    site: &'a Site,
    collector: &'a Collector,
    tool: &'a str,
    arguments: &'a str,
}

impl Call<'_> {
    async fn measure(&self, options: &Options, has_goal: bool) -> anyhow::Result<Vec<Row>> {
        let mut servers = vec![self.site.roothold("written")?];
        for way in &WAYS {
            servers.push(self.traced(way)?);
        }
        let mut figures = vec![Vec::new(); servers.len()];
        // The first round only warms up; then each comes first in its turn.
        for round in 0..=options.rounds() {
            for turn in 0..servers.len() {
                let at = (round + turn) % servers.len();
                let cpu = self.round(&servers[at], options).await?;
                if round > 0 {
                    figures[at].push(cpu);
                }
            }
        }
        let middle = |at: usize| median(figures[at].clone()).context("there is a round");
        let without = middle(0)?;
        let mut rows = Vec::new();
        for (at, way) in WAYS.iter().enumerate() {
            let name = format!("{}, {}: processor time per call", self.tool, way.name);
            let goal = has_goal.then_some(Goal::RatioAtLeast(way.goal));
            rows.push(Row::new(name, "us", middle(at + 1)?, Some((WITHOUT, without)), goal));
        }
        Ok(rows)
    }

    fn traced(&self, way: &Way) -> anyhow::Result<Server> {
        let Way { protocol, ratio, .. } = way;
        let url = self.collector.url();
        let more = format!(
            "otlp_endpoint = \"{url}\"\notlp_protocol = \"{protocol}\"\nsample_ratio = {ratio}\n"
        );
        self.site.roothold_with("written", &more)
    }

    /// Microseconds of processor time per call.
    async fn round(&self, server: &Server, options: &Options) -> anyhow::Result<f64> {
        let request = tools_call(Era::Modern, server.addr, self.tool, self.arguments);
        let calls = options.calls_per_round() / client::CONNECTIONS * client::CONNECTIONS;
        let before = server.family().cpu()?;
        client::load(server.addr, &[request], client::CONNECTIONS, calls).await?;
        let cpu = server.family().cpu()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
        let calls = calls as f64;
        Ok(cpu.as_secs_f64() * 1e6 / calls)
    }
}

//! The part of `bench files` that goes over HTTP: reads of 4 KB, one at a time and many at once,
//! beside the rival that speaks it.

use anyhow::Context as _;

use super::client::{self, Era, tools_call};
use super::files::Bench;
use super::process::{Server, free_addr, pin_client};
use super::report::{Goal, Row, median};
use super::server::{PUBLIC, Site, path_text};

/// Microseconds of processor time that a read of 4 KB may take.
const READ_US_MAX: f64 = 60.0;

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    println!("\nread 4 KB over HTTP");
    pin_client()?;
    let site = Site::over(&bench.corpus.place)?;
    let ours = site.roothold("written")?;
    let our_requests = requests(bench, Era::Modern, &ours, "read_text_file", |page| {
        Ok(format!("{}/pages/{}", PUBLIC, page.file_name().context("a page's name")?.display()))
    })?;
    let mut rival = None;
    for installed in &bench.rivals {
        let addr = free_addr()?;
        if let Some((program, args)) = installed.http(&bench.corpus.place, addr) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let server = Server::start(&program, &args, addr)?;
            let requests = requests(bench, Era::Older, &server, "read_file", path_text)?;
            rival = Some((installed.rival.to_string(), server, requests));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for connections in [1, client::CONNECTIONS] {
        let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
        // The first round of each only warms up.
        for round in 0..=bench.options.blocks() {
            let calls = bench.options.calls_per_round() / 3;
            let figures = runtime.block_on(measure(&ours, &our_requests, connections, calls))?;
            if round > 0 {
                our_rounds.push(figures);
            }
            if let Some((_, server, requests)) = &rival {
                let calls = bench.options.calls_per_round() / 30;
                let figures = runtime.block_on(measure(server, requests, connections, calls))?;
                if round > 0 {
                    their_rounds.push(figures);
                }
            }
        }
        let row = |what: &str, unit, of: fn(&(f64, f64)) -> f64, goals: &[Goal]| {
            let figure = median(our_rounds.iter().map(of).collect()).unwrap_or(f64::NAN);
            let theirs = median(their_rounds.iter().map(of).collect());
            let reference =
                rival.as_ref().zip(theirs).map(|((name, ..), theirs)| (&**name, theirs));
            let name = format!("read 4 KB over HTTP, {connections} at once: {what}");
            println!("  {name}: {figure:.1} {unit}, rival {theirs:?}");
            goals
                .iter()
                .map(|goal| Row::new(name.clone(), unit, figure, reference, Some(*goal)))
                .collect::<Vec<_>>()
        };
        let ratio = rival.as_ref().map(|_| Goal::RatioAtLeast(1.0));
        let goals: Vec<Goal> = ratio.into_iter().chain([Goal::AtMost(READ_US_MAX)]).collect();
        rows.extend(row("cpu", "us", |(cpu, _)| *cpu, &goals));
        let reference = rival.as_ref().zip(median(their_rounds.iter().map(|(_, s)| *s).collect()));
        let figure = median(our_rounds.iter().map(|(_, s)| *s).collect()).context("no round")?;
        rows.push(Row::new(
            format!("read 4 KB over HTTP, {connections} at once: elapsed"),
            "us",
            figure,
            reference.map(|((name, ..), theirs)| (&**name, theirs)),
            None,
        ));
    }
    Ok(rows)
}

/// One request for each page.
fn requests(
    bench: &Bench<'_>,
    era: Era,
    server: &Server,
    tool: &str,
    path: impl Fn(&std::path::Path) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    for at in 0..super::corpus::PAGES {
        let arguments = serde_json::json!({"path": path(&bench.corpus.page(at))?});
        requests.push(tools_call(era, server.addr, tool, &arguments.to_string()));
    }
    Ok(requests)
}

/// Microseconds per call: processor time, and elapsed.
async fn measure(
    server: &Server,
    requests: &[Vec<u8>],
    connections: usize,
    calls: usize,
) -> anyhow::Result<(f64, f64)> {
    let calls = calls / connections * connections;
    let before = server.family().cpu()?;
    let load = client::load(server.addr, requests, connections, calls).await?;
    let cpu = server.family().cpu()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
    let calls = calls as f64;
    Ok((cpu.as_secs_f64() * 1e6 / calls, load.elapsed.as_secs_f64() * 1e6 / calls))
}

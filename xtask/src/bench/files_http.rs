//! The part of `bench files` that goes over HTTP: reads of 4 KB, one at a time and many at once,
//! beside the rival that speaks it.

use anyhow::Context as _;

use super::client::{self, Era, tools_call};
use super::files::Bench;
use super::physical::Bare;
use super::process::{Server, free_addr, pin_client};
use super::report::{Goal, Row, median};
use super::server::{PUBLIC, Site, path_text};

pub(super) const NAME: &str = "read 4 KB over HTTP";
/// What a read of 4 KB may take of an `open`, `pread` and `close` of the same file: 60 µs where these
/// took 2.
const READ_MOST: f64 = 30.0;

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    println!("\n{NAME}");
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
    let bare = Bare::ReadFiles(vec![bench.corpus.page(0)]);
    let (bare_name, bare_ms) = bare.measure(bench.options.block_time())?;
    let bare = Some((bare_name.as_str(), bare_ms * 1e3));
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
        let name = format!("{NAME}, {connections} at once");
        let middle =
            |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let beside = |of: fn(&Round) -> f64| {
            let (name, ..) = rival.as_ref()?;
            Some((name.as_str(), middle(&their_rounds, of)?))
        };
        let cpu = middle(&our_rounds, |round| round.cpu_us).context("no round")?;
        let elapsed = middle(&our_rounds, |round| round.elapsed_us).context("no round")?;
        let their_cpu = beside(|round| round.cpu_us);
        let ratio = their_cpu.map(|_| Goal::RatioAtLeast(1.0));
        let most = Some(Goal::RatioAtLeast(1.0 / READ_MOST));
        rows.push(Row::new(format!("{name}: cpu"), "us", cpu, their_cpu, ratio));
        rows.push(Row::new(format!("{name}: cpu beside pread"), "us", cpu, bare, most));
        let their_elapsed = beside(|round| round.elapsed_us);
        rows.push(Row::new(format!("{name}: elapsed"), "us", elapsed, their_elapsed, None));
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

/// Microseconds per call.
struct Round {
    cpu_us: f64,
    elapsed_us: f64,
}

async fn measure(
    server: &Server,
    requests: &[Vec<u8>],
    connections: usize,
    calls: usize,
) -> anyhow::Result<Round> {
    let calls = calls / connections * connections;
    let before = server.family().cpu()?;
    let load = client::load(server.addr, requests, connections, calls).await?;
    let cpu = server.family().cpu()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
    let calls = calls as f64;
    Ok(Round {
        cpu_us: cpu.as_secs_f64() * 1e6 / calls,
        elapsed_us: load.elapsed.as_secs_f64() * 1e6 / calls,
    })
}

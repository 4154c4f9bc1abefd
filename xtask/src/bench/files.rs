//! `bench files`: what the file tools cost, beside every rival and the bare tools on the same
//! files. All servers speak over stdio and take turns, block by block.
//!
//! The figure is the server's own processor time, user and system, with all that it starts. Only
//! right answers count: a rival that cuts its answer short is named and left out of the row.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::corpus::{Corpus, Scale};
use super::operations::{self, Operation, Ours, Work};
use super::report::{Goal, Row, median};
use super::rivals::{FD, Installed, Rival, install_fd};
use super::stdio::{Call, Reply, Session};
use super::{Options, files_http};

/// Roothold beats every rival.
const GOAL: Goal = Goal::RatioAtLeast(1.0);
const IDLE_MIB_MAX: f64 = 20.0;
/// What an operation may take besides.
const WORK_MIB_MAX: f64 = 64.0;
/// Memory after all operations, over that before.
const AFTERWARDS_MAX: f64 = 1.5;
/// How long Roothold keeps here what nobody asks for.
const IDLE_SECONDS: u64 = 10;
/// How long memory may take to settle: what is kept is looked through once in that time, so it is
/// gone after twice as long; and the allocator waits for a moment.
const SETTLE: Duration = Duration::from_secs(2 * IDLE_SECONDS + 3);
/// A text is sent once: its reply may be longer by as much.
const TEXT_OVERHEAD_MAX: f64 = 1.1;
const TOOLS_BYTES_MAX: f64 = 20_000.0;
const ABSENT: &str = "not measured: what could not be installed";

pub(super) fn run(root: &Path, options: &Options) -> anyhow::Result<Vec<Row>> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("the bench lies in TARGET/PROFILE")?;
    let scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    let corpus = Corpus::open(target, scale)?;
    let home = tempfile::tempdir()?;
    let mut rivals = Vec::new();
    let mut absent = 0_u32;
    let wanted = if options.alone { &[][..] } else { &Rival::ALL };
    for rival in wanted {
        match rival.install(root) {
            Ok(installed) => rivals.push(installed),
            Err(error) => {
                absent += 1;
                println!("NOT MEASURED: {rival} could not be installed: {error:#}");
            }
        }
    }
    let fd = install_fd(root)
        .inspect_err(|error| {
            absent += 1;
            println!("NOT MEASURED: {FD} could not be installed: {error:#}");
        })
        .ok();
    let bench = Bench { corpus, rivals, fd, home, options };
    let mut rows = bench.over_stdio()?;
    if options.wants(files_http::NAME) {
        rows.extend(files_http::run(&bench)?);
    }
    // Goals that could not be missed were not reached.
    rows.push(Row::new(ABSENT, "", f64::from(absent), None, Some(Goal::AtMost(0.0))));
    Ok(rows)
}

/// All that the measurements need.
pub(super) struct Bench<'a> {
    pub(super) corpus: Corpus,
    pub(super) rivals: Vec<Installed>,
    fd: Option<PathBuf>,
    home: tempfile::TempDir,
    pub(super) options: &'a Options,
}

/// How one block of repetitions went.
struct Block {
    cpu_ms: f64,
    elapsed_ms: f64,
    peak_mib: f64,
    reply: Reply,
}

/// The middle of a server's blocks in one operation.
struct Figures {
    cpu_ms: f64,
    elapsed_ms: f64,
    peak_mib: f64,
    bytes: usize,
    page_bytes_max: usize,
}

/// A server and what is asked of it.
struct Contender<'a> {
    name: String,
    server: Option<&'a Installed>,
    work: &'a Work,
    /// A process of its own for each time.
    cold: bool,
    writes: bool,
    blocks: Vec<Block>,
    /// Why it is out.
    failed: Option<String>,
}

impl Bench<'_> {
    fn over_stdio(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        // Memory afterwards is that of the one server that did all operations.
        let mut ours = self.start_ours(&[])?;
        let idle = ours.family().rss_mib()?;
        rows.push(Row::new("memory, idle", "MiB", idle, None, Some(Goal::AtMost(IDLE_MIB_MAX))));
        let mut operations = operations::all(&self.corpus, self.fd.as_deref())?;
        operations.retain(|operation| self.options.wants(&operation.name));
        for operation in operations {
            rows.extend(self.operation(&operation, &mut ours, idle)?);
        }
        // The allocator gives back what was not used for a while, when it is called again.
        std::thread::sleep(SETTLE);
        ours.tools()?;
        let after = ours.family().rss_mib()?;
        let goal = Some(Goal::AtMost((idle * AFTERWARDS_MAX).round()));
        rows.push(Row::new("memory, afterwards", "MiB", after, Some(("idle", idle)), goal));
        Ok(rows)
    }

    /// Starts Roothold.
    fn start_ours(&self, options: &[&str]) -> anyhow::Result<Session> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name("roothold"));
        command.env("ROOTHOLD_CACHE__IDLE_SECONDS", IDLE_SECONDS.to_string());
        command.arg("stdio").arg("--audit-dir").arg(self.home.path().join("audit"));
        Session::start(command.args(options).arg(&self.corpus.place))
    }

    /// Starts a rival.
    fn start(&self, rival: &Installed) -> anyhow::Result<Session> {
        let home = self.home.path().join(rival.rival.to_string());
        std::fs::create_dir_all(&home)?;
        Session::start(&mut rival.stdio(&self.corpus.place, &home))
    }

    /// Measures all servers in turn and says how they did.
    fn operation(
        &self,
        operation: &Operation,
        ours: &mut Session,
        idle_mib: f64,
    ) -> anyhow::Result<Vec<Row>> {
        println!("\n{}", operation.name);
        let bare = operation.without_server(self.options.block_time())?;
        for (name, cpu_ms) in &bare {
            println!("  {name:44} {cpu_ms:>10.3} ms");
        }
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        for ours in &operation.ours {
            let name = format!("roothold{}", ours.variant);
            let contender = Contender::new(name, None, &ours.work);
            contenders.push(Contender { cold: ours.cold, writes: ours.writes, ..contender });
        }
        for (rival, work) in &operation.rivals {
            if let Some(server) = self.rivals.iter().find(|server| server.rival == *rival) {
                contenders.push(Contender::new(rival.to_string(), Some(server), work));
            }
        }
        let mut sessions = Vec::new();
        for contender in &mut contenders {
            sessions.push(match contender.server {
                None if contender.writes => Some(self.start_ours(&["--write"])?),
                None => None,
                Some(server) => match self.start(server) {
                    Ok(session) => Some(session),
                    Err(error) => {
                        contender.failed = Some(format!("{error:#}"));
                        None
                    }
                },
            });
        }
        for _ in 0..self.options.blocks() {
            for (contender, session) in contenders.iter_mut().zip(&mut sessions) {
                let session = session.as_mut().unwrap_or(ours);
                contender.block(self, operation, session);
            }
        }
        drop(sessions);
        rows(operation, &contenders, &bare, idle_mib)
    }
}

impl<'a> Contender<'a> {
    fn new(name: String, server: Option<&'a Installed>, work: &'a Work) -> Self {
        Self { name, server, work, cold: false, writes: false, blocks: Vec::new(), failed: None }
    }

    /// Adds a block, unless the server is out or so slow that one was enough.
    fn block(&mut self, bench: &Bench<'_>, operation: &Operation, session: &mut Session) {
        let slow = self.blocks.first().is_some_and(|block| block.elapsed_ms > 5_000.0);
        if self.failed.is_some() || slow {
            return;
        }
        let block = if self.cold {
            bench.cold_block(operation, self.work)
        } else {
            block(operation, self.work, session, bench.options.block_time())
        };
        match block {
            Ok(block) => self.blocks.push(block),
            Err(error) => self.failed = Some(format!("{error:#}")),
        }
    }

    fn figures(&self) -> Option<Figures> {
        if self.failed.is_some() {
            return None;
        }
        let middle = |of: fn(&Block) -> f64| median(self.blocks.iter().map(of).collect());
        let reply = &self.blocks.first()?.reply;
        Some(Figures {
            cpu_ms: middle(|block| block.cpu_ms)?,
            elapsed_ms: middle(|block| block.elapsed_ms)?,
            peak_mib: self.blocks.iter().map(|block| block.peak_mib).fold(0.0, f64::max),
            bytes: reply.bytes / self.work.calls(),
            page_bytes_max: reply.page_bytes_max,
        })
    }
}

impl Bench<'_> {
    /// As [`block`], with a new process each time, which has listed other directories before: its
    /// threads run, and what is loaded once is loaded.
    fn cold_block(&self, operation: &Operation, work: &Work) -> anyhow::Result<Block> {
        let target = self.options.block_time();
        let (mut cpu, mut elapsed, mut peak_mib) = (Duration::ZERO, Duration::ZERO, 0.0_f64);
        let (mut runs, begun) = (0_u32, Instant::now());
        let reply = loop {
            let mut session = self.start_ours(&[])?;
            for _ in 0..20 {
                let other = serde_json::json!({"path": self.corpus.place.join("pages")});
                session.call(&Call::new("list_directory", other))?;
            }
            let family = session.family();
            family.forget_peak()?;
            let (before, started) = (family.threads_cpu()?, Instant::now());
            let reply = work.run(&mut session)?;
            elapsed += started.elapsed();
            cpu += family.threads_cpu()?.saturating_sub(before);
            peak_mib = peak_mib.max(family.peak_mib()?);
            runs += 1;
            if let Err(why) = operation.expect.holds(&reply.text) {
                bail!("a wrong answer: {why}");
            }
            if cpu >= target || begun.elapsed() >= target * 8 {
                break reply;
            }
        };
        Ok(Block {
            cpu_ms: cpu.as_secs_f64() * 1e3 / f64::from(runs),
            elapsed_ms: elapsed.as_secs_f64() * 1e3 / f64::from(runs),
            peak_mib,
            reply: Reply { text: String::new(), ..reply },
        })
    }
}

/// Repeats the work until the server has used enough processor time for its clock to tell, which
/// counts in steps of 10 ms.
fn block(
    operation: &Operation,
    work: &Work,
    session: &mut Session,
    target: Duration,
) -> anyhow::Result<Block> {
    // The first answer warms up and is looked at.
    let reply = work.run(session)?;
    if let Err(why) = operation.expect.holds(&reply.text) {
        bail!("a wrong answer: {why}");
    }
    let family = session.family();
    family.forget_peak()?;
    let before = family.cpu()?;
    let started = Instant::now();
    let (mut runs, mut next) = (0_u32, 1_u32);
    let cpu = loop {
        for _ in 0..next {
            work.run(session)?;
        }
        runs += next;
        let cpu = family.cpu()?.saturating_sub(before);
        if cpu >= target || started.elapsed() >= target * 8 {
            break cpu;
        }
        // Looking at the clock costs as much as a short call.
        next = if cpu < target / 2 { runs } else { (runs / 4).max(1) };
    };
    let elapsed = started.elapsed();
    let calls = f64::from(runs) * f64::from(u32::try_from(work.calls())?);
    Ok(Block {
        cpu_ms: cpu.as_secs_f64() * 1e3 / calls,
        elapsed_ms: elapsed.as_secs_f64() * 1e3 / calls,
        peak_mib: family.peak_mib()?,
        reply: Reply { text: String::new(), ..reply },
    })
}

/// The rows of one operation; each server's figures are printed.
fn rows(
    operation: &Operation,
    contenders: &[Contender<'_>],
    bare: &[(String, f64)],
    idle_mib: f64,
) -> anyhow::Result<Vec<Row>> {
    let mut best: Option<(&str, Figures)> = None;
    for contender in contenders {
        let Some(figures) = contender.figures() else {
            let why = contender.failed.as_deref().unwrap_or("nothing was measured");
            println!("  {:44} out: {why}", contender.name);
            continue;
        };
        println!(
            "  {:44} {:>10.3} ms  elapsed {:>10.3} ms  peak {:>7.1} MiB  reply {:>10} B",
            contender.name, figures.cpu_ms, figures.elapsed_ms, figures.peak_mib, figures.bytes
        );
        let better = |(_, best): &(&str, Figures)| figures.cpu_ms < best.cpu_ms;
        if contender.server.is_some() && best.as_ref().is_none_or(better) {
            best = Some((&contender.name, figures));
        }
    }
    let mut rows = Vec::new();
    for (contender, ours) in contenders.iter().zip(&operation.ours) {
        let name = format!("{}{}", operation.name, ours.variant);
        if let Some(why) = &contender.failed {
            bail!("{name}: {why}");
        }
        let figures = contender.figures().context("each of ours has a block")?;
        rows.extend(our_rows(operation, ours, &name, &figures, best.as_ref(), idle_mib));
        for (bare, cpu_ms) in bare {
            let reference = Some((bare.as_str(), *cpu_ms));
            let most = ours.times_max.filter(|(tool, _)| tool == bare).map(|(_, most)| most);
            let goal = most.map(|most| Goal::RatioAtLeast(1.0 / most));
            let name = format!("{name}: cpu beside {bare}");
            rows.push(Row::new(name, "ms", figures.cpu_ms, reference, goal));
        }
    }
    Ok(rows)
}

fn our_rows(
    operation: &Operation,
    ours: &Ours,
    name: &str,
    figures: &Figures,
    best: Option<&(&str, Figures)>,
    idle_mib: f64,
) -> Vec<Row> {
    let beside = |of: fn(&Figures) -> f64| best.map(|(name, best)| (*name, of(best)));
    if matches!(ours.work, Work::Tools) {
        let (bytes, goal) = (bytes(figures.bytes), Goal::AtMost(TOOLS_BYTES_MAX));
        return vec![Row::new(
            name,
            "B",
            bytes,
            beside(|best| self::bytes(best.bytes)),
            Some(goal),
        )];
    }
    let mut rows = vec![Row::new(
        format!("{name}: cpu"),
        "ms",
        figures.cpu_ms,
        beside(|best| best.cpu_ms),
        best.map(|_| GOAL),
    )];
    if let Some(most) = ours.ms_max {
        let goal = Some(Goal::AtMost(most));
        rows.push(Row::new(format!("{name}: cpu, by itself"), "ms", figures.cpu_ms, None, goal));
    }
    rows.extend([
        Row::new(
            format!("{name}: peak memory"),
            "MiB",
            figures.peak_mib,
            beside(|best| best.peak_mib),
            Some(Goal::AtMost((idle_mib + WORK_MIB_MAX).round())),
        ),
        // Typed answers come in both forms, and a name takes quotes in one of them.
        Row::new(
            format!("{name}: largest reply"),
            "B",
            bytes(figures.page_bytes_max),
            beside(|best| bytes(best.page_bytes_max)),
            Some(Goal::AtMost(bytes(ours.page_bytes * 5 / 2))),
        ),
    ]);
    if let Some(content) = operation.content_bytes {
        let ratio = |figures: &Figures| bytes(figures.bytes) / bytes(content);
        let reference = best.map(|(name, best)| (*name, ratio(best)));
        let goal = Some(Goal::AtMost(TEXT_OVERHEAD_MAX));
        rows.push(Row::new(
            format!("{name}: reply bytes per byte of content"),
            "",
            ratio(figures),
            reference,
            goal,
        ));
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "no reply has 2^52 bytes")]
const fn bytes(count: usize) -> f64 {
    count as f64
}

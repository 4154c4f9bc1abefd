//! One server against the attackers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::arena::Arena;
use super::asks::{self, Ask};
use super::attack::{Attacker, PARTS};
use super::judge::{Verdict, judge};
use super::session::{Session, id_of};
use crate::bench::rivals::{Installed, Rival};

/// Requests under way at a time.
const IN_FLIGHT: usize = 16;
/// Files that a server may open for good while it works, such as a second log file.
const MORE_FILES_MAX: usize = 8;
/// What memory may grow by between a quarter of the race and its end.
const GROWTH_MIB_MAX: f64 = 32.0;
/// How many answers that tell too much are kept to be shown.
const SHOWN_MAX: usize = 5;

/// Who is asked.
#[derive(Clone, Copy)]
pub(super) enum Server<'a> {
    Roothold(&'a Path),
    Reference(&'a Installed),
}

impl Server<'_> {
    fn name(self) -> String {
        match self {
            Self::Roothold(_) => "roothold".to_owned(),
            Self::Reference(_) => Rival::Reference.to_string(),
        }
    }

    fn command(self, arena: &Arena) -> anyhow::Result<Command> {
        let (base, root) = (arena.base(), arena.root());
        match self {
            Self::Roothold(program) => {
                let config = base.join("roothold.toml");
                std::fs::write(&config, configuration(&root))?;
                std::fs::create_dir(base.join("audit"))?;
                let mut command = Command::new(program);
                command.args(["stdio", "--log", "debug", "--config"]).arg(config);
                command.arg("--audit-dir").arg(base.join("audit"));
                Ok(command)
            }
            Self::Reference(installed) => {
                let home = base.join("home");
                std::fs::create_dir(&home)?;
                Ok(installed.stdio(&root, &home))
            }
        }
    }
}

/// Without Landlock, so that the gate is what is tried, and not the wall behind it.
fn configuration(root: &Path) -> String {
    let root = root.display();
    format!(
        "[server]\nlandlock = \"off\"\n\n\
         [[roots]]\npath = \"{root}\"\nname = \"race\"\naccess = \"rw\"\nhardlinks = \"deny\"\n\
         exclude = [\"secrets\", \".env\"]\n"
    )
}

/// What came of it.
pub(super) struct Outcome {
    server: String,
    rounds: u64,
    took: Duration,
    swaps: u64,
    verdicts: BTreeMap<Verdict, u64>,
    /// Tools that were asked, and how often each could do it.
    done: BTreeMap<&'static str, u64>,
    /// Files outside, and excluded files, that were changed or made.
    touched: (usize, usize),
    left_behind: Vec<String>,
    told_in_logs: bool,
    open_files: (usize, usize),
    memory_mib: (f64, f64),
    shown: Vec<String>,
}

pub(super) fn run(server: Server<'_>, rounds: u64) -> anyhow::Result<Outcome> {
    let arena = Arena::new()?;
    let log = arena.base().join("server.log");
    let (mut session, capabilities) = Session::start(&mut server.command(&arena)?, &log)?;
    let tools: BTreeSet<String> = session.tools()?.into_iter().collect();
    let asks = asks::all(&arena.root(), &tools, capabilities["resources"].is_object());
    ensure!(!asks.is_empty(), "the server has no tool that is known here");
    let mut outcome = Outcome {
        server: server.name(),
        rounds,
        took: Duration::ZERO,
        swaps: 0,
        verdicts: BTreeMap::new(),
        done: asks.iter().map(|ask| (ask.name, 0)).collect(),
        touched: (0, 0),
        left_behind: Vec::new(),
        told_in_logs: false,
        open_files: (0, 0),
        memory_mib: (0.0, 0.0),
        shown: Vec::new(),
    };
    // Nobody swaps yet: what the server opens once is open, and every answer may be seen.
    let calm = 2 * asks.len() as u64;
    exchange(&mut session, &asks, calm, |_, _| {})?;
    outcome.open_files.0 = session.open_files()?;

    let attackers = PARTS.map(|part| Attacker::start(arena.base(), part));
    let started = Instant::now();
    let quarter = rounds.div_ceil(4);
    for part in [quarter, rounds - quarter] {
        exchange(&mut session, &asks, part, |ask, line| outcome.add(ask, line))?;
        session.is_alive()?;
        outcome.memory_mib = (outcome.memory_mib.1, session.memory_mib()?);
    }
    outcome.took = started.elapsed();
    for attacker in attackers {
        outcome.swaps += attacker?.stop()?;
    }

    exchange(&mut session, &asks, calm, |_, _| {})?;
    outcome.open_files.1 = session.open_files()?;
    drop(session);
    outcome.touched = arena.touched()?;
    outcome.left_behind = arena.left_behind()?;
    outcome.told_in_logs = tells(&log)? || tells_any(&arena.base().join("audit"))?;
    Ok(outcome)
}

/// Asks in turn until so many were answered, and hands over each answer.
fn exchange(
    session: &mut Session,
    asks: &[Ask],
    rounds: u64,
    mut answered: impl FnMut(&Ask, &str),
) -> anyhow::Result<()> {
    let mut under_way: HashMap<u64, &Ask> = HashMap::new();
    let mut waiting = (1..=rounds).zip(asks.iter().cycle());
    loop {
        while under_way.len() < IN_FLIGHT
            && let Some((id, ask)) = waiting.next()
        {
            session.send(id, ask.method, &ask.params)?;
            under_way.insert(id, ask);
        }
        if under_way.is_empty() {
            return Ok(());
        }
        let line = session.line()?;
        let ask = id_of(&line).and_then(|id| under_way.remove(&id));
        answered(ask.context("an answer to nothing that was asked")?, &line);
    }
}

/// Whether a file tells of what is outside or excluded.
fn tells(file: &Path) -> anyhow::Result<bool> {
    Ok(String::from_utf8_lossy(&std::fs::read(file)?).contains("CANARY-"))
}

fn tells_any(directory: &Path) -> anyhow::Result<bool> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(false) };
    for entry in entries {
        if tells(&entry?.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Outcome {
    fn add(&mut self, ask: &Ask, line: &str) {
        let verdict = judge(ask, line);
        *self.verdicts.entry(verdict).or_default() += 1;
        if verdict == Verdict::Done {
            *self.done.entry(ask.name).or_default() += 1;
        }
        if verdict > Verdict::Refused && self.shown.len() < SHOWN_MAX {
            let short: String = line.chars().take(300).collect();
            self.shown.push(format!("{verdict:?}: {} {}: {short}", ask.name, ask.params));
        }
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    pub(super) fn print(&self) {
        let (outside, excluded) = self.touched;
        println!(
            "race {}: {} rounds in {:.1} s under {} swaps; done {}, refused {}; with outside bytes {}, \
             with excluded bytes {}, torn {}, unexpected {}; written outside {outside}, on excluded {excluded}; \
             open files {} then {}; memory {:.1} then {:.1} MiB",
            self.server,
            self.rounds,
            self.took.as_secs_f64(),
            self.swaps,
            self.count(Verdict::Done),
            self.count(Verdict::Refused),
            self.count(Verdict::Outside),
            self.count(Verdict::Excluded),
            self.count(Verdict::Torn),
            self.count(Verdict::Unexpected),
            self.open_files.0,
            self.open_files.1,
            self.memory_mib.0,
            self.memory_mib.1,
        );
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "server": self.server,
            "rounds": self.rounds,
            "seconds": self.took.as_secs_f64(),
            "swaps": self.swaps,
            "done": self.count(Verdict::Done),
            "refused": self.count(Verdict::Refused),
            "with_outside_bytes": self.count(Verdict::Outside),
            "with_excluded_bytes": self.count(Verdict::Excluded),
            "torn": self.count(Verdict::Torn),
            "unexpected": self.count(Verdict::Unexpected),
            "written_outside": self.touched.0,
            "written_excluded": self.touched.1,
            "left_behind": self.left_behind,
            "open_files": [self.open_files.0, self.open_files.1],
            "memory_mib": [self.memory_mib.0, self.memory_mib.1],
            "done_by_tool": self.done,
        })
    }

    /// Fails if anything came out, or anything got lost.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        self.shown.iter().for_each(|shown| println!("{shown}"));
        for bad in [Verdict::Outside, Verdict::Excluded, Verdict::Torn, Verdict::Unexpected] {
            ensure!(self.count(bad) == 0, "{} answers were {bad:?}", self.count(bad));
        }
        ensure!(
            self.touched == (0, 0),
            "files were written: outside, excluded: {:?}",
            self.touched
        );
        ensure!(self.left_behind.is_empty(), "left behind: {:?}", self.left_behind);
        ensure!(!self.told_in_logs, "a log or an audit record tells content");
        let (before, after) = self.open_files;
        ensure!(after <= before + MORE_FILES_MAX, "{before} open files became {after}");
        let (quarter, end) = self.memory_mib;
        ensure!(end <= quarter + GROWTH_MIB_MAX, "{quarter:.0} MiB became {end:.0}");
        // A tool that never did anything was never tried.
        for (name, done) in &self.done {
            ensure!(*done > 0, "{name} was never done under the race");
        }
        ensure!(self.swaps > self.rounds / 10, "there were only {} swaps", self.swaps);
        Ok(())
    }
}

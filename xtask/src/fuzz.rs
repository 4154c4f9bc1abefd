//! Fuzzing: builds the targets of the `fuzz` package under libFuzzer and runs each for a while.
//!
//! The instrumentation is the compiler's own and works on the stable toolchain. It comes without
//! AddressSanitizer: the workspace forbids `unsafe`, so what a target finds is a panic, a broken
//! promise, a hang or too much memory, and without it twice as many inputs are tried.
//!
//! What libFuzzer learns is kept in the target folder and is where the next run begins; the
//! seeds in the repository are only read. With `--runs` it begins with the seeds alone and tries
//! the same inputs each time, so that a change that fails is one that broke something.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Seconds for all targets together, unless said otherwise.
const SECONDS: u64 = 60;
/// The longest that one input may take.
const INPUT_SECONDS_MAX: u64 = 10;
/// Resident memory of a target; the largest was seen to take 75.
const MEMORY_MIB_MAX: u64 = 1024;
/// What coverage tells libFuzzer: which edges were passed, and what was compared with what.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(args)?;
    let mut names = targets(root)?;
    if let Some(only) = &options.target {
        names.retain(|name| name == only);
        ensure!(!names.is_empty(), "there is no target {only:?} in fuzz/fuzz_targets");
    }
    let home = target_dir(root).join("fuzz");
    let binaries = build(root, &home)?;
    let seconds = (options.seconds / names.len() as u64).max(1);
    let bound = Bound { seconds, runs: options.runs };
    let results = names.iter().map(|name| fuzz(root, &home, &binaries, name, &bound));
    let results = results.collect::<anyhow::Result<Vec<_>>>()?;
    println!("{:<12} {:>12} {:>8} {:>8}  result", "target", "inputs", "seconds", "corpus");
    for result in &results {
        let verdict = if result.failed { "FAILED" } else { "held" };
        let Run { name, inputs, corpus, .. } = result;
        println!("{name:<12} {inputs:>12} {seconds:>8} {corpus:>8}  {verdict}");
    }
    ensure!(results.iter().all(|result| !result.failed), "a target failed; see above");
    Ok(())
}

struct Options {
    seconds: u64,
    /// As many inputs for each target, the same in every run, and no more.
    runs: Option<u64>,
    target: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { seconds: SECONDS, runs: None, target: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
                "--runs" => options.runs = Some(value()?.parse().context("--runs")?),
                "--target" => options.target = Some(value()?.clone()),
                other => bail!("fuzz knows --seconds N, --runs N and --target NAME, not {other:?}"),
            }
        }
        Ok(options)
    }
}

/// The targets, by the names of their files.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).context("listing fuzz/fuzz_targets")? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds every target, and returns the folder that they are in.
fn build(root: &Path, home: &Path) -> anyhow::Result<PathBuf> {
    let about = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let about = String::from_utf8(about.stdout)?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say for which machine it builds")?;
    let status = Command::new("cargo")
        .args(["build", "--locked", "--package", "roothold-fuzz", "--features", "libfuzzer"])
        // Named, so that build scripts and macros are not instrumented.
        .args(["--bins", "--profile", "fuzz", "--target", host])
        .env("CARGO_TARGET_DIR", home)
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTFLAGS", INSTRUMENTED)
        .current_dir(root)
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "the targets could not be built");
    Ok(home.join(host).join("fuzz"))
}

/// How long one target runs.
struct Bound {
    seconds: u64,
    runs: Option<u64>,
}

struct Run {
    name: String,
    inputs: u64,
    corpus: usize,
    failed: bool,
}

fn fuzz(
    root: &Path,
    home: &Path,
    binaries: &Path,
    name: &str,
    bound: &Bound,
) -> anyhow::Result<Run> {
    // What a target makes on disk goes with this.
    let scratch = crate::scratch::scratch()?;
    let learned = if bound.runs.is_some() { scratch.path() } else { home };
    let (corpus, found) = (learned.join("corpus").join(name), home.join("found").join(name));
    for folder in [&corpus, &found] {
        std::fs::create_dir_all(folder)?;
    }
    let same = bound.runs.map(|runs| ["-seed=1".to_owned(), format!("-runs={runs}")]);
    let done = Command::new(binaries.join(name))
        .arg(&corpus)
        .arg(root.join("fuzz/corpus").join(name))
        .args(same.iter().flatten())
        .arg(format!("-max_total_time={}", bound.seconds))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting the target {name}"))?;
    let log = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        for line in tail.iter().rev() {
            println!("{line}");
        }
        println!("{name}: the input lies in {}; once mended, it is a seed", found.display());
    }
    let corpus = std::fs::read_dir(&corpus)?.count();
    Ok(Run {
        name: name.to_owned(),
        inputs: executed(&log),
        corpus,
        failed: !done.status.success(),
    })
}

/// How many inputs libFuzzer says that it ran.
fn executed(log: &str) -> u64 {
    let line = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |args: &[&str]| {
            Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let options = parse(&["--seconds", "5", "--target", "paths"]).unwrap();
        assert_eq!((options.seconds, options.target.as_deref()), (5, Some("paths")));
        assert_eq!(parse(&["--runs", "9"]).unwrap().runs, Some(9));
        assert_eq!(parse(&[]).unwrap().seconds, SECONDS);
        assert!(parse(&["--seconds"]).is_err() && parse(&["--seconds", "x"]).is_err());
        assert!(parse(&["paths"]).is_err());
    }

    #[test]
    fn the_count_of_inputs_is_found() {
        let log = "Done\nstat::number_of_executed_units: 23349\nstat::peak_rss_mb: 34\n";
        assert_eq!((executed(log), executed("")), (23_349, 0));
    }
}

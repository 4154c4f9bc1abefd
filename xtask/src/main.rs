//! Developer tasks in Rust, run as `cargo xtask TASK`. Never shipped, and no crate depends on it.
//!
//! - `ci`: everything that must hold before a change lands, in one command
//! - `tidy`: the rules of this repository that no compiler checks
//! - `golden`: writes the golden files anew, for a person to review
//! - `fuzz`: the fuzz targets under libFuzzer, each for a while
//! - `race`: every tool while other processes swap what it is asked about
//! - `mutants`: whether the gate's tests notice a change in it
//! - `bench`: what a call costs, beside a reference measured in the same run

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a developer's tool: it talks to a terminal and reads the source tree"
)]

mod bench;
mod ci;
mod fuzz;
mod golden;
mod mutants;
mod race;
mod scratch;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

const USAGE: &str = "\
usage: cargo xtask TASK
  ci [--skip STEP]...                run fmt, clippy, deny, doc, test and tidy
  tidy [--root DIR]                  check the repository's own rules
  golden                             write the golden files anew
  fuzz [--seconds N] [--target NAME]   run the fuzz targets, N seconds in all
  race [--rounds N] [--reference-rounds N] [--json FILE]   swap files while all tools run
  mutants [--shard K/N]              change the gate, one thing at a time; a test must fail
  bench http [--json FILE] [--quick]   what a call costs over HTTP, beside a bare handler
  bench files [--json FILE] [--quick]  file tools, beside every rival and the bare tools
  bench datasets [--json FILE] [--quick] [--large]   questions about large files, beside DuckDB and Polars
  bench databases [--json FILE] [--quick]   queries over HTTP, beside pgbench and a bare handler";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    let Some((task, rest)) = args.split_first() else { bail!("name a task\n{USAGE}") };
    match task.as_str() {
        "ci" => ci::run(&root()?, rest),
        "tidy" => {
            let root = match rest {
                [] => root()?,
                [flag, dir] if flag == "--root" => PathBuf::from(dir),
                _ => bail!("tidy takes only --root DIR\n{USAGE}"),
            };
            tidy::run(&root)
        }
        "golden" => golden::run(&root()?),
        "fuzz" => fuzz::run(&root()?, rest),
        "race" => race::run(&root()?, rest),
        "mutants" => mutants::run(&root()?, rest),
        "bench" => bench::run(&root()?, rest),
        other => bail!("there is no task {other:?}\n{USAGE}"),
    }
}

/// The repository's top folder, wherever the task was started.
fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has a folder above it")?.to_owned())
}

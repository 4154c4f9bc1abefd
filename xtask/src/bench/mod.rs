//! What a call costs. Each figure stands beside a reference that was measured in the same run,
//! in turn with it, so that a slow machine slows both.
//!
//! What it does not do: it fails only where a goal is stated, and it measures this machine, not
//! what a cluster can carry.

mod bare;
mod client;
mod corpus;
mod databases;
mod datasets;
mod expect;
mod family;
mod files;
mod files_http;
mod http;
mod operations;
mod physical;
mod process;
mod report;
pub(crate) mod rivals;
mod server;
mod stdio;
mod traces;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

pub(crate) use family::memory_of;

const BENCHES: [&str; 5] = ["http", "files", "datasets", "databases", "traces"];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    match args {
        [which, rest @ ..] if which == "bare" => bare::run(rest),
        [which, rest @ ..] if which == "bare-databases" => databases::bare(rest),
        [which, rest @ ..] if BENCHES.contains(&which.as_str()) => {
            let options = Options::parse(rest)?;
            if cfg!(debug_assertions) {
                return again_optimised(root, args);
            }
            let rows = match which.as_str() {
                "http" => http::run(&options)?,
                "datasets" => datasets::run(root, &options)?,
                "databases" => databases::run(&options)?,
                "traces" => traces::run(&options)?,
                _ => files::run(root, &options)?,
            };
            report::print(&rows);
            if let Some(path) = &options.json {
                report::write_json(path, &rows)?;
            }
            ensure!(rows.iter().all(report::Row::ok), "a goal was missed");
            Ok(())
        }
        _ => bail!(
            "bench knows only: http [--json FILE] [--quick], \
             files [--json FILE] [--quick] [--alone] [--only PART]..., \
             datasets [--json FILE] [--quick] [--large] [--only PART]..., \
             databases [--json FILE] [--quick] [--only PART]..., and \
             traces [--json FILE] [--quick] [--only PART]..."
        ),
    }
}

/// How much is measured and where it is written.
#[derive(Default)]
pub(crate) struct Options {
    json: Option<PathBuf>,
    quick: bool,
    /// Of the file operations, without the rivals.
    alone: bool,
    /// Of the datasets, what ten gigabytes take of memory, instead of the rivals.
    large: bool,
    /// Of the file operations, the questions and the databases, what has one of these in its name; all if there are none.
    only: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--alone" => options.alone = true,
                "--large" => options.large = true,
                "--only" => {
                    let part = args.next().context("--only needs a part of a name")?;
                    options.only.push(part.clone());
                }
                "--json" => {
                    let file = args.next().context("--json needs the name of a file")?;
                    options.json = Some(std::path::absolute(file)?);
                }
                other => bail!("bench does not know {other:?}"),
            }
        }
        Ok(options)
    }

    fn wants(&self, operation: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| operation.contains(part.as_str()))
    }

    /// Measurements of the same thing, of which the median counts.
    const fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// Blocks of repetitions of one file operation, of which the median counts.
    const fn blocks(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// Processor time that a server uses in each.
    const fn block_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 300 })
    }

    const fn calls_per_round(&self) -> usize {
        if self.quick { 30_000 } else { 60_000 }
    }

    const fn queries_per_round(&self) -> usize {
        if self.quick { 4_000 } else { 12_000 }
    }

    /// Loads of many callers, of which the median counts.
    const fn loads(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    const fn queries_per_caller(&self) -> usize {
        if self.quick { 200 } else { 1_000 }
    }

    /// Clients that hang up.
    const fn cancels(&self) -> usize {
        if self.quick { 50 } else { 200 }
    }
}

/// Builds server and bench with optimisation and goes on there: a figure of a debug build would say
/// nothing. What concerns the front and the files is measured without the tools for datasets, as
/// images are linked: what these cost a server that has them is a row of their own bench.
fn again_optimised(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let (profile, features) = match args.first().map(String::as_str) {
        Some("datasets") => ("release", None),
        _ => ("dist", Some("--no-default-features")),
    };
    let status = Command::new("cargo")
        .args(["build", "--profile", profile, "--locked"])
        .args(["--package", "roothold", "--package", "xtask", "--bins", "--example", "hello"])
        .args(features)
        .current_dir(root)
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "the optimised build failed");
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("the bench lies in TARGET/PROFILE")?;
    let status = Command::new(target.join(profile).join("xtask"))
        .arg("bench")
        .args(args)
        .status()
        .context("starting the optimised build of the bench")?;
    ensure!(status.success(), "the bench failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let args = ["--json", "/tmp/x.json", "--quick"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        assert!(options.wants("anything") && !options.alone);
        assert!(options.quick && options.json.unwrap().ends_with("x.json"));
        let args = ["--alone", "--only", "tree", "--only", "glob"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        assert!(options.alone && options.wants("glob *.md") && options.wants("tree of 9 files"));
        assert!(!options.wants("list 9 entries"));
        assert!(Options::parse(&["--only".to_owned()]).is_err());
        assert!(Options::parse(&["--json".to_owned()]).is_err());
        assert!(Options::parse(&["--fast".to_owned()]).is_err());
    }
}

//! A race: other processes swap links, rename directories and replace files below a root while a
//! server is asked, through every tool, about just these.
//!
//! A *round* is one request that was answered while that went on. Nothing that lies outside the
//! root, and nothing that is excluded, may come back in any answer; nothing may be written
//! there; every request is answered; and afterwards the server has no more open files and not
//! notably more memory than before.
//!
//! The reference server is asked the same, beside it: it shows what the race finds in a server
//! that looks at a path first and opens it afterwards.

mod arena;
mod asks;
mod attack;
mod contest;
mod judge;
mod session;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::bench::rivals::Rival;
use contest::{Outcome, Server};

/// Enough to meet every kind of swap with every tool some hundred times.
const ROUNDS: u64 = 20_000;

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    if let [word, base, part] = args
        && word == "attack"
    {
        return attack::run(Path::new(base), part);
    }
    let options = Options::parse(args)?;
    let program = build(root)?;
    let mut outcomes = vec![contest::run(Server::Roothold(&program), options.rounds)?];
    if options.reference_rounds > 0 {
        let reference = Rival::Reference.install(root)?;
        outcomes.push(contest::run(Server::Reference(&reference), options.reference_rounds)?);
    }
    outcomes.iter().for_each(Outcome::print);
    if let Some(file) = &options.json {
        let rows: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    outcomes[0].verdict()
}

struct Options {
    rounds: u64,
    reference_rounds: u64,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { rounds: ROUNDS, reference_rounds: 0, json: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--rounds" => options.rounds = value.parse().context("--rounds")?,
                "--reference-rounds" => {
                    options.reference_rounds = value.parse().context("--reference-rounds")?;
                }
                "--json" => options.json = Some(std::path::absolute(value)?),
                other => bail!("race knows --rounds, --reference-rounds and --json, not {other:?}"),
            }
        }
        ensure!(options.rounds > 0, "--rounds must be at least 1");
        Ok(options)
    }
}

/// Builds the server as it is tested, and returns where it is.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--package", "roothold", "--bin", "roothold"])
        .current_dir(root)
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "the server could not be built");
    let here = std::env::current_exe()?;
    Ok(here.parent().context("this program lies in a folder")?.join("roothold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |args: &[&str]| {
            Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let options = parse(&["--rounds", "7", "--reference-rounds", "3"]).unwrap();
        assert_eq!((options.rounds, options.reference_rounds), (7, 3));
        assert_eq!(parse(&[]).unwrap().rounds, ROUNDS);
        assert!(parse(&["--rounds"]).is_err() && parse(&["--rounds", "0"]).is_err());
        assert!(parse(&["--fast", "1"]).is_err());
    }
}

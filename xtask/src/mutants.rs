//! Mutation testing of the gate: cargo-mutants changes one thing in it at a time, and the core's own
//! tests must notice. What they do not notice must stand in `mutants.txt` with a reason.
//!
//! The tests run once for each of some 270 changes, so it is no part of `./test`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

const VERSION: &str = "27.1.0";
const PLACE: &str = ".tools/mutants";
/// Survivors that are explained: a name, two blanks, and the reason.
const EXPLAINED: &str = "xtask/src/mutants.txt";
/// Flags are bits apart from each other, and so is everything else that is joined with `|` in the
/// gate: these two are the same there.
const SAME: &str = r"replace \| with \^";
/// How long the tests may take with a change in them; as it is they take 15 s.
const TIMEOUT_SECONDS: &str = "180";

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let place = root.join(PLACE);
    let program = place.join("bin/cargo-mutants");
    if !program.exists() {
        let status = Command::new("cargo")
            .args(["install", "--locked", "--root"])
            .arg(&place)
            .arg(format!("cargo-mutants@{VERSION}"))
            .status()
            .context("starting cargo install")?;
        ensure!(status.success(), "cargo-mutants could not be installed");
    }
    let output = place.join("out");
    let status = Command::new(&program)
        .args([
            "mutants",
            "--package",
            "roothold-core",
            "--file",
            "crates/roothold-core/src/gate.rs",
        ])
        .args(["--file", "crates/roothold-core/src/gate/**", "--timeout", TIMEOUT_SECONDS])
        .args(["--exclude-re", SAME, "--output"])
        .arg(&output)
        // What follows stands for cargo-mutants, such as `--shard 0/4`.
        .args(args)
        .args(["--", "--lib"])
        .current_dir(root)
        .status()
        .context("starting cargo-mutants")?;
    // 2: some were missed; 3: some ran out of time, which is noticed.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo-mutants failed: {status}");
    let missed = std::fs::read_to_string(output.join("mutants.out/missed.txt"))?;
    let explained = std::fs::read_to_string(root.join(EXPLAINED))?;
    let new = unexplained(&missed, &explained);
    for name in &new {
        println!("not noticed, and not explained in {EXPLAINED}: {name}");
    }
    ensure!(new.is_empty(), "{} changes went unnoticed", new.len());
    Ok(())
}

/// The names of what was missed and is not explained, without the lines that they are in.
fn unexplained(missed: &str, explained: &str) -> BTreeSet<String> {
    let known: BTreeSet<&str> = explained
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once("  ")?.0))
        .collect();
    missed.lines().map(without_place).filter(|name| !known.contains(name.as_str())).collect()
}

/// `path:line:column: what` as `path: what`.
fn without_place(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(_), Some(_), Some(what)) => format!("{path}:{what}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_explained_may_move_but_not_change() {
        let explained = "# why\na.rs: replace f with ()  it only saves time\n";
        let missed = "a.rs:7:5: replace f with ()\na.rs:9:1: replace g with ()\n";
        let new: Vec<_> = unexplained(missed, explained).into_iter().collect();
        assert_eq!(new, ["a.rs: replace g with ()"]);
    }
}

//! Everything that must hold before a change lands. Steps run in order and the first that fails
//! ends the run, so what is read last is what is wrong.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

/// A step's name, its command, and what it sets in the environment.
struct Step {
    name: &'static str,
    command: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const STEPS: &[Step] = &[
    Step { name: "fmt", command: &["cargo", "fmt", "--all", "--check"], env: &[] },
    Step {
        name: "clippy",
        command: &[
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        env: &[],
    },
    // Without the tools for datasets, as whoever wants a small program builds it.
    Step {
        name: "light",
        command: &[
            "cargo",
            "clippy",
            "--package",
            "roothold",
            "--no-default-features",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        env: &[],
    },
    // Advisories need the RustSec database from the network: `cargo deny check advisories`.
    Step {
        name: "deny",
        command: &["cargo-deny", "--locked", "check", "bans", "licenses", "sources"],
        env: &[],
    },
    Step {
        name: "doc",
        command: &["cargo", "doc", "--workspace", "--no-deps", "--locked"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    // Most tests wait for servers that they started, half of the time on two cores with a test on each.
    Step {
        name: "test",
        command: &["cargo", "test", "--workspace", "--locked"],
        env: &[("RUST_TEST_THREADS", "4")],
    },
];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let skipped = skipped(args)?;
    for step in STEPS.iter().filter(|step| !skipped.contains(&step.name)) {
        let started = Instant::now();
        println!("== {}: {}", step.name, step.command.join(" "));
        let (program, args) = step.command.split_first().context("every step has a command")?;
        // What ./test installed comes before what the machine has.
        let installed = root.join(".tools/python/bin").join(program);
        let program = if installed.is_file() { installed } else { program.into() };
        let status = Command::new(&program)
            .args(args)
            .envs(step.env.iter().copied())
            .current_dir(root)
            .status()
            .with_context(|| {
                format!("starting {}; ./test installs what is missing", program.display())
            })?;
        ensure!(status.success(), "{} failed", step.name);
        println!("== {}: passed in {:.0?}", step.name, started.elapsed());
    }
    if !skipped.contains(&"tidy") {
        crate::tidy::run(root)?;
    }
    for step in skipped {
        println!("== {step}: NOT RUN, as asked");
    }
    Ok(())
}

fn skipped(args: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut skipped = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg != "--skip" {
            bail!("ci knows only --skip STEP, not {arg:?}");
        }
        let wanted = args.next().context("--skip needs the name of a step")?;
        let names = STEPS.iter().map(|step| step.name).chain(["tidy"]);
        let name = names.into_iter().find(|name| name == wanted);
        skipped.push(name.with_context(|| format!("there is no step {wanted:?}"))?);
    }
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_steps_can_be_skipped() {
        let args = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            skipped(&args(&["--skip", "deny", "--skip", "tidy"])).unwrap(),
            ["deny", "tidy"]
        );
        assert!(skipped(&args(&["--skip", "dney"])).is_err());
        assert!(skipped(&args(&["--skip"])).is_err());
        assert!(skipped(&args(&["deny"])).is_err());
    }
}

//! The reference for latencies: PostgreSQL's own bench, with a script.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::super::client::{Latencies, Load};
use super::super::server::path_text;
use super::recipe::{BEGIN, DECLARE, DISCARD, FETCH, ROLLBACK};
use super::{CONNECTIONS, ITEMS, LOOKUP, NAME as ROLE, Site};

/// What a client of it says, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// What the server says for a query.
    Recipe,
    /// The query alone.
    Plain,
}

impl Script {
    fn text(self) -> String {
        let query = LOOKUP.replace("$1", ":id");
        let id = format!("\\set id random(1, {ITEMS})\n");
        match self {
            Self::Plain => format!("{id}{query};\n"),
            // `\;` keeps statements in one message.
            Self::Recipe => {
                let begin = BEGIN.replace("; ", "\\; ");
                format!("{id}{begin};\n{DECLARE}{query};\n{FETCH};\n{ROLLBACK};\n{DISCARD};\n")
            }
        }
    }
}

/// Lets it run `transactions` in all.
pub(super) fn run(site: &Site, script: Script, transactions: usize) -> anyhow::Result<Load> {
    let dir = tempfile::tempdir_in(site.dir.path())?;
    let file = dir.path().join("script.sql");
    std::fs::write(&file, script.text())?;
    let started = Instant::now();
    let output = Command::new(program())
        .args(["--no-vacuum", "--jobs=2", "--log", "--host=127.0.0.1"])
        .args(["--client", &CONNECTIONS.to_string(), "--username", ROLE])
        .args(["--transactions", &(transactions / CONNECTIONS).to_string()])
        .args(["--port", &site.postgres.port().to_string(), "--file", &path_text(&file)?])
        .arg(format!("--log-prefix={}", path_text(&dir.path().join("log"))?))
        .arg(ROLE)
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null())
        .output()
        .context("starting pgbench (Debian package postgresql)")?;
    let elapsed = started.elapsed();
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let mut latencies = Vec::with_capacity(transactions);
    for entry in std::fs::read_dir(dir.path())? {
        let path = entry?.path();
        if path != file {
            latencies.extend(latencies_of(&std::fs::read_to_string(path)?)?);
        }
    }
    if latencies.len() != transactions / CONNECTIONS * CONNECTIONS {
        bail!("pgbench tells of {} transactions of {transactions}", latencies.len());
    }
    Ok(Load { elapsed, latencies: Latencies::of(latencies) })
}

fn program() -> PathBuf {
    roothold_testing::binaries().join("pgbench")
}

/// Of each transaction a line: client, number, microseconds, script, when.
fn latencies_of(log: &str) -> anyhow::Result<Vec<Duration>> {
    let latency = |line: &str| {
        let micros = line.split(' ').nth(2)?.parse().ok()?;
        Some(Duration::from_micros(micros))
    };
    log.lines()
        .map(|line| latency(line).with_context(|| format!("pgbench logs {line:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read() {
        let log = "0 1 1234 0 1700000000 5\n1 1 70 0 1700000000 9\n";
        let times = latencies_of(log).unwrap();
        assert_eq!(times, [Duration::from_micros(1_234), Duration::from_micros(70)]);
        assert!(latencies_of("0 1 failed 0 1700000000 5\n").is_err());
    }

    #[test]
    fn a_message_of_the_recipe_is_one_of_the_script() {
        let text = Script::Recipe.text();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(
            text.contains("id = :id;\n") && text.contains("BEGIN READ ONLY\\; SET LOCAL"),
            "{text}"
        );
    }
}

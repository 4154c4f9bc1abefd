//! Whether server and reference send the same statements: read in PostgreSQL's log.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::super::client;
use super::super::process::{CLIENT_CORE, Server};
use super::{Site, WATCHED, lookup};

/// Calls before the one that is looked at: connections are made, and rights asked.
const CALLS_BEFORE: usize = 3;

/// Fails if a call of the server and one of the bare handler are not the same to PostgreSQL.
pub(super) async fn same_statements(site: &Site) -> anyhow::Result<()> {
    let ours = statements(site, &site.roothold(CLIENT_CORE, WATCHED)?).await?;
    let theirs = statements(site, &site.bare(CLIENT_CORE, WATCHED)?).await?;
    ensure!(!theirs.is_empty(), "PostgreSQL's log holds no statement of the bare handler");
    ensure!(
        ours == theirs,
        "the bare handler must send what the server sends; bring recipe.rs up to date:\n{ours:#?}\n{theirs:#?}"
    );
    println!("both send these {} messages a call, as PostgreSQL's log shows", ours.len());
    Ok(())
}

async fn statements(site: &Site, server: &Server) -> anyhow::Result<Vec<String>> {
    let request = lookup(server.addr, 7);
    client::connection(server.addr, std::slice::from_ref(&request), CALLS_BEFORE).await?;
    let before = log(site)?.len();
    client::connection(server.addr, &[request], 1).await?;
    let log = log(site)?;
    let said = log.get(before..).context("PostgreSQL's log became shorter")?;
    Ok(said.lines().filter_map(statement).collect())
}

fn log(site: &Site) -> anyhow::Result<String> {
    let path: PathBuf = site.postgres.dir().join("server.log");
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// What was said, without the time that it took, and with all blanks and all numbers alike: times
/// that are left and names of prepared statements change from call to call.
fn statement(line: &str) -> Option<String> {
    let (_, said) = line.split_once("LOG:  duration: ")?;
    let (_, said) = said.split_once(" ms  ")?;
    let mut alike = String::new();
    for c in said.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if !(matches!(c, '#' | ' ') && alike.ends_with(c)) {
            alike.push(c);
        }
    }
    Some(alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_counts() {
        let line = |said: &str| statement(&format!("2026-11-26 10:00:00.123 UTC [77] {said}"));
        let said = line("LOG:  duration: 0.061 ms  parse s12: SET x  TO 29999");
        assert_eq!(said.as_deref(), Some("parse s#: SET x TO #"));
        assert_eq!(line("LOG:  connection received"), None);
        assert_eq!(line("DETAIL:  parameters: $1 = '7'"), None);
    }
}

//! What `roothold check` says of databases: each is asked, as the server would ask it at its start.

use std::fmt::Write as _;
use std::sync::Arc;

use roothold_databases::Finding;

use super::tools;
use crate::config::{DatabaseAccess, ToolSection};
use crate::databases::{Database, Databases, Role, State};

/// The databases in words, and the tools over them, and whether all of these work; whoever asks
/// [`Databases::required_are_whole`] afterwards is told.
pub(super) fn describe_all(
    databases: &Databases,
    tools: &[ToolSection],
) -> anyhow::Result<(String, bool)> {
    let all = databases.all();
    if all.is_empty() {
        return Ok((String::new(), true));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tools = runtime.block_on(async {
        databases.ask_all().await;
        tools::look(databases, tools).await
    });
    let mut text = String::new();
    all.iter().for_each(|database| describe(&mut text, database));
    for looked in &tools {
        tools::describe(&mut text, looked);
    }
    runtime.block_on(databases.close());
    // A server that does not answer must not keep the process.
    runtime.shutdown_background();
    Ok((text, !tools.iter().any(tools::Looked::is_broken)))
}

/// How many rights too many are still worth taking away, one by one.
const MENDED_MAX: usize = 10;

/// One right too many, and the SQL that takes it away.
fn tell(text: &mut String, finding: &Finding, access: DatabaseAccess) {
    let weight = match (finding.disables, access) {
        (false, _) => "advice",
        (true, DatabaseAccess::Read) => "disables",
        (true, DatabaseAccess::Write) => "note",
    };
    let _ = writeln!(text, "  {weight}: {}", finding.text);
    if !finding.sql.is_empty() {
        let _ = writeln!(text, "    {}", finding.sql.replace('\n', "\n    "));
    }
}

fn describe(text: &mut String, database: &Arc<Database>) {
    let section = &database.section;
    let (kind, access) = (database.kind().as_str(), section.access.as_str());
    let required = if section.required { ", required" } else { "" };
    let _ = writeln!(text, "database {}\n  {kind}, {access}{required}", section.name);
    let principals = section.admitted().map(|names| names.into_iter().collect::<Vec<_>>());
    let principals = principals.map_or_else(
        || "everyone with the scope databases:read".to_owned(),
        |names| names.join(", "),
    );
    let _ = writeln!(text, "  principals: {principals}");
    for role in database.roles() {
        match role.principal() {
            Some(name) => {
                let _ = writeln!(text, "  by the role of {}:", name.escape_debug());
            }
            None if !section.roles.is_empty() => text.push_str("  by the role of all others:\n"),
            None => {}
        }
        describe_role(text, role);
    }
}

fn describe_role(text: &mut String, role: &Role) {
    let state = match role.health.state() {
        State::Ready => "it can be used".to_owned(),
        State::Disabled => "DISABLED: it is to be read only, and its role can do more".to_owned(),
        State::Unasked | State::Down => {
            let reason = role.health.reason().unwrap_or_default();
            format!("it does not answer now: {reason}")
        }
    };
    let _ = writeln!(text, "  {state}");
    let Some(report) = role.source.report() else { return };
    let is_read = role.section.access == DatabaseAccess::Read;
    let disabling = report.findings.iter().filter(|finding| finding.disables && is_read).count();
    if disabling > MENDED_MAX {
        // A role with so many rights is somebody's: taking them away would break what that one does.
        for finding in report.findings.iter().filter(|finding| finding.disables).take(MENDED_MAX) {
            let _ = writeln!(text, "  disables: {}", finding.text);
        }
        let more = disabling - MENDED_MAX;
        let _ =
            writeln!(text, "  and {more} more: leave this role as it is, and use one of its own");
    } else {
        report.findings.iter().for_each(|finding| tell(text, finding, role.section.access));
    }
    if disabling > 0 && !report.role_sql.is_empty() {
        let _ = writeln!(
            text,
            "  a role that only reads what is shown, to be made by an administrator:"
        );
        for line in report.role_sql.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
}

//! What `roothold check` says of tools that are made of SQL: whether their databases can plan the
//! statements. Nothing of them runs.

use std::fmt::Write as _;
use std::time::Duration;

use roothold_core::{Budget, Fault};
use roothold_databases::{Parameter, Statement};
use serde_json::Value;

use crate::config::{DatabaseAccess, ToolSection};
use crate::databases::{Databases, State};

/// How long one statement may take to be planned.
const PLAN_TIMEOUT: Duration = Duration::from_secs(15);

/// What one tool is said to be.
pub(super) struct Looked<'a> {
    tool: &'a ToolSection,
    /// `None` where its database was not asked: it cannot be, or has no plans for such a statement.
    plans: Option<Result<(), Fault>>,
}

impl Looked<'_> {
    /// Whether the server could be served, and the tool could not be used.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.plans, Some(Err(_)))
    }
}

/// Asks the databases, one tool after the other.
pub(super) async fn look<'a>(databases: &Databases, tools: &'a [ToolSection]) -> Vec<Looked<'a>> {
    let mut looked = Vec::with_capacity(tools.len());
    for tool in tools {
        looked.push(Looked { tool, plans: plans(databases, tool).await });
    }
    looked
}

/// Whether the statement can be planned. Without values, which a plan does not need.
async fn plans(databases: &Databases, tool: &ToolSection) -> Option<Result<(), Fault>> {
    let database = databases.named(&tool.database)?;
    let has_plan = tool.has_plan(&database.section);
    // By one of the roles that the tool is for: what one can do others are meant to, too.
    let is_for = |principal: &str| {
        tool.principals.as_ref().is_none_or(|names| names.iter().any(|name| name == principal))
    };
    let mut fitting = database.roles().iter().filter(|role| role.principal().is_none_or(is_for));
    let role = fitting.find(|role| has_plan && role.health.state() == State::Ready)?;
    let sql = match tool.bound_sql(&database.section) {
        Ok(sql) => sql,
        Err(reason) => return Some(Err(Fault::invalid(reason))),
    };
    let nothing = |one: &crate::config::ToolParameter| Parameter {
        value: Value::Null,
        type_name: one.database_type.clone(),
    };
    let statement = Statement { sql, parameters: tool.parameters.iter().map(nothing).collect() };
    let budget = Budget::new(1 << 20, 1_000, PLAN_TIMEOUT);
    Some(role.source.explain(&statement, &budget).await.map(drop))
}

pub(super) fn describe(text: &mut String, looked: &Looked<'_>) {
    let Looked { tool, plans } = looked;
    let access = match tool.access {
        DatabaseAccess::Read => "reads",
        DatabaseAccess::Write => "changes",
    };
    let names: Vec<&str> = tool.parameters.iter().map(|one| one.name.as_str()).collect();
    let _ = writeln!(
        text,
        "tool {}\n  {access} {}; parameters: {}",
        tool.name,
        tool.database,
        shown(&names)
    );
    let principals = tool.principals.as_ref().map(|names| names.join(", "));
    let principals = principals.unwrap_or_else(|| "all who may use the database".to_owned());
    let _ = writeln!(text, "  principals: {principals}");
    let state = match plans {
        Some(Ok(())) => "its statement can be planned".to_owned(),
        Some(Err(fault)) => format!("BROKEN: {}", fault.public()),
        None => "its database was not asked whether it can run the statement".to_owned(),
    };
    let _ = writeln!(text, "  {state}");
}

fn shown(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

//! Plans. `EXPLAIN` runs nothing unless it says `ANALYZE`, and then in the same read-only
//! transaction as everything else.
//!
//! No `EXPLAIN` of a caller's is sent as it is: its options are read and written anew, and what it
//! explains stands behind `DECLARE … CURSOR FOR`, as everything that runs.

use futures::StreamExt as _;
use roothold_core::{Fault, FaultKind};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::error::Asked;
use super::param;
use super::query::{DECLARE, told};
use super::session::Session;
use crate::answer::{Answer, Column, Page, Plan, Statement, Window};
use crate::said;
use crate::sql::{self, Explain};

const EXPLAIN: &str = "EXPLAIN (FORMAT JSON) ";
/// The most bytes of a plan that is read.
const PLAN_BYTES_MAX: usize = 4 << 20;
/// The options of `EXPLAIN` that say yes or no.
const FLAGS: &[&str] = &[
    "analyze",
    "verbose",
    "costs",
    "settings",
    "generic_plan",
    "buffers",
    "wal",
    "timing",
    "summary",
    "memory",
];
const FORMATS: &[&str] = &["text", "json", "xml", "yaml"];

/// A column that the server sends as text in either format: `text`, `json`, `xml`.
struct Raw(String);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The plan of a statement.
pub(super) async fn plan(
    session: &Session,
    statement: &Statement,
    cost_max: Option<f64>,
) -> Result<Plan, Fault> {
    let sql = format!("{EXPLAIN}{}", statement.sql);
    let asked = Asked::behind(EXPLAIN, &statement.sql);
    let mut text = String::new();
    ask(session, &sql, statement, asked, |row| {
        text.push_str(
            &row.try_get::<_, Raw>(0).map_err(|error| Fault::internal(error.to_string()))?.0,
        );
        if text.len() > PLAN_BYTES_MAX {
            return Err(Fault::new(
                FaultKind::Limit,
                "the plan is too long to be shown; ask for less at once",
            ));
        }
        Ok(true)
    })
    .await?;
    let plan: Value = serde_json::from_str(&text)
        .map_err(|_| Fault::internal("the database's plan is not JSON"))?;
    let cost = plan.pointer("/0/Plan/Total Cost").and_then(Value::as_f64);
    let too_much = matches!((cost, cost_max), (Some(cost), Some(most)) if cost > most);
    Ok(Plan { plan, cost, cost_max, would_run: !too_much })
}

/// Refuses a statement whose plan costs more than it may. Of an `EXPLAIN` it is what that explains.
pub(super) async fn within_cost(
    session: &Session,
    statement: &Statement,
    cost_max: f64,
) -> Result<(), Fault> {
    let explained = sql::explain(&statement.sql).map(|explain| Statement {
        sql: explain.explained.to_owned(),
        parameters: statement.parameters.clone(),
    });
    let plan = plan(session, explained.as_ref().unwrap_or(statement), Some(cost_max)).await?;
    if plan.would_run {
        return Ok(());
    }
    Err(said::costs(plan.cost, cost_max))
}

/// An `EXPLAIN` of the caller's, as a result of one column.
pub(super) async fn as_query(
    session: &Session,
    statement: &Statement,
    explain: &Explain<'_>,
    window: Window,
) -> Result<Answer, Fault> {
    let head = head(explain)?;
    let sql = format!("{head}{}", explain.explained);
    let asked = Asked::of_end(&head, &statement.sql, explain.explained);
    let mut page = Page::new(window);
    let mut skip = window.offset;
    ask(session, &sql, statement, asked, |row| {
        if skip > 0 {
            skip -= 1;
            return Ok(true);
        }
        let line = row.try_get::<_, Raw>(0).map_err(|error| Fault::internal(error.to_string()))?;
        page.push(vec![Value::String(line.0)])?;
        Ok(!page.is_full())
    })
    .await?;
    let columns = vec![Column { name: "QUERY PLAN".to_owned(), kind: "text".to_owned() }];
    Ok(Answer { columns, next_offset: page.next_offset(), rows: page.rows, stable: true })
}

/// What stands before that which is explained, in words of ours only.
fn head(explain: &Explain<'_>) -> Result<String, Fault> {
    let mut options = Vec::new();
    for (name, value) in &explain.options {
        let name = name.to_ascii_lowercase();
        let value = value.map(str::to_ascii_lowercase);
        let word = match (name.as_str(), value.as_deref()) {
            ("format", Some(format)) if FORMATS.contains(&format) => format,
            (flag, None | Some("true" | "on" | "1")) if FLAGS.contains(&flag) => "true",
            (flag, Some("false" | "off" | "0")) if FLAGS.contains(&flag) => "false",
            _ => {
                let text = format!(
                    "EXPLAIN takes {} here, each with true or false, and format with one of {}",
                    FLAGS.join(", "),
                    FORMATS.join(", ")
                );
                return Err(Fault::invalid(text));
            }
        };
        options.push(format!("{name} {word}"));
    }
    let options =
        if options.is_empty() { String::new() } else { format!("({}) ", options.join(", ")) };
    Ok(format!("EXPLAIN {options}{DECLARE}"))
}

/// Sends one statement and shows `each` its rows for as long as it wants them.
async fn ask(
    session: &Session,
    sql: &str,
    statement: &Statement,
    asked: Asked<'_>,
    mut each: impl FnMut(&Row) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let bound = param::bind(&statement.parameters)?;
    let rows = session
        .client()
        .query_typed_raw(sql, bound)
        .await
        .map_err(|error| told(session, &error, asked))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.next().await {
        if !each(&row.map_err(|error| told(session, &error, asked))?)? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(sql: &str) -> Option<Result<String, String>> {
        let explain = sql::explain(sql)?;
        let head = head(&explain).map_err(|fault| fault.public().to_owned());
        Some(head.map(|head| format!("{head}{}", explain.explained)))
    }

    #[test]
    fn an_explain_is_written_anew_and_explains_what_a_cursor_takes() {
        let cursor = "DECLARE roothold NO SCROLL CURSOR FOR";
        for (sql, options, explained) in [
            ("EXPLAIN select 1", "", " select 1"),
            (
                "-- a\r/* b */explain analyze verbose select 1",
                "(analyze true, verbose true) ",
                " select 1",
            ),
            ("explain(select 1)", "", "(select 1)"),
            ("explain ((select 1))", "", " ((select 1))"),
            ("explain (with a as (select 1) select 2)", "", " (with a as (select 1) select 2)"),
            (
                "EXPLAIN (ANALYZE off, FORMAT json,costs) select 1",
                "(analyze false, format json, costs true) ",
                " select 1",
            ),
            ("explain create temp table x as select 1", "", " create temp table x as select 1"),
            ("explain verbose; drop table x", "(verbose true) ", "; drop table x"),
        ] {
            let wanted = format!("EXPLAIN {options}{cursor} {explained}");
            assert_eq!(sent(sql), Some(Ok(wanted)), "{sql}");
        }
        for sql in ["select 1", "(explain select 1)", "explained", "\"explain\" select 1", ""] {
            assert_eq!(sent(sql), None, "{sql}");
        }
        for sql in [
            "explain (analyze maybe) select 1",
            "explain (format 'json; x') select 1",
            "explain (nothing) select 1",
            "explain (format) select 1",
        ] {
            assert!(sent(sql).unwrap().unwrap_err().contains("EXPLAIN takes"), "{sql}");
        }
    }
}

//! Plans. The word `EXPLAIN` and its options are always ours. It runs nothing unless it says `ANALYZE`,
//! and then a query only, since the caller's text stands behind `DECLARE … CURSOR FOR` in it too.

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
use crate::sql::Explain;

const EXPLAIN: &str = "EXPLAIN (FORMAT JSON) ";
/// The most bytes of a plan that is read.
const PLAN_BYTES_MAX: usize = 4 << 20;

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
    planned(session, EXPLAIN, 0, statement, cost_max).await
}

/// The plan of what stands in the statement from `from` on, with `before` in front of it.
async fn planned(
    session: &Session,
    before: &str,
    from: usize,
    statement: &Statement,
    cost_max: Option<f64>,
) -> Result<Plan, Fault> {
    let asked = Asked::behind(&statement.sql, before, from);
    let mut text = String::new();
    let sql = format!("{before}{}", &statement.sql[from..]);
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

/// Refuses a query, which stands in the statement from `from` on, whose plan costs more than it may.
pub(super) async fn within_cost(
    session: &Session,
    statement: &Statement,
    from: usize,
    cost_max: f64,
) -> Result<(), Fault> {
    let before = format!("{EXPLAIN}{DECLARE}");
    let plan = planned(session, &before, from, statement, Some(cost_max)).await?;
    if plan.would_run {
        return Ok(());
    }
    Err(said::costs(plan.cost, cost_max))
}

/// An `EXPLAIN` of the caller's, as a result of one column.
pub(super) async fn as_query(
    session: &Session,
    explain: &Explain,
    statement: &Statement,
    window: Window,
) -> Result<Answer, Fault> {
    let before = format!("{}{DECLARE}", explain.words);
    let asked = Asked::behind(&statement.sql, &before, explain.at);
    let mut page = Page::new(window);
    let mut skip = window.offset;
    let sql = format!("{before}{}", &statement.sql[explain.at..]);
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

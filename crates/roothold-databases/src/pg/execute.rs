//! Statements that change data, in sources that allow it.

use futures::StreamExt as _;
use roothold_core::{Budget, Fault, FaultKind};
use serde_json::Value;

use super::binary::Shown;
use super::error::Asked;
use super::param;
use super::query::told;
use super::session::Session;
use super::text::name;
use crate::answer::{Answer, Column, Executed, Page, Statement, Window};
use crate::said;
use crate::sql::{self, Beginning, Dialect};

/// What a statement may begin with. All else would leave the transaction, the session or the
/// database: `COMMIT`, `SET`, `COPY`, `LISTEN`, `PREPARE`, `DO`, `CALL`, …
const BEGINNINGS: &[&str] = &[
    "insert", "update", "delete", "merge", "with", "create", "alter", "drop", "truncate",
    "comment", "refresh",
];

/// Runs the statement and commits it, or with `dry_run` undoes it again.
pub(super) async fn run(
    session: Session,
    statement: &Statement,
    window: Window,
    dry_run: bool,
    budget: &Budget,
) -> Result<Executed, Fault> {
    let beginning = sql::beginning(Dialect::Postgres, &statement.sql);
    let known = |beginning: &Beginning| BEGINNINGS.contains(&beginning.word.as_str());
    let Some(Beginning { at, .. }) = beginning.filter(known) else {
        session.end().await;
        return Err(said::begins_with(BEGINNINGS));
    };
    if sql::changes_accounts(Dialect::Postgres, &statement.sql[at..]) {
        session.end().await;
        return Err(Fault::new(FaultKind::Denied, said::ACCOUNTS));
    }
    let (rows_affected, answer) = match changed(&session, statement, at, window).await {
        Ok(changed) => changed,
        Err(fault) => {
            session.end_failed(&fault);
            return Err(fault);
        }
    };
    if dry_run {
        session.end().await;
    } else {
        budget.check()?;
        budget.note_effect();
        session.commit().await?;
    }
    Ok(Executed { rows_affected, answer, dry_run })
}

/// Runs the statement as it stands from `at` on: from the word on that it was let through for.
async fn changed(
    session: &Session,
    statement: &Statement,
    at: usize,
    window: Window,
) -> Result<(u64, Answer), Fault> {
    let asked = Asked::behind(&statement.sql, "", at);
    let bound = param::bind(&statement.parameters)?;
    let rows = session
        .client()
        .query_typed_raw(&statement.sql[at..], bound)
        .await
        .map_err(|error| told(session, &error, asked))?;
    let mut rows = std::pin::pin!(rows);
    let mut page = Page::new(Window { offset: 0, ..window });
    let mut columns: Vec<Column> = Vec::new();
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| told(session, &error, asked))?;
        if columns.is_empty() {
            let column = |column: &tokio_postgres::Column| Column {
                name: column.name().to_owned(),
                kind: name(column.type_()),
            };
            columns = row.columns().iter().map(column).collect();
        }
        if !page.is_full() {
            let value = |at| row.try_get::<_, Option<Shown>>(at);
            let values: Result<Vec<_>, _> = (0..row.len()).map(value).collect();
            let values = values.map_err(|error| Fault::internal(error.to_string()))?;
            page.push(
                values.into_iter().map(|shown| shown.map_or(Value::Null, |s| s.0)).collect(),
            )?;
        }
    }
    let affected = rows.rows_affected().unwrap_or(0);
    let answer = Answer { columns, next_offset: None, rows: page.rows, stable: false };
    Ok((affected, answer))
}

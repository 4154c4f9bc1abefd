//! A statement of a caller and a page of its result, row by row from the wire.

use futures::StreamExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Params, Row, Statement as Prepared, Value};
use roothold_core::Fault;

use super::error;
use super::prepare::{Asked, gate, prepare};
use super::session::Session;
use super::value::{Shape, name};
use crate::answer::{Answer, Column, Page, Statement, Window};

/// What a query begins with.
const QUERIES: &[&str] = &["select", "with", "values", "table"];

/// Runs a query and answers a page of its result.
pub(super) async fn run(
    session: &mut Session,
    statement: &Statement,
    window: Window,
) -> Result<Answer, Fault> {
    let (asked, explains) = match Asked::explained(statement)? {
        Some(asked) => (asked, true),
        None => (Asked::of(statement, QUERIES)?, false),
    };
    gate(session, &asked).await?;
    let before = if explains { "EXPLAIN " } else { "" };
    let prepared = prepare(session, before, &asked).await?;
    let prepared =
        prepared.map_err(|error| error::fault(&error, Some(&asked), session.bytes_max()))?;
    if prepared.num_columns() == 0 {
        return Err(Fault::invalid("a query is a SELECT, or WITH or VALUES"));
    }
    let values = asked.values(prepared.num_params().into())?;
    limit_rows(session, window).await?;
    let mut answer = page(session, &prepared, values, &asked, (window, false)).await?.0;
    answer.stable = explains || asked.is_ordered();
    Ok(answer)
}

/// Lets the server end a result behind the page, unless the statement has a LIMIT of its own.
async fn limit_rows(session: &mut Session, window: Window) -> Result<(), Fault> {
    let rows = window.offset.saturating_add(window.rows as u64).saturating_add(1);
    let sql = format!("SET SESSION sql_select_limit={rows}");
    session.conn()?.query_drop(sql).await.map_err(|error| error::fault(&error, None, 0))
}

/// Runs what was prepared: a page of its rows, and how many rows it changed. With `whole` it is read to
/// its end, however much comes.
pub(super) async fn page(
    session: &mut Session,
    prepared: &Prepared,
    values: Params,
    asked: &Asked<'_>,
    (window, whole): (Window, bool),
) -> Result<(Answer, u64), Fault> {
    let bytes_max = session.bytes_max();
    let told = |error: mysql_async::Error| error::fault(&error, Some(asked), bytes_max);
    let conn = session.conn()?;
    let mut result = conn.exec_iter(prepared, values).await.map_err(told)?;
    let columns: Vec<mysql_async::Column> = result.columns_ref().to_vec();
    let shapes: Vec<Shape> = columns.iter().map(Shape::of).collect();
    let mut page = Page::new(window);
    let mut left = Leftover { offset: window.offset, rows: window.rows, bytes: window.bytes };
    let (mut ended, mut count) = (true, 0);
    if let Some(mut rows) = result.stream::<Row>().await.map_err(told)? {
        while let Some(row) = rows.next().await {
            let row = row.map_err(told)?.unwrap_raw();
            count += 1;
            if left.passes_over() {
                continue;
            }
            if !page.is_full() {
                let shown = |(value, shape): (Option<Value>, &Shape)| {
                    shape.value(value.unwrap_or(Value::NULL))
                };
                page.push(row.into_iter().zip(&shapes).map(shown).collect())?;
            } else if !whole && left.is_too_much(&row) {
                ended = false;
                break;
            }
        }
    }
    // The server counts no rows that it gives back.
    let affected = if columns.is_empty() { result.affected_rows() } else { count };
    drop(result);
    if !ended {
        session.note_runs_on();
    }
    let column = |column: &mysql_async::Column| Column {
        name: column.name_str().into(),
        kind: name(column),
    };
    let columns = columns.iter().map(column).collect();
    let answer =
        Answer { columns, next_offset: page.next_offset(), rows: page.rows, stable: false };
    Ok((answer, affected))
}

/// Rows that are read for nobody: those before the page, and behind it as many as another page
/// would hold. It is less work to read these than to make a new connection.
struct Leftover {
    offset: u64,
    rows: usize,
    bytes: usize,
}

impl Leftover {
    fn passes_over(&mut self) -> bool {
        let before = self.offset > 0;
        self.offset = self.offset.saturating_sub(1);
        before
    }

    fn is_too_much(&mut self, row: &[Option<Value>]) -> bool {
        let size = |value: &Option<Value>| match value {
            Some(Value::Bytes(bytes)) => bytes.len(),
            _ => 8,
        };
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.iter().map(size).sum());
        self.rows == 0 || self.bytes == 0
    }
}

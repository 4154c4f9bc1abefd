//! A SELECT under a cursor of a read-only transaction.
//!
//! What the caller wrote stands behind `DECLARE … CURSOR FOR`, in a message that holds one
//! statement: so the server's grammar lets nothing but a SELECT through, and refuses in it `INTO`,
//! writing `WITH`, and locks. Rows are fetched as text, by a message of ours.

use futures::StreamExt as _;
use roothold_core::Fault;
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::error::{Asked, fault};
use super::param::{self, Text};
use super::session::Session;
use super::text::{Shape, name};
use crate::answer::{Answer, Column, Page, Statement, Window, too_large};
use crate::sql::{self, Dialect};

/// What stands before the caller's text.
pub(super) const DECLARE: &str = "DECLARE roothold NO SCROLL CURSOR FOR ";
/// The most rows of one fetch: as many are on their way at once.
const FETCH_MAX: usize = 500;

/// How a query ended that did not answer.
pub(super) enum Ended {
    /// So it is.
    With(Fault),
    /// On a connection whose driver lost a statement of its own: on a new one it would not.
    Stale,
    /// By what went wrong in the same transaction before.
    Aborted,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::With(fault)
    }
}

/// Runs the statement and answers a page of its result.
pub(super) async fn run(
    session: &Session,
    statement: &Statement,
    window: Window,
) -> Result<Answer, Ended> {
    let declare = format!("{DECLARE}{}", statement.sql);
    let asked = Asked::behind(&statement.sql, DECLARE, 0);
    let parameters = param::bind(&statement.parameters)?;
    declared(session, &declare, &parameters, asked).await?;
    let fetch = Fetch { session, asked, window };
    let (columns, first) =
        tokio::join!(biased; fetch.columns(), fetch.rows(first_fetch(window), window.rows + 1));
    let (columns, shapes, mut rows) = match (columns, first) {
        (Ok((columns, shapes)), Ok(rows)) => (columns, shapes, rows),
        (Err(Ended::Aborted) | Ok(_), Err(fault)) => return Err(fault.into()),
        (Err(ended), _) => return Err(ended),
    };
    let mut page = Page::new(window);
    loop {
        let (came, ended) = (rows.came.len(), rows.ended);
        for row in rows.came {
            page.push(values(&shapes, &row)?)?;
            if page.is_full() {
                break;
            }
        }
        if !ended {
            page.close();
        }
        if page.is_full() || came < rows.asked {
            break;
        }
        rows = fetch.rows(String::new(), page.wanted()).await?;
    }
    Ok(Answer {
        columns,
        next_offset: page.next_offset(),
        rows: page.rows,
        stable: sql::is_ordered(Dialect::Postgres, &statement.sql),
    })
}

pub(super) async fn declared(
    session: &Session,
    declare: &str,
    parameters: &[(Text, Type)],
    asked: Asked<'_>,
) -> Result<(), Fault> {
    let bound = parameters.iter().map(|(text, kind)| (text, kind.clone()));
    let rows = session
        .client()
        .query_typed_raw(declare, bound)
        .await
        .map_err(|error| told(session, &error, asked))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.next().await {
        row.map_err(|error| told(session, &error, asked))?;
    }
    Ok(())
}

/// The fault for an error, which may be that the connection was closed for what the server sent.
pub(super) fn told(session: &Session, error: &tokio_postgres::Error, asked: Asked<'_>) -> Fault {
    if error.as_db_error().is_none() && session.met_too_large() {
        return too_large(session.bytes_max());
    }
    fault(error, asked)
}

/// Rows that are not wanted are passed over by the server.
fn first_fetch(window: Window) -> String {
    match window.offset {
        0 => String::new(),
        offset => format!("MOVE FORWARD {offset} IN roothold; "),
    }
}

struct Fetch<'a> {
    session: &'a Session,
    asked: Asked<'a>,
    window: Window,
}

/// Rows that one fetch brought.
struct Rows {
    came: Vec<SimpleQueryRow>,
    /// How many were asked for.
    asked: usize,
    /// Whether all that it brings came.
    ended: bool,
}

impl Fetch<'_> {
    /// The columns and how their texts become values. The types are asked for with a statement of
    /// ours, so that rows can come as text.
    async fn columns(&self) -> Result<(Vec<Column>, Vec<Shape>), Ended> {
        let described = self.session.client().prepare("FETCH FORWARD 0 FROM roothold").await;
        let described = described.map_err(|error| match error.code() {
            Some(&SqlState::INVALID_SQL_STATEMENT_NAME) => Ended::Stale,
            Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => Ended::Aborted,
            _ => Ended::With(told(self.session, &error, self.asked)),
        })?;
        let mut columns = Vec::new();
        let mut shapes = Vec::new();
        for column in described.columns() {
            let kind = column.type_();
            if Type::from_oid(kind.oid()).is_none() {
                self.session.server().remember(kind);
            }
            columns.push(Column { name: column.name().to_owned(), kind: name(kind) });
            shapes.push(Shape::of(kind));
        }
        Ok((columns, shapes))
    }

    async fn rows(&self, before: String, wanted: usize) -> Result<Rows, Fault> {
        let asked = wanted.min(FETCH_MAX);
        let sql = format!("{before}FETCH FORWARD {asked} FROM roothold");
        let told = |error| told(self.session, &error, self.asked);
        let stream = self.session.client().simple_query_raw(&sql).await.map_err(told)?;
        let mut stream = std::pin::pin!(stream);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(message) = stream.next().await {
            if let SimpleQueryMessage::Row(row) = message.map_err(told)? {
                bytes += text_bytes(&row)?;
                rows.push(row);
            }
            // One row more than fits shows that there is more; the rest is passed over.
            if bytes > self.window.bytes {
                return Ok(Rows { came: rows, asked, ended: false });
            }
        }
        Ok(Rows { came: rows, asked, ended: true })
    }
}

fn values(shapes: &[Shape], row: &SimpleQueryRow) -> Result<Vec<Value>, Fault> {
    let value = |(at, shape): (usize, &Shape)| {
        Ok(text(row, at)?.map_or(Value::Null, |text| shape.value(text)))
    };
    shapes.iter().enumerate().map(value).collect()
}

fn text_bytes(row: &SimpleQueryRow) -> Result<usize, Fault> {
    let mut bytes = 0;
    for at in 0..row.len() {
        bytes += text(row, at)?.map_or(0, str::len);
    }
    Ok(bytes)
}

/// A value's text, which is UTF-8 unless the statement itself set another encoding.
pub(super) fn text(row: &SimpleQueryRow, at: usize) -> Result<Option<&str>, Fault> {
    row.try_get(at).map_err(|_| {
        Fault::invalid("a value did not come as UTF-8; leave the session's encoding as it is")
    })
}

//! All rows of a statement, batch by batch, from a cursor.

use futures::StreamExt as _;
use roothold_core::Fault;
use tokio_postgres::SimpleQueryMessage;

use super::error::Asked;
use super::query::{DECLARE, declared, text, told};
use super::session::Session;
use super::text::Shape;
use crate::answer::Statement;
use crate::scan::{Batches, Cell, FieldType};

/// How many rows one message asks for. They are handed on as they come, so it costs no memory.
const FETCH: &str = "FETCH FORWARD 500 FROM roothold";
const FETCHED: usize = 500;

/// Hands on the rows of a statement of ours, whose columns have these types.
pub(super) async fn run(
    session: &Session,
    statement: &Statement,
    kinds: &[FieldType],
    mut into: Batches,
) -> Result<(), Fault> {
    let declare = format!("{DECLARE}{}", statement.sql);
    let asked = Asked::OURS;
    declared(session, &declare, &[], asked).await?;
    let columns: Vec<(FieldType, Shape)> = kinds.iter().map(|kind| (*kind, shape(*kind))).collect();
    loop {
        let told = |error| told(session, &error, asked);
        let stream = session.client().simple_query_raw(FETCH).await.map_err(told)?;
        let mut stream = std::pin::pin!(stream);
        let mut came = 0;
        while let Some(message) = stream.next().await {
            let SimpleQueryMessage::Row(row) = message.map_err(told)? else { continue };
            came += 1;
            let cell = |(at, (kind, shape)): (usize, &(FieldType, Shape))| match text(&row, at)? {
                Some(text) => Cell::of(*kind, shape.value(text)),
                None => Ok(Cell::Null),
            };
            let cells: Result<Vec<Cell>, Fault> = columns.iter().enumerate().map(cell).collect();
            into.push(cells?).await?;
        }
        if came < FETCHED {
            return into.end().await;
        }
    }
}

/// How a text becomes a value. JSON stays as it is written.
fn shape(kind: FieldType) -> Shape {
    match kind {
        FieldType::Boolean => Shape::Boolean,
        FieldType::Integer { .. } | FieldType::Unsigned { .. } => Shape::Whole,
        FieldType::Float { .. } => Shape::Float,
        FieldType::Timestamp { zoned: false } => Shape::Timestamp,
        FieldType::Timestamp { zoned: true } => Shape::TimestampTz,
        _ => Shape::Text,
    }
}

//! All rows of a statement, batch by batch, from the wire.

use futures::StreamExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Row, Value};
use roothold_core::Fault;

use super::error;
use super::prepare::{Asked, gate, prepare};
use super::session::Session;
use super::value::Shape;
use crate::answer::Statement;
use crate::scan::{Batches, Cell, FieldType};

/// Hands on the rows of a statement of ours, whose columns have these types.
pub(super) async fn run(
    session: &mut Session,
    statement: &Statement,
    kinds: &[FieldType],
    mut into: Batches,
) -> Result<(), Fault> {
    let asked = Asked::of(statement, &["select"])?;
    gate(session, &asked).await?;
    let bytes_max = session.bytes_max();
    let told = |error: mysql_async::Error| error::fault(&error, Some(&asked), bytes_max);
    let prepared = prepare(session, "", &asked).await?.map_err(told)?;
    let values = asked.values(prepared.num_params().into())?;
    let mut result = session.conn()?.exec_iter(&prepared, values).await.map_err(told)?;
    let shapes: Vec<Shape> = result.columns_ref().iter().map(Shape::of).collect();
    let Some(mut rows) = result.stream::<Row>().await.map_err(told)? else { return Ok(()) };
    while let Some(row) = rows.next().await {
        let values = row.map_err(told)?.unwrap_raw();
        let columns = kinds.iter().zip(&shapes).zip(values);
        let cell = |((kind, shape), value): ((&FieldType, &Shape), Option<Value>)| {
            // JSON stays as it is written.
            match (kind, value.unwrap_or(Value::NULL)) {
                (FieldType::Json, Value::Bytes(bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => Ok(Cell::Text(text)),
                    Err(_) => Err(Fault::internal("JSON that is not UTF-8")),
                },
                (kind, value) => Cell::of(*kind, shape.value(value)),
            }
        };
        into.push(columns.map(cell).collect::<Result<_, _>>()?).await?;
    }
    into.end().await
}

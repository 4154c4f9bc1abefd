//! All rows of a statement, batch by batch, from a blocking thread.

use std::time::Duration;

use roothold_core::Fault;
use rusqlite::types::ValueRef;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::db::{Db, Stop, within};
use crate::answer::Statement;
use crate::scan::{Batch, Batches, Cell, unwanted};

/// How often it is looked whether the batch before was taken.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Db {
    /// Hands on the rows of a statement of ours, each with so many cells. Wants a thread that may
    /// block.
    pub(super) fn scan(
        &mut self,
        statement: &Statement,
        cells: usize,
        mut into: Batches,
        bytes_max: usize,
        stop: &Stop,
    ) -> Result<(), Fault> {
        self.begin("BEGIN", stop)?;
        self.rows(statement, cells, &mut into, bytes_max, stop)?;
        self.end("ROLLBACK")
    }

    fn rows(
        &self,
        statement: &Statement,
        cells: usize,
        into: &mut Batches,
        bytes_max: usize,
        stop: &Stop,
    ) -> Result<(), Fault> {
        let to = into.to();
        let send = |batch| hand_on(&to, batch, stop);
        let told = |error: &rusqlite::Error| self.told(error, &statement.sql, stop);
        let mut prepared = self.prepare(&statement.sql, stop)?;
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next().map_err(|error| told(&error))? {
            within(row, cells, bytes_max)?;
            let values = (0..cells).map(|at| row.get_ref(at).map(cell));
            let values = values.collect::<Result<_, _>>().map_err(|error| told(&error))?;
            if let Some(batch) = into.take(values)? {
                send(batch)?;
            }
        }
        let rest = into.rest();
        if rest.is_empty() { Ok(()) } else { send(rest) }
    }
}

/// Waits until the batch before was taken. A reader that takes its time keeps no thread beyond the time
/// of the call.
fn hand_on(to: &Sender<Batch>, mut batch: Batch, stop: &Stop) -> Result<(), Fault> {
    loop {
        batch = match to.try_send(batch) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(unwanted()),
            Err(TrySendError::Full(batch)) => batch,
        };
        stop.until.check(&stop.budget)?;
        std::thread::sleep(LOOK_EVERY);
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Float(number),
        // What is stored as text need not be.
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map_or_else(|_| Cell::Bytes(bytes.to_vec()), |text| Cell::Text(text.to_owned())),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

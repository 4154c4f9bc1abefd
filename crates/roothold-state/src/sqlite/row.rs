//! Between rows and the types of this crate.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Failure, Job, JobState, Progress};
use crate::rows::{Held, count, fault_kind, small};
use crate::time::UnixMillis;

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    let bytes: Vec<u8> = row.get(column)?;
    JobId::from_slice(&bytes).ok_or(rusqlite::Error::InvalidColumnType(
        column,
        "id".to_owned(),
        Type::Blob,
    ))
}

/// The columns of [`crate::rows::JOB`].
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let word: String = row.get(4)?;
    let state = JobState::from_word(&word).ok_or(rusqlite::Error::InvalidColumnType(
        4,
        "state".to_owned(),
        Type::Text,
    ))?;
    let time = |column| Ok::<_, rusqlite::Error>(UnixMillis(row.get(column)?));
    let maybe = |column| row.get::<_, Option<i64>>(column);
    let kind: Option<String> = row.get(17)?;
    let public: Option<String> = row.get(18)?;
    Ok(Job {
        id: id(row, 0)?,
        seq: count(row.get(1)?),
        owner: row.get(2)?,
        kind: row.get(3)?,
        about: row.get(25)?,
        state,
        cancel_asked: row.get(5)?,
        epoch: count(row.get(6)?),
        attempts: small(row.get(7)?),
        attempts_max: small(row.get(8)?),
        worker: row.get(9)?,
        next: count(row.get(10)?),
        chunks: count(row.get(11)?),
        parts: count(row.get(12)?),
        progress: Progress {
            bytes_done: count(row.get(13)?),
            bytes_total: maybe(14)?.map(count),
            rows: count(row.get(15)?),
        },
        message: row.get(16)?,
        failure: kind
            .map(|kind| Failure { kind: fault_kind(&kind), public: public.unwrap_or_default() }),
        submitted_at: time(19)?,
        started_at: maybe(20)?.map(UnixMillis),
        updated_at: time(21)?,
        deadline_at: time(22)?,
        ended_at: maybe(23)?.map(UnixMillis),
        expires_at: maybe(24)?.map(UnixMillis),
    })
}

pub(super) fn held(tx: &Transaction<'_>, job: JobId) -> Result<Option<Held>, StateError> {
    let mut select = tx.prepare_cached(
        "SELECT seq, epoch, state, next, parts, parts_bytes, cancel_asked, deadline_at \
         FROM jobs WHERE id = ?1",
    )?;
    let row = select.query_row([job.as_bytes().as_slice()], |row| {
        let word: String = row.get(2)?;
        Ok(Held {
            seq: row.get(0)?,
            epoch: count(row.get(1)?),
            // A word that is not known is no state in which a lease is good.
            state: JobState::from_word(&word).unwrap_or(JobState::Failed),
            next: count(row.get(3)?),
            parts: row.get(4)?,
            parts_bytes: row.get(5)?,
            cancel_asked: row.get(6)?,
            deadline_at: row.get(7)?,
        })
    });
    Ok(row.optional()?)
}

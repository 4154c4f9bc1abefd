//! Between rows and the types of this crate.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::error::Said;
use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Failure, Job, JobState, Progress};
use crate::rows::{Held, count, fault_kind, small};
use crate::time::UnixMillis;

fn wrong(what: &str) -> StateError {
    StateError::Internal(Box::new(Said(format!("a stored {what} does not read"))))
}

pub(super) fn id(row: &Row, column: usize) -> Result<JobId, StateError> {
    JobId::from_slice(row.try_get(column)?).ok_or_else(|| wrong("id"))
}

fn number(row: &Row, column: usize) -> Result<u64, StateError> {
    Ok(count(row.try_get(column)?))
}

fn state(row: &Row, column: usize) -> Result<JobState, StateError> {
    JobState::from_word(row.try_get(column)?).ok_or_else(|| wrong("state"))
}

/// Three columns: bytes done, bytes in all, rows.
pub(super) fn progress(row: &Row, column: usize) -> Result<Progress, StateError> {
    Ok(Progress {
        bytes_done: number(row, column)?,
        bytes_total: row.try_get::<_, Option<i64>>(column + 1)?.map(count),
        rows: number(row, column + 2)?,
    })
}

/// The columns of [`crate::rows::JOB`].
pub(super) fn job(row: &Row) -> Result<Job, StateError> {
    let time = |column| Ok::<_, StateError>(UnixMillis(row.try_get(column)?));
    let maybe =
        |column| Ok::<_, StateError>(row.try_get::<_, Option<i64>>(column)?.map(UnixMillis));
    let kind: Option<&str> = row.try_get(17)?;
    let public: Option<String> = row.try_get(18)?;
    Ok(Job {
        id: id(row, 0)?,
        seq: number(row, 1)?,
        owner: row.try_get(2)?,
        kind: row.try_get(3)?,
        about: row.try_get(25)?,
        state: state(row, 4)?,
        cancel_asked: row.try_get(5)?,
        epoch: number(row, 6)?,
        attempts: small(row.try_get(7)?),
        attempts_max: small(row.try_get(8)?),
        worker: row.try_get(9)?,
        next: number(row, 10)?,
        chunks: number(row, 11)?,
        parts: number(row, 12)?,
        progress: progress(row, 13)?,
        message: row.try_get(16)?,
        failure: kind
            .map(|kind| Failure { kind: fault_kind(kind), public: public.unwrap_or_default() }),
        submitted_at: time(19)?,
        started_at: maybe(20)?,
        updated_at: time(21)?,
        deadline_at: time(22)?,
        ended_at: maybe(23)?,
        expires_at: maybe(24)?,
    })
}

/// Locks a job for its holder, with the store's time.
pub(super) async fn held(
    tx: &Transaction<'_>,
    job: JobId,
) -> Result<Option<(Held, i64)>, StateError> {
    let select = tx
        .prepare_cached(
            "SELECT seq, epoch, state, next, parts, parts_bytes, cancel_asked, deadline_at, \
             state_now() FROM jobs WHERE id = $1 FOR UPDATE",
        )
        .await?;
    let Some(row) = tx.query_opt(&select, &[&job.as_bytes().as_slice()]).await? else {
        return Ok(None);
    };
    let held = Held {
        seq: row.try_get(0)?,
        epoch: number(&row, 1)?,
        state: state(&row, 2)?,
        next: number(&row, 3)?,
        parts: row.try_get(4)?,
        parts_bytes: row.try_get(5)?,
        cancel_asked: row.try_get(6)?,
        deadline_at: row.try_get(7)?,
    };
    Ok(Some((held, row.try_get(8)?)))
}

//! Ending what nobody can go on with, and deleting what was kept long enough.

use roothold_core::FaultKind;
use rusqlite::{Transaction, params};

use super::db::Db;
use super::row::id;
use crate::change::{Change, What};
use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Expired, Failure, Outcome};
use crate::limits::{DEADLINE_TEXT, DELETE_MAX, EPOCH_MAX, POISON_TEXT, failure_text};
use crate::rows::horizon;

impl Db {
    pub(super) fn expire(&mut self) -> Result<Expired, StateError> {
        let now = self.now();
        let (ended, deleted) = self.write(|tx| {
            let ended = end_stranded(tx, now)?;
            let deleted = tx.execute(
                "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs \
                 WHERE ended_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                params![now, DELETE_MAX],
            )?;
            tx.execute(
                "DELETE FROM owners WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.owner = owners.owner)",
                [],
            )?;
            Ok((ended, deleted))
        })?;
        self.read().execute_batch("PRAGMA incremental_vacuum(1000)")?;
        self.ring_ended(&ended);
        Ok(Expired { ended: ended.len() as u64, deleted: deleted as u64 })
    }

    pub(super) fn ring_ended(&self, ended: &[JobId]) {
        for job in ended {
            self.bell.ring(Change::of(*job, What::Ended));
        }
    }
}

/// Ends jobs that no worker holds and that none may go on with.
pub(super) fn end_stranded(tx: &Transaction<'_>, now: i64) -> Result<Vec<JobId>, StateError> {
    let mut select = tx.prepare_cached(
        "SELECT seq, id, cancel_asked, deadline_at <= ?1 FROM jobs \
         WHERE ended_at IS NULL \
           AND (state = 'queued' OR lease_until <= ?1 OR lease_until > ?2) \
           AND (cancel_asked OR deadline_at <= ?1 OR attempts >= attempts_max OR epoch >= ?3) \
         ORDER BY seq LIMIT ?4",
    )?;
    let found = select.query_map(params![now, horizon(now), EPOCH_MAX, DELETE_MAX], |row| {
        Ok((row.get::<_, i64>(0)?, id(row, 1)?, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
    })?;
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut ended = Vec::new();
    for (seq, job, cancelled, late) in found {
        let failed = |kind, text: &str| Outcome::Failed(Failure { kind, public: text.to_owned() });
        let outcome = match (cancelled, late) {
            (true, _) => Outcome::Cancelled,
            (false, true) => failed(FaultKind::Timeout, DEADLINE_TEXT),
            (false, false) => failed(FaultKind::Limit, POISON_TEXT),
        };
        // Whoever held it last must not end it a second time.
        tx.execute("UPDATE jobs SET epoch = epoch + 1 WHERE seq = ?1", [seq])?;
        end(tx, seq, &outcome, now)?;
        ended.push(job);
    }
    Ok(ended)
}

/// Ends a job. Its checkpoint is of no more use.
pub(super) fn end(
    tx: &Transaction<'_>,
    seq: i64,
    outcome: &Outcome,
    now: i64,
) -> Result<(), StateError> {
    let failure = match outcome {
        Outcome::Failed(failure) => Some((failure.kind.code(), failure_text(failure))),
        Outcome::Completed(_) | Outcome::Cancelled => None,
    };
    let mut update = tx.prepare_cached(
        "UPDATE jobs SET state = ?2, lease_until = NULL, fault_kind = ?3, fault_public = ?4, \
         ended_at = ?5, updated_at = ?5, expires_at = ?5 + retention WHERE seq = ?1",
    )?;
    let (kind, public) = failure.unzip();
    update.execute(params![seq, outcome.state().as_str(), kind, public, now])?;
    tx.execute("DELETE FROM contents WHERE job = ?1 AND slot = 'checkpoint'", [seq])?;
    if let Outcome::Completed(result) = outcome {
        tx.execute(
            "INSERT INTO contents (job, slot, content) VALUES (?1, 'result', ?2)",
            params![seq, result],
        )?;
    }
    Ok(())
}

//! Ending what nobody can go on with, and deleting what was kept long enough.

use deadpool_postgres::{Object, Transaction};
use roothold_core::FaultKind;

use super::PgStore;
use super::lease::put;
use super::listen;
use super::row::id;
use crate::change::What;
use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Expired, Failure, Outcome};
use crate::limits::{DEADLINE_TEXT, DELETE_MAX, EPOCH_MAX, LEASE_MAX, POISON_TEXT, failure_text};
use crate::time::millis;

impl PgStore {
    pub(super) async fn expire_on(&self, conn: &mut Object) -> Result<Expired, StateError> {
        let tx = conn.transaction().await?;
        let ended = end_stranded(&tx).await?;
        for job in &ended {
            self.notify(&tx, *job, What::Ended).await?;
        }
        let delete = tx
            .prepare_cached(
                "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs \
                 WHERE ended_at IS NOT NULL AND expires_at <= (SELECT state_now()) \
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
            )
            .await?;
        let deleted = tx.execute(&delete, &[&DELETE_MAX]).await?;
        forget_owners(&tx).await?;
        tx.commit().await?;
        Ok(Expired { ended: ended.len() as u64, deleted })
    }

    /// Tells every replica once the transaction is committed.
    pub(super) async fn notify(
        &self,
        tx: &Transaction<'_>,
        job: JobId,
        what: What,
    ) -> Result<(), StateError> {
        let notify = tx.prepare_cached("SELECT pg_notify($1, $2)").await?;
        tx.query(&notify, &[&self.channel, &listen::payload(job, what)]).await?;
        Ok(())
    }
}

/// Deletes owners without jobs. They are locked first and looked at again: whoever submits has
/// the lock.
async fn forget_owners(tx: &Transaction<'_>) -> Result<(), StateError> {
    let idle = tx
        .prepare_cached(
            "SELECT owner FROM owners o WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.owner = o.owner) \
             LIMIT $1 FOR UPDATE SKIP LOCKED",
        )
        .await?;
    let idle = tx.query(&idle, &[&DELETE_MAX]).await?;
    let idle = idle.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    let delete = tx
        .prepare_cached(
            "DELETE FROM owners o WHERE owner = ANY($1) \
             AND NOT EXISTS (SELECT FROM jobs WHERE jobs.owner = o.owner)",
        )
        .await?;
    tx.execute(&delete, &[&idle]).await?;
    Ok(())
}

/// Ends jobs that no worker holds and that none may go on with.
pub(super) async fn end_stranded(tx: &Transaction<'_>) -> Result<Vec<JobId>, StateError> {
    let select = tx
        .prepare_cached(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now) \
             SELECT seq, id, cancel_asked, deadline_at <= now, now FROM jobs, t \
             WHERE ended_at IS NULL \
               AND (state = 'queued' OR lease_until <= now OR lease_until > now + $1) \
               AND (cancel_asked OR deadline_at <= now OR attempts >= attempts_max OR epoch >= $2) \
             ORDER BY seq LIMIT $3 FOR UPDATE OF jobs SKIP LOCKED",
        )
        .await?;
    let found = tx.query(&select, &[&millis(LEASE_MAX), &EPOCH_MAX, &DELETE_MAX]).await?;
    let mut ended = Vec::new();
    for row in found {
        let seq: i64 = row.try_get(0)?;
        let failed = |kind, text: &str| Outcome::Failed(Failure { kind, public: text.to_owned() });
        let outcome = match (row.try_get(2)?, row.try_get(3)?) {
            (true, _) => Outcome::Cancelled,
            (false, true) => failed(FaultKind::Timeout, DEADLINE_TEXT),
            (false, false) => failed(FaultKind::Limit, POISON_TEXT),
        };
        // Whoever held it last must not end it a second time.
        let fence = tx.prepare_cached("UPDATE jobs SET epoch = epoch + 1 WHERE seq = $1").await?;
        tx.execute(&fence, &[&seq]).await?;
        end(tx, seq, &outcome, row.try_get(4)?).await?;
        ended.push(id(&row, 1)?);
    }
    Ok(ended)
}

/// Ends a locked job. Its checkpoint is of no more use.
pub(super) async fn end(
    tx: &Transaction<'_>,
    seq: i64,
    outcome: &Outcome,
    now: i64,
) -> Result<(), StateError> {
    let failure = match outcome {
        Outcome::Failed(failure) => Some((failure.kind.code(), failure_text(failure))),
        Outcome::Completed(_) | Outcome::Cancelled => None,
    };
    let update = tx
        .prepare_cached(
            "UPDATE jobs SET state = $2, lease_until = NULL, fault_kind = $3, fault_public = $4, \
             ended_at = $5, updated_at = $5, expires_at = $5 + retention WHERE seq = $1",
        )
        .await?;
    let (kind, public) = (failure.as_ref().map(|f| f.0), failure.as_ref().map(|f| &f.1));
    tx.execute(&update, &[&seq, &outcome.state().as_str(), &kind, &public, &now]).await?;
    let drop =
        tx.prepare_cached("DELETE FROM contents WHERE job = $1 AND slot = 'checkpoint'").await?;
    tx.execute(&drop, &[&seq]).await?;
    if let Outcome::Completed(result) = outcome {
        put(tx, seq, "result", result).await?;
    }
    Ok(())
}

//! What a worker does: claim, heartbeat, commit, finish, release.

use std::time::Duration;

use deadpool_postgres::{Object, Transaction};

use super::PgStore;
use super::row::{held, id, progress};
use super::sweep::{end, end_stranded};
use crate::change::What;
use crate::error::StateError;
use crate::job::{Checkpoint, Claimed, Commit, Directive, JobState, Lease, Outcome, Release};
use crate::limits::{LEASE_MAX, check_extension, check_kinds, check_lease, retry_millis};
use crate::rows::{Held, count, small, stored};
use crate::store::Claim;
use crate::time::millis;

/// A job that a worker may have: it waits, or its lease is over. `$1` are the kinds, `$2` is the
/// longest lease, `now` the time.
const CLAIMABLE: &str = "ended_at IS NULL AND kind = ANY($1) \
     AND ((state = 'queued' AND (not_before <= now OR not_before > now + $2)) \
       OR (state = 'running' AND (lease_until <= now OR lease_until > now + $2)))";

/// How often the turn is looked for again when somebody else took it meanwhile.
const TURNS_MAX: usize = 3;

impl PgStore {
    pub(super) async fn claim_on(
        &self,
        conn: &mut Object,
        claim: Claim<'_>,
    ) -> Result<Option<Claimed>, StateError> {
        check_lease(claim.worker, claim.lease)?;
        check_kinds(claim.kinds.len())?;
        let tx = conn.transaction().await?;
        for job in end_stranded(&tx).await? {
            self.notify(&tx, job, What::Ended).await?;
        }
        let mut claimed = None;
        for turn in 0..TURNS_MAX {
            // First past the owners whom somebody else serves just now, then waiting for them.
            let skip = turn == 0;
            let owner = match self.next_owner(&tx, claim.kinds, skip).await? {
                Some(owner) => owner,
                None if skip => continue,
                None => break,
            };
            if let Some(seq) = self.oldest_of(&tx, &owner, claim.kinds).await? {
                claimed = Some(take(&tx, seq, &owner, claim).await?);
                break;
            }
        }
        if let Some(claimed) = &claimed {
            self.notify(&tx, claimed.lease.job, What::Progress).await?;
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Locks the owner whose turn it is.
    async fn next_owner(
        &self,
        tx: &Transaction<'_>,
        kinds: &[&str],
        skip: bool,
    ) -> Result<Option<String>, StateError> {
        let select = format!(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now) \
             SELECT owners.owner FROM owners \
             JOIN (SELECT DISTINCT owner FROM jobs, t WHERE {CLAIMABLE}) claimable USING (owner) \
             LEFT JOIN (SELECT owner, count(*) AS n FROM jobs, t WHERE ended_at IS NULL \
                 AND state = 'running' AND lease_until > now AND lease_until <= now + $2 \
                 GROUP BY owner) running USING (owner) \
             WHERE coalesce(n, 0) < $3 ORDER BY coalesce(n, 0), served, owner LIMIT 1 \
             FOR UPDATE OF owners{}",
            if skip { " SKIP LOCKED" } else { "" }
        );
        let select = tx.prepare_cached(&select).await?;
        let slots = i64::from(self.limits.running_per_owner_max);
        let row = tx.query_opt(&select, &[&kinds, &millis(LEASE_MAX), &slots]).await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Locks the oldest claimable job of a locked owner, unless others took the last place meanwhile.
    async fn oldest_of(
        &self,
        tx: &Transaction<'_>,
        owner: &str,
        kinds: &[&str],
    ) -> Result<Option<i64>, StateError> {
        let select = format!(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now) \
             SELECT seq FROM jobs, t WHERE owner = $3 AND {CLAIMABLE} \
             AND (SELECT count(*) FROM jobs, t WHERE owner = $3 AND ended_at IS NULL \
                 AND state = 'running' AND lease_until > now AND lease_until <= now + $2) < $4 \
             ORDER BY seq LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED"
        );
        let select = tx.prepare_cached(&select).await?;
        let slots = i64::from(self.limits.running_per_owner_max);
        let row = tx.query_opt(&select, &[&kinds, &millis(LEASE_MAX), &owner, &slots]).await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    pub(super) async fn heartbeat_on(
        &self,
        conn: &mut Object,
        lease: Lease,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        check_extension(extend)?;
        // One statement: it is said three times a lease.
        let update = conn
            .prepare_cached(
                "UPDATE jobs SET lease_until = state_now() + $3 \
                 WHERE id = $1 AND epoch = $2 AND state = 'running' \
                 RETURNING cancel_asked, deadline_at <= state_now()",
            )
            .await?;
        let (job, epoch) = (lease.job.as_bytes().as_slice(), stored(lease.epoch));
        let row = conn.query_opt(&update, &[&job, &epoch, &millis(extend)]).await?;
        let row = row.ok_or(StateError::Fenced)?;
        Ok(match (row.try_get(0)?, row.try_get(1)?) {
            (true, _) => Directive::Cancel,
            (false, true) => Directive::Expire,
            (false, false) => Directive::Go,
        })
    }

    pub(super) async fn commit_on(
        &self,
        conn: &mut Object,
        lease: Lease,
        commit: &Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        check_extension(extend)?;
        self.limits.check_commit(commit)?;
        let tx = conn.transaction().await?;
        let (held, now) = held(&tx, lease.job).await?.ok_or(StateError::Fenced)?;
        let held = held.by(lease).ok_or(StateError::Fenced)?;
        if !held.is_ahead(commit.from, commit.next)? {
            return Ok(held.directive(now));
        }
        let part = commit.part.as_ref().map_or(0, Vec::len);
        self.limits.check_parts(held.parts_bytes, part)?;
        advance(&tx, &held, commit, now, extend).await?;
        self.notify(&tx, lease.job, What::Progress).await?;
        tx.commit().await?;
        Ok(held.directive(now))
    }

    pub(super) async fn finish_on(
        &self,
        conn: &mut Object,
        lease: Lease,
        outcome: &Outcome,
    ) -> Result<(), StateError> {
        self.limits.check_outcome(outcome)?;
        let tx = conn.transaction().await?;
        let (held, now) = held(&tx, lease.job).await?.ok_or(StateError::Fenced)?;
        if held.epoch != lease.epoch {
            return Err(StateError::Fenced);
        }
        if held.state == outcome.state() {
            // Said before.
            return Ok(());
        }
        if held.state != JobState::Running {
            return Err(StateError::Fenced);
        }
        end(&tx, held.seq, outcome, now).await?;
        self.notify(&tx, lease.job, What::Ended).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn release_on(
        &self,
        conn: &mut Object,
        lease: Lease,
        release: Release,
    ) -> Result<(), StateError> {
        let tx = conn.transaction().await?;
        let (held, now) = held(&tx, lease.job).await?.ok_or(StateError::Fenced)?;
        if held.epoch != lease.epoch {
            return Err(StateError::Fenced);
        }
        if held.state != JobState::Running {
            // Said before, or ended by the same holder.
            return Ok(());
        }
        let (back, not_before) = match release {
            Release::Drained => (1_i64, 0),
            Release::RetryAfter(after) => (0, now.saturating_add(retry_millis(after))),
        };
        let update = tx
            .prepare_cached(
                "UPDATE jobs SET state = 'queued', lease_until = NULL, not_before = $2, \
                 attempts = greatest(attempts - $3, 0), updated_at = $4 WHERE seq = $1",
            )
            .await?;
        tx.execute(&update, &[&held.seq, &not_before, &back, &now]).await?;
        self.notify(&tx, lease.job, What::Queued).await?;
        Ok(tx.commit().await?)
    }
}

/// Makes a locked job the worker's.
async fn take(
    tx: &Transaction<'_>,
    seq: i64,
    owner: &str,
    claim: Claim<'_>,
) -> Result<Claimed, StateError> {
    let served = tx
        .prepare_cached("UPDATE owners SET served = nextval('owners_served') WHERE owner = $1")
        .await?;
    tx.execute(&served, &[&owner]).await?;
    let take = tx
        .prepare_cached(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now) \
             UPDATE jobs SET state = 'running', epoch = epoch + 1, attempts = attempts + 1, \
             worker = $2, lease_until = t.now + $3, updated_at = t.now, \
             started_at = coalesce(started_at, t.now) FROM t WHERE seq = $1 \
             RETURNING id, epoch, owner, kind, attempts, deadline_at - t.now, next, \
             bytes_done, bytes_total, rows_done, attempts_max",
        )
        .await?;
    let row = tx.query_one(&take, &[&seq, &claim.worker, &millis(claim.lease)]).await?;
    let (next, progress) = (count(row.try_get(6)?), progress(&row, 7)?);
    let mut claimed = Claimed {
        lease: Lease { job: id(&row, 0)?, epoch: count(row.try_get(1)?) },
        owner: row.try_get(2)?,
        kind: row.try_get(3)?,
        input: Vec::new(),
        checkpoint: None,
        attempts: small(row.try_get(4)?),
        attempts_max: small(row.try_get(10)?),
        remaining: Duration::from_millis(count(row.try_get(5)?)),
    };
    let contents = tx
        .prepare_cached(
            "SELECT slot, content FROM contents WHERE job = $1 AND slot IN ('input', 'checkpoint')",
        )
        .await?;
    for row in tx.query(&contents, &[&seq]).await? {
        let content: Vec<u8> = row.try_get(1)?;
        match row.try_get(0)? {
            "input" => claimed.input = content,
            _ => claimed.checkpoint = Some(Checkpoint { next, state: content, progress }),
        }
    }
    Ok(claimed)
}

/// Moves the job on by one chunk.
async fn advance(
    tx: &Transaction<'_>,
    held: &Held,
    commit: &Commit,
    now: i64,
    extend: Duration,
) -> Result<(), StateError> {
    let part = commit.part.as_ref();
    let update = tx
        .prepare_cached(
            "UPDATE jobs SET next = $2, chunks = chunks + 1, attempts = 1, parts = parts + $3, \
             parts_bytes = parts_bytes + $4, bytes_done = $5, bytes_total = $6, rows_done = $7, \
             message = coalesce($8, message), updated_at = $9, lease_until = $9::bigint + $10::bigint WHERE seq = $1",
        )
        .await?;
    tx.execute(
        &update,
        &[
            &held.seq,
            &stored(commit.next),
            &i64::from(part.is_some()),
            &part.map_or(0, |part| stored(part.len() as u64)),
            &stored(commit.progress.bytes_done),
            &commit.progress.bytes_total.map(stored),
            &stored(commit.progress.rows),
            &commit.message,
            &now,
            &millis(extend),
        ],
    )
    .await?;
    put(tx, held.seq, "checkpoint", &commit.state).await?;
    if let Some(partial) = &commit.partial {
        put(tx, held.seq, "partial", partial).await?;
    }
    if let Some(part) = part {
        let insert = tx
            .prepare_cached("INSERT INTO parts (job, number, content) VALUES ($1, $2, $3)")
            .await?;
        tx.execute(&insert, &[&held.seq, &held.parts, part]).await?;
    }
    Ok(())
}

pub(super) async fn put(
    tx: &Transaction<'_>,
    seq: i64,
    slot: &str,
    content: &[u8],
) -> Result<(), StateError> {
    let put = tx
        .prepare_cached(
            "INSERT INTO contents (job, slot, content) VALUES ($1, $2, $3) \
             ON CONFLICT (job, slot) DO UPDATE SET content = excluded.content",
        )
        .await?;
    tx.execute(&put, &[&seq, &slot, &content]).await?;
    Ok(())
}

//! What a worker does: claim, heartbeat, commit, finish, release.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Transaction, params, params_from_iter, types::Value};

use super::db::Db;
use super::row::{held, id};
use super::sweep::{end, end_stranded};
use crate::change::{Change, What};
use crate::error::StateError;
use crate::job::{
    Checkpoint, Claimed, Commit, Directive, JobState, Lease, Outcome, Progress, Release,
};
use crate::limits::{check_extension, check_kinds, check_lease, retry_millis};
use crate::rows::{Held, count, horizon, small, stored};
use crate::time::millis;

/// A job that this worker may have: it waits, or its lease is over. `?1` is the time, `?2` the
/// horizon of leases.
const CLAIMABLE: &str = "ended_at IS NULL \
     AND ((state = 'queued' AND (not_before <= ?1 OR not_before > ?2)) \
     OR (state = 'running' AND (lease_until <= ?1 OR lease_until > ?2)))";

impl Db {
    pub(super) fn claim(
        &mut self,
        worker: &str,
        kinds: &[String],
        lease: Duration,
    ) -> Result<Option<Claimed>, StateError> {
        check_lease(worker, lease)?;
        check_kinds(kinds.len())?;
        let (now, slots) = (self.now(), self.limits.running_per_owner_max);
        let (ended, claimed) = self.write(|tx| {
            let ended = end_stranded(tx, now)?;
            let Some(seq) = next_in_turn(tx, kinds, now, slots)? else { return Ok((ended, None)) };
            tx.execute(
                "UPDATE owners SET served = (SELECT max(served) + 1 FROM owners) \
                 WHERE owner = (SELECT owner FROM jobs WHERE seq = ?1)",
                [seq],
            )?;
            let mut take = tx.prepare_cached(
                "UPDATE jobs SET state = 'running', epoch = epoch + 1, attempts = attempts + 1, \
                 worker = ?2, lease_until = ?3, updated_at = ?4, \
                 started_at = coalesce(started_at, ?4) WHERE seq = ?1",
            )?;
            take.execute(params![seq, worker, now.saturating_add(millis(lease)), now])?;
            Ok((ended, Some(claimed(tx, seq, now)?)))
        })?;
        self.ring_ended(&ended);
        if let Some(claimed) = &claimed {
            self.bell.ring(Change::of(claimed.lease.job, What::Progress));
        }
        Ok(claimed)
    }

    pub(super) fn heartbeat(
        &mut self,
        lease: Lease,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        check_extension(extend)?;
        let now = self.now();
        self.write(|tx| {
            let held = holder(tx, lease)?;
            let mut update =
                tx.prepare_cached("UPDATE jobs SET lease_until = ?2 WHERE seq = ?1")?;
            update.execute(params![held.seq, now.saturating_add(millis(extend))])?;
            Ok(held.directive(now))
        })
    }

    pub(super) fn commit(
        &mut self,
        lease: Lease,
        commit: &Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        check_extension(extend)?;
        self.limits.check_commit(commit)?;
        let (now, limits) = (self.now(), self.limits.clone());
        let directive = self.write(|tx| {
            let held = holder(tx, lease)?;
            if !held.is_ahead(commit.from, commit.next)? {
                return Ok(held.directive(now));
            }
            limits.check_parts(held.parts_bytes, commit.part.as_ref().map_or(0, Vec::len))?;
            advance(tx, &held, commit, now)?;
            let mut renew = tx.prepare_cached("UPDATE jobs SET lease_until = ?2 WHERE seq = ?1")?;
            renew.execute(params![held.seq, now.saturating_add(millis(extend))])?;
            Ok(held.directive(now))
        })?;
        self.bell.ring(Change::of(lease.job, What::Progress));
        Ok(directive)
    }

    pub(super) fn finish(&mut self, lease: Lease, outcome: &Outcome) -> Result<(), StateError> {
        self.limits.check_outcome(outcome)?;
        let now = self.now();
        self.write(|tx| {
            let held = held(tx, lease.job)?.filter(|held| held.epoch == lease.epoch);
            match held {
                Some(held) if held.state == JobState::Running => end(tx, held.seq, outcome, now),
                // Said before.
                Some(held) if held.state == outcome.state() => Ok(()),
                _ => Err(StateError::Fenced),
            }
        })?;
        self.bell.ring(Change::of(lease.job, What::Ended));
        Ok(())
    }

    pub(super) fn release(&mut self, lease: Lease, release: Release) -> Result<(), StateError> {
        let now = self.now();
        let (back, not_before) = match release {
            Release::Drained => (1, 0),
            Release::RetryAfter(after) => (0, now.saturating_add(retry_millis(after))),
        };
        self.write(|tx| {
            let held = held(tx, lease.job)?.filter(|held| held.epoch == lease.epoch);
            let held = held.ok_or(StateError::Fenced)?;
            if held.state != JobState::Running {
                // Said before, or ended by the same holder.
                return Ok(());
            }
            let mut update = tx.prepare_cached(
                "UPDATE jobs SET state = 'queued', lease_until = NULL, not_before = ?2, \
                 attempts = max(attempts - ?3, 0), updated_at = ?4 WHERE seq = ?1",
            )?;
            update.execute(params![held.seq, not_before, back, now])?;
            Ok(())
        })?;
        self.bell.ring(Change::of(lease.job, What::Queued));
        Ok(())
    }
}

/// The job that `lease` still holds.
fn holder(tx: &Transaction<'_>, lease: Lease) -> Result<Held, StateError> {
    held(tx, lease.job)?.and_then(|held| held.by(lease)).ok_or(StateError::Fenced)
}

/// The oldest claimable job of the owner whose turn it is.
fn next_in_turn(
    tx: &Transaction<'_>,
    kinds: &[String],
    now: i64,
    slots: u32,
) -> Result<Option<i64>, StateError> {
    let marks: Vec<String> = (0..kinds.len()).map(|index| format!("?{}", index + 4)).collect();
    let marks = marks.join(", ");
    let mut values = vec![Value::Integer(now), Value::Integer(horizon(now)), Value::from(slots)];
    values.extend(kinds.iter().map(|kind| Value::Text(kind.clone())));
    let owner = format!(
        "SELECT owners.owner FROM owners \
         JOIN (SELECT DISTINCT owner FROM jobs WHERE {CLAIMABLE} AND kind IN ({marks})) USING (owner) \
         LEFT JOIN (SELECT owner, count(*) AS n FROM jobs WHERE ended_at IS NULL \
             AND state = 'running' AND lease_until > ?1 AND lease_until <= ?2 GROUP BY owner) USING (owner) \
         WHERE coalesce(n, 0) < ?3 ORDER BY coalesce(n, 0), served, owner LIMIT 1"
    );
    let mut select = tx.prepare_cached(&owner)?;
    let owner: Option<String> =
        select.query_row(params_from_iter(&values), |row| row.get(0)).optional()?;
    let Some(owner) = owner else { return Ok(None) };
    values[2] = Value::Text(owner);
    let oldest = format!(
        "SELECT seq FROM jobs WHERE owner = ?3 AND {CLAIMABLE} AND kind IN ({marks}) \
         ORDER BY seq LIMIT 1"
    );
    let mut select = tx.prepare_cached(&oldest)?;
    Ok(select.query_row(params_from_iter(&values), |row| row.get(0)).optional()?)
}

/// The claimed job, with what is needed to go on.
fn claimed(tx: &Transaction<'_>, seq: i64, now: i64) -> Result<Claimed, StateError> {
    let mut select = tx.prepare_cached(
        "SELECT id, epoch, owner, kind, attempts, deadline_at, next, bytes_done, bytes_total, rows_done, attempts_max \
         FROM jobs WHERE seq = ?1",
    )?;
    let (mut claimed, next, progress) = select.query_row([seq], |row| {
        let left = row.get::<_, i64>(5)?.saturating_sub(now);
        let claimed = Claimed {
            lease: Lease { job: id(row, 0)?, epoch: count(row.get(1)?) },
            owner: row.get(2)?,
            kind: row.get(3)?,
            input: Vec::new(),
            checkpoint: None,
            attempts: small(row.get(4)?),
            attempts_max: small(row.get(10)?),
            remaining: Duration::from_millis(count(left)),
        };
        let progress = Progress {
            bytes_done: count(row.get(7)?),
            bytes_total: row.get::<_, Option<i64>>(8)?.map(count),
            rows: count(row.get(9)?),
        };
        Ok((claimed, count(row.get(6)?), progress))
    })?;
    claimed.input = content(tx, seq, "input")?.unwrap_or_default();
    claimed.checkpoint =
        content(tx, seq, "checkpoint")?.map(|state| Checkpoint { next, state, progress });
    Ok(claimed)
}

/// Moves the job on by one chunk.
fn advance(tx: &Transaction<'_>, held: &Held, commit: &Commit, now: i64) -> Result<(), StateError> {
    let part = commit.part.as_ref();
    let mut update = tx.prepare_cached(
        "UPDATE jobs SET next = ?2, chunks = chunks + 1, attempts = 1, parts = parts + ?3, \
         parts_bytes = parts_bytes + ?4, bytes_done = ?5, bytes_total = ?6, rows_done = ?7, \
         message = coalesce(?8, message), updated_at = ?9 WHERE seq = ?1",
    )?;
    update.execute(params![
        held.seq,
        stored(commit.next),
        i64::from(part.is_some()),
        part.map_or(0, |part| stored(part.len() as u64)),
        stored(commit.progress.bytes_done),
        commit.progress.bytes_total.map(stored),
        stored(commit.progress.rows),
        commit.message,
        now
    ])?;
    put(tx, held.seq, "checkpoint", &commit.state)?;
    if let Some(partial) = &commit.partial {
        put(tx, held.seq, "partial", partial)?;
    }
    if let Some(part) = part {
        let mut insert =
            tx.prepare_cached("INSERT INTO parts (job, number, content) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![held.seq, held.parts, part])?;
    }
    Ok(())
}

fn put(tx: &Transaction<'_>, seq: i64, slot: &str, content: &[u8]) -> Result<(), StateError> {
    let mut put = tx.prepare_cached(
        "INSERT INTO contents (job, slot, content) VALUES (?1, ?2, ?3) \
         ON CONFLICT (job, slot) DO UPDATE SET content = excluded.content",
    )?;
    put.execute(params![seq, slot, content])?;
    Ok(())
}

fn content(tx: &Transaction<'_>, seq: i64, slot: &str) -> Result<Option<Vec<u8>>, StateError> {
    let mut select =
        tx.prepare_cached("SELECT content FROM contents WHERE job = ?1 AND slot = ?2")?;
    Ok(select.query_row(params![seq, slot], |row| row.get(0)).optional()?)
}

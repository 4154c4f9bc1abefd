//! What a job's owner does: submit, look, read, cancel.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::db::Db;
use super::row;
use super::sweep::end;
use crate::change::{Change, What};
use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Content, Counts, Job, JobPage, NewJob, Outcome, Part};
use crate::limits::{self, FORGET_MAX, Limits, PAGE_BYTES_MAX, PAGE_MAX};
use crate::rows::{JOB, count, horizon, stored};
use crate::time::millis;

impl Db {
    pub(super) fn submit(&mut self, job: &NewJob) -> Result<(), StateError> {
        self.limits.check_job(job)?;
        let (now, limits) = (self.now(), self.limits.clone());
        self.write(|tx| {
            let mut known = tx.prepare_cached("SELECT owner FROM jobs WHERE id = ?1")?;
            let known: Option<String> =
                known.query_row([job.id.as_bytes().as_slice()], |row| row.get(0)).optional()?;
            match known {
                Some(owner) if owner == job.owner => return Ok(()),
                Some(_) => return Err(StateError::Invalid("a job has this id already")),
                None => {}
            }
            check_quotas(tx, job, &limits)?;
            insert(tx, job, now)
        })?;
        self.bell.ring(Change::of(job.id, What::Queued));
        Ok(())
    }

    pub(super) fn get(&self, job: JobId, owner: Option<&str>) -> Result<Job, StateError> {
        let sql = format!("SELECT {JOB} FROM jobs WHERE id = ?1 AND owner = coalesce(?2, owner)");
        let mut select = self.read().prepare_cached(&sql)?;
        let found = select.query_row(params![job.as_bytes().as_slice(), owner], row::job);
        found.optional()?.ok_or(StateError::NotFound(job))
    }

    pub(super) fn cancel(&mut self, job: JobId, owner: Option<&str>) -> Result<Job, StateError> {
        let now = self.now();
        // Looked at first: whoever may not see it must not change it.
        let before = self.get(job, owner)?;
        if !before.state.is_live() {
            return Ok(before);
        }
        self.write(|tx| {
            let mut free = tx.prepare_cached(
                "UPDATE jobs SET cancel_asked = 1, epoch = epoch + 1 WHERE seq = ?1 \
                 AND ended_at IS NULL AND (state = 'queued' OR lease_until <= ?2 OR lease_until > ?3)",
            )?;
            let seq = stored(before.seq);
            if free.execute(params![seq, now, horizon(now)])? == 1 {
                return end(tx, seq, &Outcome::Cancelled, now);
            }
            tx.execute(
                "UPDATE jobs SET cancel_asked = 1, updated_at = ?2 \
                 WHERE seq = ?1 AND ended_at IS NULL AND NOT cancel_asked",
                params![seq, now],
            )?;
            Ok(())
        })?;
        let after = self.get(job, owner)?;
        let what = if after.state.is_live() { What::CancelAsked } else { What::Ended };
        self.bell.ring(Change::of(job, what));
        Ok(after)
    }

    pub(super) fn content(
        &self,
        job: JobId,
        owner: Option<&str>,
        content: Content,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let seq = stored(self.get(job, owner)?.seq);
        let mut select = self
            .read()
            .prepare_cached("SELECT content FROM contents WHERE job = ?1 AND slot = ?2")?;
        Ok(select.query_row(params![seq, content.slot()], |row| row.get(0)).optional()?)
    }

    pub(super) fn parts(
        &self,
        job: JobId,
        owner: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Part>, StateError> {
        let seq = stored(self.get(job, owner)?.seq);
        let mut select = self.read().prepare_cached(
            "SELECT number, content FROM parts WHERE job = ?1 AND number >= ?2 \
             ORDER BY number LIMIT ?3",
        )?;
        let mut rows = select.query(params![seq, stored(from), limit.min(PAGE_MAX)])?;
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let content: Vec<u8> = row.get(1)?;
            bytes += content.len();
            if bytes > PAGE_BYTES_MAX && !parts.is_empty() {
                break;
            }
            parts.push(Part { number: count(row.get(0)?), content });
        }
        Ok(parts)
    }

    pub(super) fn list(
        &self,
        owner: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobPage, StateError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let whose = if owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
        let sql =
            format!("SELECT {JOB} FROM jobs WHERE {whose} AND seq < ?2 ORDER BY seq DESC LIMIT ?3");
        let mut select = self.read().prepare_cached(&sql)?;
        let before = before.map_or(i64::MAX, stored);
        let rows = select.query_map(params![owner, before, i64::from(limit) + 1], row::job)?;
        Ok(limits::page(rows.collect::<rusqlite::Result<Vec<_>>>()?, limit))
    }

    pub(super) fn counts(&self) -> Result<Counts, StateError> {
        let now = self.now();
        let mut select = self.read().prepare_cached(
            "SELECT count(*) FILTER (WHERE state = 'queued'), \
                    count(*) FILTER (WHERE state = 'running' AND lease_until > ?1 AND lease_until <= ?2), \
                    count(*) FILTER (WHERE state = 'running'), \
                    count(*) FILTER (WHERE ended_at IS NOT NULL) FROM jobs",
        )?;
        Ok(select.query_row(params![now, horizon(now)], |row| {
            let (held, running) = (count(row.get(1)?), count(row.get(2)?));
            Ok(Counts {
                queued: count(row.get(0)?),
                running: held,
                stalled: running - held,
                ended: count(row.get(3)?),
            })
        })?)
    }
}

fn check_quotas(tx: &Transaction<'_>, job: &NewJob, limits: &Limits) -> Result<(), StateError> {
    let mut own =
        tx.prepare_cached("SELECT count(*) FROM jobs WHERE owner = ?1 AND ended_at IS NULL")?;
    limits.check_live_of_owner(count(own.query_row([&job.owner], |row| row.get(0))?))?;
    let mut all = tx.prepare_cached("SELECT count(*) FROM jobs WHERE ended_at IS NULL")?;
    limits.check_live(count(all.query_row([], |row| row.get(0))?))?;
    let mut forget = tx.prepare_cached(
        "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE owner = ?1 \
         AND ended_at IS NOT NULL ORDER BY seq DESC LIMIT ?2 OFFSET ?3)",
    )?;
    // The new one will end, too.
    forget.execute(params![job.owner, FORGET_MAX, limits.kept_per_owner_max - 1])?;
    Ok(())
}

fn insert(tx: &Transaction<'_>, job: &NewJob, now: i64) -> Result<(), StateError> {
    tx.execute("INSERT INTO owners (owner) VALUES (?1) ON CONFLICT DO NOTHING", [&job.owner])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO jobs (id, owner, kind, state, attempts_max, submitted_at, updated_at, \
         deadline_at, retention, about) VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?5, ?6, ?7, ?8)",
    )?;
    insert.execute(params![
        job.id.as_bytes().as_slice(),
        job.owner,
        job.kind,
        job.attempts_max,
        now,
        now.saturating_add(millis(job.deadline)),
        millis(job.retention),
        job.about
    ])?;
    let seq = tx.last_insert_rowid();
    tx.execute(
        "INSERT INTO contents (job, slot, content) VALUES (?1, 'input', ?2)",
        params![seq, job.input],
    )?;
    Ok(())
}

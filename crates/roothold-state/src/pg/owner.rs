//! What a job's owner does: submit, look, read, cancel.

use deadpool_postgres::{Object, Transaction};

use super::PgStore;
use super::row;
use super::sweep::end;
use crate::change::What;
use crate::error::StateError;
use crate::id::JobId;
use crate::job::{Content, Counts, Job, JobPage, NewJob, Outcome, Part, Whose};
use crate::limits::{FORGET_MAX, LEASE_MAX, PAGE_BYTES_MAX, PAGE_MAX, page};
use crate::rows::{JOB, count, horizon, stored};
use crate::time::millis;

/// How often an owner's row is made anew when it is deleted just then.
const TRIES_MAX: usize = 5;

impl PgStore {
    pub(super) async fn submit_on(
        &self,
        conn: &mut Object,
        job: &NewJob,
    ) -> Result<(), StateError> {
        self.limits.check_job(job)?;
        let tx = conn.transaction().await?;
        lock_owner(&tx, &job.owner).await?;
        let known = tx.prepare_cached("SELECT owner FROM jobs WHERE id = $1").await?;
        if let Some(row) = tx.query_opt(&known, &[&job.id.as_bytes().as_slice()]).await? {
            let same = row.try_get::<_, &str>(0)? == job.owner;
            return if same {
                Ok(())
            } else {
                Err(StateError::Invalid("a job has this id already"))
            };
        }
        let counts = tx
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE owner = $1), count(*) FROM jobs WHERE ended_at IS NULL",
            )
            .await?;
        let row = tx.query_one(&counts, &[&job.owner]).await?;
        self.limits.check_live_of_owner(count(row.try_get(0)?))?;
        self.limits.check_live(count(row.try_get(1)?))?;
        self.forget(&tx, &job.owner).await?;
        insert(&tx, job).await?;
        self.notify(&tx, job.id, What::Queued).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes some of the oldest of an owner's ended jobs that are too many, once one more has ended.
    async fn forget(&self, tx: &Transaction<'_>, owner: &str) -> Result<(), StateError> {
        let forget = tx
            .prepare_cached(
                "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE owner = $1 \
                 AND ended_at IS NOT NULL ORDER BY seq DESC LIMIT $2 OFFSET $3)",
            )
            .await?;
        let kept = i64::from(self.limits.kept_per_owner_max) - 1;
        tx.execute(&forget, &[&owner, &FORGET_MAX, &kept]).await?;
        Ok(())
    }

    pub(super) async fn cancel_on(
        &self,
        conn: &mut Object,
        job: JobId,
        whose: Whose<'_>,
    ) -> Result<Job, StateError> {
        let tx = conn.transaction().await?;
        let sql = format!("SELECT {JOB}, state_now(), lease_until {VISIBLE} FOR UPDATE");
        let select = tx.prepare_cached(&sql).await?;
        let found =
            tx.query_opt(&select, &[&job.as_bytes().as_slice(), &owner(whose, job)?]).await?;
        let found = found.ok_or(StateError::NotFound(job))?;
        let before = row::job(&found)?;
        if !before.state.is_live() {
            return Ok(before);
        }
        let (now, lease_until): (i64, Option<i64>) = (found.try_get(26)?, found.try_get(27)?);
        let free = lease_until.is_none_or(|until| until <= now || until > horizon(now));
        let (seq, fence) = (stored(before.seq), i64::from(free));
        let ask = tx
            .prepare_cached(
                "UPDATE jobs SET cancel_asked = true, epoch = epoch + $2, updated_at = $3 \
                 WHERE seq = $1",
            )
            .await?;
        tx.execute(&ask, &[&seq, &fence, &now]).await?;
        if free {
            end(&tx, seq, &Outcome::Cancelled, now).await?;
        }
        self.notify(&tx, job, if free { What::Ended } else { What::CancelAsked }).await?;
        tx.commit().await?;
        get(conn, job, whose).await
    }
}

/// A job by its id, of an owner or, if that is null, of anyone.
const VISIBLE: &str = "FROM jobs WHERE id = $1 AND ($2::text IS NULL OR owner = $2)";

/// No owner's name holds a NUL, which PostgreSQL would not take either.
fn owner(whose: Whose<'_>, job: JobId) -> Result<Option<&str>, StateError> {
    match whose.owner() {
        Some(name) if name.contains('\0') => Err(StateError::NotFound(job)),
        owner => Ok(owner),
    }
}

/// Locks the row of an owner, who may be new.
async fn lock_owner(tx: &Transaction<'_>, owner: &str) -> Result<(), StateError> {
    let insert =
        tx.prepare_cached("INSERT INTO owners (owner) VALUES ($1) ON CONFLICT DO NOTHING").await?;
    let lock = tx.prepare_cached("SELECT FROM owners WHERE owner = $1 FOR UPDATE").await?;
    for _ in 0..TRIES_MAX {
        tx.execute(&insert, &[&owner]).await?;
        if tx.query_opt(&lock, &[&owner]).await?.is_some() {
            return Ok(());
        }
    }
    let what = "the owner's row was deleted again and again".to_owned();
    Err(StateError::Unavailable(Box::new(super::error::Said(what))))
}

async fn insert(tx: &Transaction<'_>, job: &NewJob) -> Result<(), StateError> {
    let insert = tx
        .prepare_cached(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now), new AS ( \
                 INSERT INTO jobs (id, owner, kind, state, attempts_max, submitted_at, updated_at, \
                 deadline_at, retention, about) \
                 SELECT $1, $2, $3, 'queued', $4, now, now, now + $5, $6, $8 FROM t RETURNING seq) \
             INSERT INTO contents (job, slot, content) SELECT seq, 'input', $7 FROM new",
        )
        .await?;
    tx.execute(
        &insert,
        &[
            &job.id.as_bytes().as_slice(),
            &job.owner,
            &job.kind,
            &i64::from(job.attempts_max),
            &millis(job.deadline),
            &millis(job.retention),
            &job.input,
            &job.about,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn get(
    conn: &mut Object,
    job: JobId,
    whose: Whose<'_>,
) -> Result<Job, StateError> {
    let select = conn.prepare_cached(&format!("SELECT {JOB} {VISIBLE}")).await?;
    let found = conn.query_opt(&select, &[&job.as_bytes().as_slice(), &owner(whose, job)?]).await?;
    row::job(&found.ok_or(StateError::NotFound(job))?)
}

/// The place of a job in the order of submissions, by which its content is found.
async fn seq(conn: &mut Object, job: JobId, whose: Whose<'_>) -> Result<i64, StateError> {
    let select = conn.prepare_cached(&format!("SELECT seq {VISIBLE}")).await?;
    let found = conn.query_opt(&select, &[&job.as_bytes().as_slice(), &owner(whose, job)?]).await?;
    Ok(found.ok_or(StateError::NotFound(job))?.try_get(0)?)
}

pub(super) async fn content(
    conn: &mut Object,
    job: JobId,
    whose: Whose<'_>,
    content: Content,
) -> Result<Option<Vec<u8>>, StateError> {
    let seq = seq(conn, job, whose).await?;
    let select =
        conn.prepare_cached("SELECT content FROM contents WHERE job = $1 AND slot = $2").await?;
    let found = conn.query_opt(&select, &[&seq, &content.slot()]).await?;
    found.map(|row| Ok(row.try_get(0)?)).transpose()
}

pub(super) async fn parts(
    conn: &mut Object,
    job: JobId,
    whose: Whose<'_>,
    from: u64,
    limit: u32,
) -> Result<Vec<Part>, StateError> {
    let seq = seq(conn, job, whose).await?;
    let select = conn
        .prepare_cached(
            "SELECT number, content FROM (SELECT number, content, \
                 sum(length(content)) OVER (ORDER BY number) AS upto FROM parts \
                 WHERE job = $1 AND number >= $2 ORDER BY number LIMIT $3) page \
             WHERE upto <= $4 OR upto = length(content) ORDER BY number",
        )
        .await?;
    let (limit, bytes) = (i64::from(limit.min(PAGE_MAX)), stored(PAGE_BYTES_MAX as u64));
    let rows = conn.query(&select, &[&seq, &stored(from), &limit, &bytes]).await?;
    let part = |row: &tokio_postgres::Row| {
        Ok(Part { number: count(row.try_get(0)?), content: row.try_get(1)? })
    };
    rows.iter().map(part).collect()
}

pub(super) async fn list(
    conn: &mut Object,
    whose: Whose<'_>,
    before: Option<u64>,
    limit: u32,
) -> Result<JobPage, StateError> {
    let (limit, owner) = (limit.clamp(1, PAGE_MAX), whose.owner());
    if owner.is_some_and(|name| name.contains('\0')) {
        return Ok(JobPage { jobs: Vec::new(), before: None });
    }
    let sql = format!(
        "SELECT {JOB} FROM jobs WHERE ($1::text IS NULL OR owner = $1) AND seq < $2 \
         ORDER BY seq DESC LIMIT $3"
    );
    let select = conn.prepare_cached(&sql).await?;
    let before = before.map_or(i64::MAX, stored);
    let rows = conn.query(&select, &[&owner, &before, &(i64::from(limit) + 1)]).await?;
    Ok(page(rows.iter().map(row::job).collect::<Result<_, _>>()?, limit))
}

pub(super) async fn counts(conn: &mut Object) -> Result<Counts, StateError> {
    let select = conn
        .prepare_cached(
            "WITH t AS MATERIALIZED (SELECT state_now() AS now) \
             SELECT count(*) FILTER (WHERE state = 'queued'), \
                    count(*) FILTER (WHERE state = 'running' AND lease_until > now AND lease_until <= now + $1), \
                    count(*) FILTER (WHERE state = 'running'), \
                    count(*) FILTER (WHERE ended_at IS NOT NULL) FROM jobs, t",
        )
        .await?;
    let row = conn.query_one(&select, &[&millis(LEASE_MAX)]).await?;
    let (held, running) = (count(row.try_get(1)?), count(row.try_get(2)?));
    Ok(Counts {
        queued: count(row.try_get(0)?),
        running: held,
        stalled: running - held,
        ended: count(row.try_get(3)?),
    })
}

/// Whether the server answers, with our tables, and can be written.
pub(super) async fn check(conn: &mut Object) -> Result<(), StateError> {
    let select =
        conn.prepare_cached("SELECT pg_is_in_recovery() FROM migrations WHERE version = 1").await?;
    if conn.query_one(&select, &[]).await?.try_get(0)? {
        let what = "the server is a standby".to_owned();
        return Err(StateError::Unavailable(Box::new(super::error::Said(what))));
    }
    Ok(())
}

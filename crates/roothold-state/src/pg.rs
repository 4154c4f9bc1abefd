//! The state store in PostgreSQL, for replicas.
//!
//! Each operation is one transaction on a connection of a small pool, under a time limit; every
//! lock in it is waited for briefly or skipped. One more connection listens for wake-ups. Both
//! are made anew after an outage.

mod connect;
mod dsn;
mod error;
mod heads;
mod lease;
mod listen;
mod migrate;
mod owner;
mod reach;
mod row;
mod sweep;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use deadpool_postgres::Pool;

use self::connect::{Conn, Way};
use self::listen::Listener;
use self::migrate::Schema;
pub use self::reach::PgReach;
use crate::change::{Bell, Changes};
use crate::error::{OpenError, StateError};
use crate::head::ChainHead;
use crate::id::JobId;
use crate::job::{
    Claimed, Commit, Content, Counts, Directive, Expired, Job, JobPage, Lease, NewJob, Outcome,
    Part, Release, Whose,
};
use crate::limits::Limits;
use crate::store::{Claim, StateStore};

/// How a PostgreSQL server is reached.
#[derive(Clone)]
pub struct PgOptions {
    /// The connection string, `postgresql://user:password@host/database` or `key=value …`. Other
    /// machines are reached over TLS, and certificate and name are verified.
    pub url: String,
    /// Certificates, in PEM, of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether `sslmode=disable` may send jobs and password in the clear to another machine.
    pub plaintext: bool,
    /// The schema that holds the tables; it is made if the role may. Lower-case letters, digits, `_`.
    pub schema: String,
    /// Connections at once, besides the one that listens.
    pub connections_max: usize,
    /// How long one operation may take.
    pub timeout: Duration,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            ca_pem: None,
            plaintext: false,
            schema: "roothold".to_owned(),
            connections_max: 4,
            timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for PgOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgOptions").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PgOptions {
    fn check(&self) -> Result<(), OpenError> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let named = (1..=48).contains(&self.schema.len()) && self.schema.bytes().all(word);
        if !named || self.schema.starts_with("pg_") {
            let text = "state.schema has 1 to 48 lower-case letters, digits and _, and does not begin with pg_";
            return Err(OpenError::Options(text.to_owned()));
        }
        let limits = [
            ("connections_max", self.connections_max as u64, 1, 100),
            (
                "timeout_ms",
                u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
                100,
                600_000,
            ),
        ];
        for (name, is, min, max) in limits {
            if is < min || is > max {
                return Err(OpenError::Limit { name, min, max, is });
            }
        }
        Ok(())
    }
}

/// A state store in PostgreSQL.
pub struct PgStore {
    pool: Pool,
    limits: Limits,
    channel: String,
    timeout: Duration,
    bell: Bell,
    _listener: Listener,
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl PgStore {
    /// Connects and brings the schema up to date; replicas that start at once wait for each other.
    /// It spawns a task that listens for wake-ups, which ends with the store.
    ///
    /// # Errors
    /// [`OpenError`]: the options are wrong or unsafe, the server cannot be reached, or a newer
    /// version was here.
    pub async fn connect(options: &PgOptions, limits: Limits) -> Result<Self, OpenError> {
        Self::connected(options, limits, Schema::Made).await
    }

    /// Connects to a store that is there: nothing is made, and a schema is left as it is.
    ///
    /// # Errors
    /// [`OpenError::Absent`] and [`OpenError::Older`], and as for [`PgStore::connect`].
    pub async fn connect_existing(options: &PgOptions, limits: Limits) -> Result<Self, OpenError> {
        Self::connected(options, limits, Schema::AsItIs).await
    }

    async fn connected(
        options: &PgOptions,
        limits: Limits,
        schema: Schema,
    ) -> Result<Self, OpenError> {
        limits.check()?;
        let way = Way::of(options)?;
        migrate::migrate(&way, options, schema).await?;
        let (pool, bell) = (way.pool(options)?, Bell::new());
        let channel = format!("{}_changes", options.schema);
        let listener = Listener::start(way, channel.clone(), options.timeout, bell.clone()).await?;
        let timeout = options.timeout;
        Ok(Self { pool, limits, channel, timeout, bell, _listener: listener })
    }

    async fn conn(&self) -> Result<Conn, StateError> {
        Conn::of(&self.pool).await
    }

    async fn timed<T>(
        &self,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(answer) => answer,
            Err(_) => Err(StateError::Timeout(self.timeout)),
        }
    }
}

/// Does one operation on a connection, in time.
macro_rules! on {
    ($self:ident, $conn:ident => $work:expr) => {
        $self
            .timed(async {
                let mut $conn = $self.conn().await?;
                let answer = $work.await;
                $conn.settle(answer)
            })
            .await
    };
}

impl StateStore for PgStore {
    async fn submit(&self, job: NewJob) -> Result<(), StateError> {
        on!(self, conn => self.submit_on(&mut conn, &job))
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<Claimed>, StateError> {
        on!(self, conn => self.claim_on(&mut conn, claim))
    }

    async fn heartbeat(&self, lease: Lease, extend: Duration) -> Result<Directive, StateError> {
        on!(self, conn => self.heartbeat_on(&mut conn, lease, extend))
    }

    async fn commit(
        &self,
        lease: Lease,
        commit: Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        on!(self, conn => self.commit_on(&mut conn, lease, &commit, extend))
    }

    async fn finish(&self, lease: Lease, outcome: Outcome) -> Result<(), StateError> {
        on!(self, conn => self.finish_on(&mut conn, lease, &outcome))
    }

    async fn release(&self, lease: Lease, release: Release) -> Result<(), StateError> {
        on!(self, conn => self.release_on(&mut conn, lease, release))
    }

    async fn cancel(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        on!(self, conn => self.cancel_on(&mut conn, job, whose))
    }

    async fn get(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        on!(self, conn => owner::get(&mut conn, job, whose))
    }

    async fn content(
        &self,
        job: JobId,
        whose: Whose<'_>,
        content: Content,
    ) -> Result<Option<Vec<u8>>, StateError> {
        on!(self, conn => owner::content(&mut conn, job, whose, content))
    }

    async fn parts(
        &self,
        job: JobId,
        whose: Whose<'_>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Part>, StateError> {
        on!(self, conn => owner::parts(&mut conn, job, whose, from, limit))
    }

    async fn list(
        &self,
        whose: Whose<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobPage, StateError> {
        on!(self, conn => owner::list(&mut conn, whose, before, limit))
    }

    async fn expire(&self) -> Result<Expired, StateError> {
        on!(self, conn => self.expire_on(&mut conn))
    }

    async fn counts(&self) -> Result<Counts, StateError> {
        on!(self, conn => owner::counts(&mut conn))
    }

    async fn put_chain_head(&self, head: ChainHead) -> Result<(), StateError> {
        on!(self, conn => heads::put(&mut conn, &head))
    }

    async fn chain_heads(&self, replica: Option<&str>) -> Result<Vec<ChainHead>, StateError> {
        on!(self, conn => heads::list(&mut conn, replica))
    }

    fn changes(&self) -> Changes {
        self.bell.listen()
    }

    async fn check(&self) -> Result<(), StateError> {
        on!(self, conn => owner::check(&mut conn))
    }

    async fn close(&self) {
        self.pool.close();
    }
}

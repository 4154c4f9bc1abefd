//! One call's use of one connection: a transaction that is always rolled back, and a session that
//! is made as new, or closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{Object, PoolError};
use roothold_core::{Fault, FaultKind};
use tokio_postgres::Client;

use super::connect::{Connections, Pool, Way};
use super::error::{Trouble, is_lost, words};
use crate::spec::SourceAccess;

/// The server ends a statement itself a little after the call would, if nobody is left to cancel it.
const GRACE: Duration = Duration::from_millis(500);
/// How long making a session as new may take before it is closed instead.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);
/// After this time a server is asked once more to cancel.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);
/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection in a transaction.
///
/// # Cancellation
/// Dropped before [`Session::end`], it asks the server to cancel what runs, and closes the
/// connection.
pub(super) struct Session {
    conn: Option<Object<Connections>>,
    way: Arc<Way>,
}

impl Session {
    /// Takes a connection and begins a transaction on it. A connection that turns out to be lost is
    /// replaced once; nothing of the caller's was sent by then.
    pub(super) async fn begin(
        pool: &Pool,
        way: &Arc<Way>,
        wait: Duration,
        access: SourceAccess,
        time: Duration,
    ) -> Result<Self, Fault> {
        let until = Instant::now() + wait;
        let mut tries = 0;
        loop {
            let mut session =
                Self::take(pool, way, until.saturating_duration_since(Instant::now())).await?;
            let sql = begin_sql(way, access, time);
            let begun = session.client().batch_execute(&sql).await;
            let Err(error) = begun else { return Ok(session) };
            session.close();
            tries += 1;
            if !is_lost(&error) || tries > 1 {
                return Err(Trouble::from(error).fault());
            }
            // What lay idle with it was lost with it, most likely: the server went away.
            pool.retain(|_, _| false);
        }
    }

    async fn take(pool: &Pool, way: &Arc<Way>, wait: Duration) -> Result<Self, Fault> {
        match tokio::time::timeout(wait, pool.get()).await {
            Ok(Ok(mut conn)) => {
                conn.clean = false;
                Ok(Self { conn: Some(conn), way: Arc::clone(way) })
            }
            Ok(Err(PoolError::Backend(trouble))) => Err(trouble.fault()),
            Ok(Err(PoolError::Closed)) => {
                Err(Fault::new(FaultKind::Unavailable, "the server is stopping"))
            }
            Ok(Err(other)) => Err(Fault::internal(other.to_string())),
            Err(_) => {
                let text = "every connection to this database is in use; try again in a moment";
                Err(Fault::new(FaultKind::Busy, text))
            }
        }
    }

    fn conn(&self) -> &Object<Connections> {
        self.conn.as_ref().expect("it is taken only by what consumes the session")
    }

    pub(super) fn client(&self) -> &Client {
        &self.conn().client
    }

    pub(super) fn way(&self) -> &Arc<Way> {
        &self.way
    }

    /// Whether the connection ended because the server sent more than fits an answer.
    pub(super) fn met_too_large(&self) -> bool {
        self.conn().met_too_large()
    }

    /// The most bytes of an answer.
    pub(super) fn bytes_max(&self) -> usize {
        self.way.answer_bytes_max()
    }

    /// Closes the connection at once; nothing runs on it.
    pub(super) fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }

    /// Closes the connection of a session on which nothing runs.
    pub(super) fn close_now(mut self) {
        self.close();
    }

    /// Rolls back and gives the connection back with a session as new; one that cannot be made so
    /// is closed.
    pub(super) async fn end(self) {
        self.leave("ROLLBACK").await;
    }

    /// Ends it as what was done on it ended.
    pub(super) async fn finish<T>(self, done: Result<T, Fault>) -> Result<T, Fault> {
        match &done {
            Ok(_) => self.end().await,
            Err(fault) => self.end_failed(fault),
        }
        done
    }

    /// Closes the connection after a fault; what may still run is cancelled.
    pub(super) fn end_failed(mut self, fault: &Fault) {
        let runs =
            matches!(fault.kind(), FaultKind::Timeout | FaultKind::Cancelled | FaultKind::Limit);
        if !runs {
            self.close();
        }
    }

    /// The same after a transaction that has ended.
    pub(super) async fn end_committed(self) {
        self.leave("").await;
    }

    async fn leave(mut self, first: &str) {
        let client = self.client();
        let reset = async {
            tokio::join!(
                biased;
                async { if first.is_empty() { Ok(()) } else { client.batch_execute(first).await } },
                client.batch_execute("DISCARD ALL"),
            )
        };
        let reset = tokio::time::timeout(RESET_TIMEOUT, reset).await;
        if matches!(reset, Ok((Ok(()), Ok(())))) {
            if let Some(mut conn) = self.conn.take() {
                conn.clean = true;
            }
        } else {
            self.close();
        }
    }

    /// Commits. It is not broken off: it runs to its end also when nobody waits.
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        let tasks = self.way.tasks().clone();
        let commit = async move {
            let committed = self.client().batch_execute("COMMIT").await;
            match committed {
                Ok(()) => {
                    self.end_committed().await;
                    Ok(())
                }
                Err(error) => {
                    self.close();
                    Err(error)
                }
            }
        };
        let unknown =
            "the connection was lost while the change was committed: look whether it is there";
        match tasks.spawn(commit).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_lost(&error) => {
                Err(Fault::new(FaultKind::Unavailable, unknown).with_source(words(&error)))
            }
            Ok(Err(error)) => {
                Err(super::error::fault(&error, super::error::Asked { sql: "", before: 0 }))
            }
            Err(_) => Err(Fault::new(FaultKind::Unavailable, unknown)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let (way, cancel) = (Arc::clone(&self.way), conn.cancel());
        if tokio::runtime::Handle::try_current().is_err() {
            drop(Object::take(conn));
            return;
        }
        let tasks = way.tasks().clone();
        // What is not sent yet must not be, or it would run after the server was told to stop.
        conn.hang_up();
        tasks.spawn(async move {
            way.cancel(&cancel).await;
            // The place in the pool is free once the server knows.
            drop(Object::take(conn));
            // The server passes over a request that comes between two messages, of which the
            // second may have been on its way.
            tokio::time::sleep(CANCEL_AGAIN).await;
            way.cancel(&cancel).await;
        });
    }
}

/// The beginning of every transaction, in one message of fixed text. The first statement pins the
/// mode: after it `SET TRANSACTION READ WRITE` is refused. What the role is limited to already is not
/// loosened.
fn begin_sql(way: &Way, access: SourceAccess, time: Duration) -> String {
    let role = way.role_limits();
    let least = |role: u64, ours: Duration| {
        let ours = u64::try_from(ours.as_millis()).unwrap_or(u64::MAX).max(1);
        if role == 0 { ours } else { role.min(ours) }
    };
    let mode = match access {
        SourceAccess::Read => "READ ONLY",
        SourceAccess::Write => "READ WRITE",
    };
    let look = if role.looks_for_client {
        "SET LOCAL client_connection_check_interval TO 250; "
    } else {
        ""
    };
    format!(
        "BEGIN {mode}; {look} SET LOCAL statement_timeout TO {}; SET LOCAL lock_timeout TO {}; \
         SET LOCAL idle_in_transaction_session_timeout TO {}; SET LOCAL client_min_messages TO error; \
         SET LOCAL datestyle TO 'ISO'; SET LOCAL intervalstyle TO 'iso_8601'; SET LOCAL bytea_output TO 'hex'; \
         SET LOCAL extra_float_digits TO 1; SET LOCAL cursor_tuple_fraction TO 1; SELECT 1",
        least(role.statement, time + GRACE),
        least(role.lock, LOCK_TIMEOUT.min(time)),
        least(role.idle, time + GRACE),
    )
}

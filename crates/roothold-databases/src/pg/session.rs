//! What PostgreSQL is asked for around a call: to begin, to commit, to forget, and to cancel.

use std::time::Duration;

use roothold_core::Fault;
use tokio_postgres::Client;
use tokio_util::task::TaskTracker;

use super::connect::{Cancel, Conn, Way};
use super::error::{Asked, Trouble, fault, is_lost, is_standby, words};
use crate::said;
use crate::session::{Failure, Server};
use crate::spec::SourceAccess;

/// The server ends a statement itself a little after the call would, if nobody is left to cancel it.
const GRACE: Duration = Duration::from_millis(500);
/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection in a transaction.
pub(super) type Session = crate::session::Session<Way>;

impl Session {
    pub(super) fn client(&self) -> &Client {
        &self.link().client
    }

    /// Whether the connection ended because the server sent more than fits an answer.
    pub(super) fn met_too_large(&self) -> bool {
        self.link().met_too_large()
    }

    /// The most bytes of an answer.
    pub(super) fn bytes_max(&self) -> usize {
        self.server().answer_bytes_max()
    }
}

impl Server for Way {
    type Link = Conn;
    type Cancel = Cancel;
    /// The server passes over a request that comes between two messages, of which the second may
    /// have been on its way.
    const CANCEL_AGAIN: Option<Duration> = Some(Duration::from_millis(100));

    fn tasks(&self) -> &TaskTracker {
        Way::tasks(self)
    }

    async fn open(&self) -> Result<Conn, Fault> {
        self.open_known().await.map_err(Trouble::fault)
    }

    fn is_open(conn: &Conn) -> bool {
        !conn.client.is_closed()
    }

    async fn begin(
        &self,
        conn: &mut Conn,
        access: SourceAccess,
        time: Duration,
    ) -> Result<(), Failure> {
        let begun = conn.client.batch_execute(&begin_sql(self, access, time)).await;
        begun.map_err(|error| Failure {
            lost: is_lost(&error),
            fault: if is_standby(&error) {
                said::only_reads(words(&error))
            } else {
                Trouble::from(error).fault()
            },
        })
    }

    async fn commit(&self, conn: &mut Conn) -> Result<(), Failure> {
        let committed = conn.client.batch_execute("COMMIT").await;
        committed
            .map_err(|error| Failure { lost: is_lost(&error), fault: fault(&error, Asked::OURS) })
    }

    async fn renew(&self, conn: &mut Conn, in_transaction: bool) -> bool {
        let client = &conn.client;
        let (ended, discarded) = tokio::join!(
            biased;
            async { if in_transaction { client.batch_execute("ROLLBACK").await } else { Ok(()) } },
            client.batch_execute("DISCARD ALL"),
        );
        ended.is_ok() && discarded.is_ok()
    }

    fn hang_up(conn: &mut Conn) {
        Conn::hang_up(conn);
    }

    fn canceller(conn: &Conn) -> Cancel {
        conn.cancel()
    }

    async fn cancel(&self, cancel: &Cancel) {
        Way::cancel(self, cancel).await;
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
         SET LOCAL extra_float_digits TO 1; SET LOCAL cursor_tuple_fraction TO 1; \
         SET LOCAL standard_conforming_strings TO on; SELECT 1",
        least(role.statement, time + GRACE),
        least(role.lock, LOCK_TIMEOUT.min(time)),
        least(role.idle, time + GRACE),
    )
}

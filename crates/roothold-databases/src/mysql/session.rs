//! What the server is asked for around a call: to begin, to commit, to forget, and to cancel.

use std::fmt::Write as _;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use roothold_core::Fault;
use tokio_util::task::TaskTracker;

use super::connect::{Flavor, Link, Way};
use super::error;
use super::grants::quoted;
use crate::session::{Failure, Server};
use crate::spec::SourceAccess;

/// The server ends a statement itself a little after the call would, if nobody is left to cancel it.
const GRACE: Duration = Duration::from_millis(500);
/// How many seconds a statement waits for a lock.
const LOCK_SECONDS: u64 = 3;
/// Strict, and with quotes and backslashes as the lexer of ours reads them.
const SQL_MODE: &str = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// A connection in a transaction.
pub(super) type Session = crate::session::Session<Way>;

impl Session {
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Fault> {
        self.link_mut().conn()
    }

    /// The most bytes of an answer.
    pub(super) fn bytes_max(&self) -> usize {
        self.server().answer_bytes_max()
    }
}

impl Server for Way {
    type Link = Link;
    type Cancel = u32;
    /// A connection that is killed stays so.
    const CANCEL_AGAIN: Option<Duration> = None;

    fn tasks(&self) -> &TaskTracker {
        Way::tasks(self)
    }

    async fn open(&self) -> Result<Link, Fault> {
        Way::open(self).await
    }

    fn is_open(link: &Link) -> bool {
        link.is_open()
    }

    async fn begin(
        &self,
        link: &mut Link,
        access: SourceAccess,
        time: Duration,
    ) -> Result<(), Failure> {
        let sql = begin_sql(link, access, time, self.cost_max(), self.database());
        let conn = link.conn().map_err(|fault| Failure { lost: true, fault })?;
        conn.query_drop(sql).await.map_err(|error| Failure {
            lost: error::is_lost(&error),
            fault: error::of_connecting(&error),
        })
    }

    async fn commit(&self, link: &mut Link) -> Result<(), Failure> {
        let conn = link.conn().map_err(|fault| Failure { lost: true, fault })?;
        conn.query_drop("COMMIT").await.map_err(|error| Failure {
            lost: error::is_lost(&error),
            fault: error::fault(&error, None, 0),
        })
    }

    /// Resetting a connection rolls back, and forgets settings, variables, locks, temporary tables
    /// and prepared statements.
    async fn renew(&self, link: &mut Link, _: bool) -> bool {
        let Ok(conn) = link.conn() else { return false };
        matches!(conn.reset().await, Ok(true))
    }

    fn hang_up(link: &mut Link) {
        link.hang_up();
    }

    fn canceller(link: &Link) -> u32 {
        link.id
    }

    async fn cancel(&self, id: &u32) {
        self.kill(*id).await;
    }
}

/// The beginning of every transaction: fixed text of ours, the one message that holds several
/// statements. The role's own time limit is not loosened.
fn begin_sql(
    link: &Link,
    access: SourceAccess,
    time: Duration,
    cost_max: Option<f64>,
    database: Option<&str>,
) -> String {
    let ours = u64::try_from((time + GRACE).as_millis()).unwrap_or(u64::MAX).max(1);
    let millis = if link.role_time == 0 { ours } else { link.role_time.min(ours) };
    let locks = LOCK_SECONDS.min(time.as_secs()).max(1);
    // The rights in a database are read anew when it is used.
    let mut sql = database.map(|name| format!("USE {}; ", quoted(name))).unwrap_or_default();
    sql.push_str("SET NAMES utf8mb4; SET SESSION ");
    let limits = match link.flavor {
        Flavor::MariaDb => format!(
            "max_statement_time={}.{:03}, idle_transaction_timeout={}",
            millis / 1_000,
            millis % 1_000,
            time.as_secs() + 2
        ),
        Flavor::MySql => format!("max_execution_time={millis}"),
    };
    let mode = match access {
        SourceAccess::Read => "READ ONLY",
        SourceAccess::Write => "READ WRITE",
    };
    write!(
        sql,
        "{limits}, lock_wait_timeout={locks}, innodb_lock_wait_timeout={locks}, time_zone='+00:00', \
         autocommit=1, sql_mode='{SQL_MODE}'"
    )
    .expect("text can always be appended");
    if let Some(cost) = cost_max {
        // The server compares the cost of a plan with it. It takes whole numbers.
        write!(sql, ", sql_big_selects=0, max_join_size={:.0}", cost.ceil().min(1e18))
            .expect("text can always be appended");
    }
    // The first is for whatever transaction comes on this session, the second begins one.
    write!(sql, "; SET SESSION TRANSACTION {mode}; START TRANSACTION {mode}")
        .expect("text can always be appended");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_s_time_is_not_loosened() {
        let begin = |flavor, role_time, cost| {
            let link = Link::closed(flavor, role_time);
            begin_sql(&link, SourceAccess::Read, Duration::from_millis(1_500), cost, Some("a`b"))
        };
        let maria = begin(Flavor::MariaDb, 0, None);
        assert!(maria.starts_with("USE `a``b`; SET NAMES"), "{maria}");
        assert!(maria.contains("max_statement_time=2.000,"), "{maria}");
        assert!(maria.ends_with("SET SESSION TRANSACTION READ ONLY; START TRANSACTION READ ONLY"));
        assert!(begin(Flavor::MariaDb, 150, None).contains("max_statement_time=0.150,"));
        let mysql = begin(Flavor::MySql, 9_000, Some(10.5));
        assert!(mysql.contains("max_execution_time=2000,"), "{mysql}");
        assert!(mysql.contains("lock_wait_timeout=1,") && mysql.contains("max_join_size=11;"));
    }
}

//! Sources as their users see them: real servers of PostgreSQL and MariaDB, real SQLite files, hostile statements.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests set files up and look at what became of them"
)]

mod battery;
mod first_words;
mod mysql;
mod pg;
mod scan;
mod sqlite;

use std::time::Duration;

use roothold_core::{Budget, Fault};
use roothold_databases::{Answer, Source, Statement, Window};

/// A budget that no test uses up.
fn budget() -> Budget {
    Budget::new(1 << 20, 1_000, Duration::from_mins(2))
}

async fn ask(source: &Source, sql: &str) -> Result<Answer, Fault> {
    source.query(&Statement::new(sql), Window::default(), &budget()).await
}

async fn rows(source: &Source, sql: &str) -> serde_json::Value {
    let answer = ask(source, sql).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
    serde_json::to_value(answer.rows).unwrap()
}

/// The refusal of a statement.
async fn refused(source: &Source, sql: &str) -> Fault {
    ask(source, sql).await.expect_err(sql)
}

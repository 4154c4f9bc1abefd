//! Databases as agents meet them: over HTTP, with real servers behind.

mod battery;
mod hangup;
mod outage;
mod people;
mod quiet;

use std::time::{Duration, Instant};

use roothold_testing::Postgres;
use serde_json::{Value, json};

use crate::support::{Asked, Dirs, Server, Spec};

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL database as a section of the configuration.
fn postgres(name: &str, url: &str, more: &str) -> String {
    format!("[[databases]]\nname = \"{name}\"\nkind = \"postgres\"\ndsn = \"{url}\"\n{more}\n")
}

fn start(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

fn query(server: &Server, database: &str, sql: &str) -> Asked {
    server.asked("query_database", &json!({"database": database, "sql": sql}))
}

/// The rows of an answer.
fn rows(answer: &Asked) -> &Value {
    match answer {
        Ok(answer) => &answer["rows"],
        Err((kind, text)) => panic!("{kind}: {text}"),
    }
}

/// Runs what only talks to a database, beside the test's own thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many statements of a role run.
fn running(server: &Postgres, role: &str) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state <> 'idle'"
    );
    block_on(server.see("postgres", &count)).parse().unwrap()
}

/// A database of its own in the server that all share, with a table of 100 orders.
fn orders(name: &str) -> &'static Postgres {
    let server = Postgres::shared();
    let setup =
        "CREATE TABLE orders AS SELECT i AS id, i * 10 AS amount FROM generate_series(1, 100) i";
    block_on(server.database(name, setup));
    server
}

//! Databases as agents meet them: over HTTP, with real servers behind.

mod asking;
mod battery;
mod checking;
mod configured;
mod confirming;
mod executing;
mod failing;
pub(crate) mod granted;
mod hangup;
mod mysql;
mod outage;
mod people;
mod quiet;
mod readiness;
pub(crate) mod reloading;
mod roles;

use std::path::{Path, PathBuf};
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

/// A SQLite database outside of every root; what callers must not see begins with `CANARY-`.
pub(crate) fn sqlite(dirs: &Dirs, name: &str) -> PathBuf {
    let path = dirs.base().join("db").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, card TEXT);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), amount REAL);
         CREATE INDEX orders_by_customer ON orders (customer_id);
         CREATE TABLE vault (secret TEXT);
         INSERT INTO customers VALUES (1, 'Anna', 'CANARY-CARD1'), (2, 'Bo' || char(10) || 'Jr', NULL), (9007199254740993, 'Cleo', NULL);
         INSERT INTO vault VALUES ('CANARY-VAULT');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO orders SELECT i, 1 + i % 2, i / 4.0 FROM n;",
    )
    .unwrap();
    path
}

/// It as a section of the configuration, with what is hidden in it.
pub(crate) fn section(name: &str, path: &Path) -> String {
    format!(
        "[[databases]]\nname = \"{name}\"\nkind = \"sqlite\"\npath = \"{}\"\n\
         description = \"what is sold\"\nhidden_tables = [\"vault\"]\nhidden_columns = [\"customers.card\"]\n",
        path.display()
    )
}

/// A server with the SQLite database `shop`.
fn shop(dirs: &Dirs) -> Server {
    start(dirs, &section("shop", &sqlite(dirs, "shop.sqlite3")))
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

/// Everything that is written down of calls.
fn written(server: &Server) -> [(&'static str, String); 4] {
    [
        ("audit log", String::from_utf8(server.audit().raw).unwrap()),
        ("log", server.log()),
        ("metrics", server.metrics()),
        ("status", server.status().to_string()),
    ]
}

/// What stands before a text and with it, in small letters, if it is there in whatever letters.
fn around(text: &str, wanted: &str) -> Option<String> {
    let text = text.to_lowercase();
    let at = text.find(wanted)?;
    let from = (0..=at.saturating_sub(300)).rev().find(|&from| text.is_char_boundary(from))?;
    Some(text[from..at + wanted.len()].to_owned())
}

//! A statement that nobody waits for is gone from the database.

use std::time::Duration;

use roothold_testing::Postgres;
use rustix::process::Signal;
use serde_json::json;

use super::{PATIENCE, block_on, eventually, orders, postgres, query, rows, running, start};
use crate::support::{Conn, Dirs, Request};

const LONG: &str = "SELECT pg_sleep(60)";

fn long() -> Request {
    Request::call("query_database", &json!({"database": "app", "sql": LONG}))
}

/// How many of them run, and not only what the server asks on its own.
fn sleeping(server: &Postgres, role: &str) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND wait_event = 'PgSleep'"
    );
    block_on(server.see("postgres", &count)).parse().unwrap()
}

#[test]
fn a_client_that_hangs_up_ends_its_statement() {
    let (database, dirs) = (orders("hangs_up"), Dirs::with_fixture());
    let url = database.url("hangs_up", "hangs_up");
    let server = start(&dirs, &postgres("app", &url, "pool_size = 2"));
    for round in 0..10 {
        let conns: Vec<Conn> = (0..2)
            .map(|_| {
                let mut conn = Conn::open(server.address);
                conn.write(&long().bytes());
                conn
            })
            .collect();
        // Some before their statement began, most while it runs.
        if round > 0 {
            eventually("both run", || sleeping(database, "hangs_up") == 2);
        }
        drop(conns);
        eventually("they still run", || running(database, "hangs_up") == 0);
        let answer = query(&server, "app", "SELECT count(*) FROM orders");
        assert_eq!(rows(&answer), &json!([[100]]), "the connections are free again");
    }
    // A connection that ends at once may do so before its request was read.
    eventually("who hangs up is recorded, too", || {
        let (intents, outcomes) = server.audit().counts();
        intents == outcomes && (28..=30).contains(&intents)
    });
}

#[test]
fn a_statement_that_is_overdue_ends() {
    let (database, dirs) = (orders("overdue"), Dirs::with_fixture());
    let url = database.url("overdue", "overdue");
    let server = start(&dirs, &postgres("app", &url, "query_timeout_seconds = 1"));
    let (kind, text) = query(&server, "app", LONG).unwrap_err();
    assert_eq!(kind, "timeout", "{text}");
    eventually("it still runs", || running(database, "overdue") == 0);
}

#[test]
fn a_server_that_stops_leaves_nothing_running() {
    let (database, dirs) = (orders("stops"), Dirs::with_fixture());
    let url = database.url("stops", "stops");
    let more = format!("[server]\ndrain_timeout_seconds = 1\n{}", postgres("app", &url, ""));
    let mut server = start(&dirs, &more);
    let mut conn = Conn::open(server.address);
    conn.write(&long().bytes());
    eventually("it runs", || sleeping(database, "stops") == 1);
    server.signal(Signal::TERM);
    is_told_to_try_again(&mut conn);
    assert!(server.wait(PATIENCE).is_some(), "it did not end: {}", server.log());
    eventually("it still runs", || running(database, "stops") == 0);
}

fn is_told_to_try_again(conn: &mut Conn) {
    let (kind, text) = conn.read().expect("a word before the end").asked().unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(text.contains("try again"), "{text}");
}

#[test]
fn a_second_signal_ends_what_runs_with_a_word() {
    let (database, dirs) = (orders("stops_at_once"), Dirs::with_fixture());
    let url = database.url("stops_at_once", "stops_at_once");
    let mut server = start(&dirs, &postgres("app", &url, ""));
    let mut conn = Conn::open(server.address);
    conn.write(&long().bytes());
    eventually("it runs", || sleeping(database, "stops_at_once") == 1);
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.wait(Duration::from_millis(50)).is_none(), "it waits for the call");
    server.signal(Signal::TERM);
    is_told_to_try_again(&mut conn);
    let ended = server.wait(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(1), "a call was cut: {}", server.log());
    eventually("it still runs", || running(database, "stops_at_once") == 0);
    assert_eq!(server.audit().counts(), (1, 1));
}

#[test]
fn many_callers_share_one_connection() {
    let (database, dirs) = (orders("shares"), Dirs::with_fixture());
    let url = database.url("shares", "shares");
    let server = start(&dirs, &postgres("app", &url, "pool_size = 1"));
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let server = &server;
            scope.spawn(move || {
                let mut conn = Conn::open(server.address);
                for turn in 0..10 {
                    let id = (caller * 7 + turn) % 100 + 1;
                    let sql = "SELECT amount, current_setting('app.who', true), set_config('app.who', 'me', false) \
                               FROM orders WHERE id = $1";
                    let arguments = json!({"database": "app", "sql": sql, "parameters": [id]});
                    let reply = conn.send(&Request::call("query_database", &arguments));
                    let answer = reply.asked();
                    let row = &rows(&answer)[0];
                    assert_eq!(row[0], json!(id * 10));
                    assert!(row[1].is_null() || row[1] == "", "a setting of another call: {row}");
                }
            });
        }
    });
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shares'";
    assert_eq!(block_on(database.see("postgres", open)), "1");
}

/// One database is full and the other idle, so that most connections to the kind are free.
#[test]
fn calls_that_wait_for_a_connection_are_counted() {
    let (database, dirs) = (orders("waits"), Dirs::with_fixture());
    let url = database.url("waits", "waits");
    let full = postgres("app", &url, "pool_size = 1\npool_wait_seconds = 60");
    let server = start(&dirs, &(full + &postgres("idle", &url, "")));
    let waiting = |count: usize| {
        let series = format!("roothold_database_calls_waiting{{kind=\"postgres\"}} {count}");
        eventually(&series, || server.metrics().lines().any(|line| line == series));
    };
    waiting(0);
    let conns: Vec<Conn> = (0..3)
        .map(|_| {
            let mut conn = Conn::open(server.address);
            conn.write(&long().bytes());
            conn
        })
        .collect();
    waiting(2);
    drop(conns);
    waiting(0);
}

#[test]
fn who_finds_no_connection_is_told_so() {
    let (database, dirs) = (orders("is_busy"), Dirs::with_fixture());
    let url = database.url("is_busy", "is_busy");
    let server = start(&dirs, &postgres("app", &url, "pool_size = 1\npool_wait_seconds = 1"));
    let mut conn = Conn::open(server.address);
    conn.write(&long().bytes());
    eventually("it runs", || sleeping(database, "is_busy") == 1);
    let (kind, text) = query(&server, "app", "SELECT 1").unwrap_err();
    assert_eq!(kind, "busy", "{text}");
    drop(conn);
    std::thread::sleep(Duration::from_millis(100));
    eventually("it is free again", || query(&server, "app", "SELECT 1").is_ok());
}

//! Many callers, few connections: none fails, none starves, and none sees what another left.

use std::sync::Arc;

use roothold_databases::{Source, Statement, Window};
use roothold_testing::Postgres;
use serde_json::json;

use super::spec;
use crate::budget;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_connections_and_see_nothing_of_each_other() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE orders (id int PRIMARY KEY, amount int); INSERT INTO orders SELECT i, i * 10 FROM generate_series(1, 100) i";
    server.database("load", setup).await;
    let mut spec = spec(server, "load");
    spec.connections_max = 8;
    let source = Arc::new(Source::new(spec).unwrap());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64_i64 {
        let source = Arc::clone(&source);
        callers.spawn(async move {
            for turn in 0..20_i64 {
                let id = (caller + turn) % 100 + 1;
                let sql = "SELECT amount, current_setting('app.who', true), \
                    current_setting('statement_timeout') <> '0', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                    set_config('app.who', $2, false), set_config('statement_timeout', '0', false), pg_try_advisory_lock_shared(7) \
                    FROM orders WHERE id = $1";
                let statement = Statement {
                    sql: sql.to_owned(),
                    parameters: vec![json!(id).into(), json!(format!("caller {caller}")).into()],
                };
                let answer = source.query(&statement, Window::default(), &budget()).await.unwrap();
                let row = &answer.rows[0];
                assert_eq!(row[0], json!(id * 10));
                assert!(row[1] == json!(null) || row[1] == json!(""), "a setting of another call: {row:?}");
                assert_eq!((&row[2], &row[3]), (&json!(true), &json!(0)), "{row:?}");
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let open = "SELECT count(*) <= 8 FROM pg_stat_activity WHERE usename = 'load'";
    assert_eq!(server.see("postgres", open).await, "t");
    source.close().await;
    let after = source.query(&Statement::new("SELECT 1"), Window::default(), &budget()).await;
    assert_eq!(after.unwrap_err().kind(), roothold_core::FaultKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_finds_no_connection_is_told_so() {
    let server = Postgres::shared();
    server.database("busy", "").await;
    let mut spec = spec(server, "busy");
    spec.connections_max = 1;
    spec.limits.wait = std::time::Duration::from_millis(500);
    let source = Arc::new(Source::new(spec).unwrap());
    source.ready(&budget()).await.unwrap();
    let own = Arc::clone(&source);
    let long = tokio::spawn(async move {
        let sql = "SELECT count(*) FROM generate_series(1, 5000000000)";
        own.query(&Statement::new(sql), Window::default(), &budget()).await
    });
    let began = std::time::Instant::now();
    loop {
        match source.query(&Statement::new("SELECT 1"), Window::default(), &budget()).await {
            Err(fault) => {
                assert_eq!(fault.kind(), roothold_core::FaultKind::Busy, "{fault}");
                break;
            }
            Ok(_) => assert!(began.elapsed().as_secs() < 20, "the connection was never in use"),
        }
    }
    long.abort();
}

/// To wait for a connection is no part of the time that a statement may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waited_has_all_its_time() {
    let server = Postgres::shared();
    server.database("patient", "").await;
    let mut spec = spec(server, "patient");
    spec.connections_max = 1;
    spec.limits.time = std::time::Duration::from_secs(2);
    let source = Arc::new(Source::new(spec).unwrap());
    source.ready(&budget()).await.unwrap();
    let calls = (0..4).map(|_| {
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            let sql = "SELECT count(*) FROM pg_sleep(0.8)";
            source.query(&Statement::new(sql), Window::default(), &budget()).await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
}

//! Many callers, few connections: none fails, none starves, and none sees what another left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roothold_core::FaultKind;
use roothold_databases::{Source, Statement, Window};
use roothold_testing::MariaDb;
use serde_json::json;

use super::spec;
use crate::budget;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_connections_and_see_nothing_of_each_other() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE orders (id INT PRIMARY KEY, amount INT); INSERT INTO orders SELECT seq, seq * 10 FROM seq_1_to_100";
    server.database("shared", setup).await;
    let mut spec = spec(server, "shared");
    spec.connections_max = 8;
    let source = Arc::new(Source::new(spec).unwrap());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64_i64 {
        let source = Arc::clone(&source);
        callers.spawn(async move {
            for turn in 0..20_i64 {
                let id = (caller + turn) % 100 + 1;
                let sql = "SELECT amount, @who, @@sql_select_limit > 100, @@max_statement_time > 0, @@tx_read_only, \
                    LAST_INSERT_ID(), DATABASE(), GET_LOCK(?2, 0), @who := ?2, LAST_INSERT_ID(77) FROM orders WHERE id = ?1";
                let statement = Statement {
                    sql: sql.to_owned(),
                    parameters: vec![json!(id).into(), json!(format!("caller {caller}")).into()],
                };
                let answer = source.query(&statement, Window::default(), &budget()).await.unwrap();
                let row = &answer.rows[0];
                let expected = json!([id * 10, null, 1, 1, 1, 0, "shared", 1, format!("caller {caller}"), 77]);
                assert_eq!(json!(row), expected);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let open = "SELECT COUNT(*) <= 8 FROM information_schema.processlist WHERE user = 'shared'";
    assert_eq!(server.see("mysql", open).await, "1");
    let figures = source.pool();
    assert!(
        figures.connections_max == 8 && figures.open <= 8 && figures.in_use == 0,
        "{figures:?}"
    );
    source.close().await;
    let after = source.query(&Statement::new("SELECT 1"), Window::default(), &budget()).await;
    assert_eq!(after.unwrap_err().kind(), FaultKind::Unavailable);
    let none = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'shared'";
    let began = Instant::now();
    while server.see("mysql", none).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "a closed source holds connections");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_finds_no_connection_is_told_so() {
    let server = MariaDb::shared();
    server.database("crowd", "").await;
    let mut spec = spec(server, "crowd");
    spec.connections_max = 1;
    spec.limits.wait = Duration::from_millis(500);
    let source = Arc::new(Source::new(spec).unwrap());
    source.ready(&budget()).await.unwrap();
    let own = Arc::clone(&source);
    let long = tokio::spawn(async move {
        own.query(&Statement::new("SELECT SLEEP(60)"), Window::default(), &budget()).await
    });
    let began = Instant::now();
    loop {
        match source.query(&Statement::new("SELECT 1"), Window::default(), &budget()).await {
            Err(fault) => {
                assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
                break;
            }
            Ok(_) => assert!(began.elapsed().as_secs() < 20, "the connection was never in use"),
        }
    }
    long.abort();
}

/// The server itself may have no connection left.
#[tokio::test]
async fn a_role_whose_connections_are_used_up_is_busy() {
    let server = MariaDb::shared();
    server.database("few", "").await;
    server.say("mysql", "ALTER USER few@'%' WITH MAX_USER_CONNECTIONS 1").await;
    let source = Source::new(spec(server, "few")).unwrap();
    let opts = mysql_async::Opts::from_url(&server.url("few", "few")).unwrap();
    let other = mysql_async::Conn::new(opts).await.unwrap();
    let fault = crate::refused(&source, "SELECT 1").await;
    assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
    other.disconnect().await.unwrap();
}

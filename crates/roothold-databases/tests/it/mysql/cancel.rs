//! What nobody waits for any more stops in the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roothold_core::{Budget, FaultKind};
use roothold_databases::{Source, Statement, Window};
use roothold_testing::MariaDb;
use serde_json::json;

use super::spec;
use crate::{refused, rows};

const LONG: &str = "SELECT SLEEP(60)";
/// One that works, and does not only wait.
const BUSY: &str = "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b";

fn working(role: &str) -> String {
    format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{role}' AND command <> 'Sleep'"
    )
}

/// How long it takes until no statement of the role runs. Generous: the machine may be busy.
pub(super) async fn gone(server: &MariaDb, role: &str) -> Duration {
    let began = Instant::now();
    while server.see("mysql", &working(role)).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "it still runs");
    }
    began.elapsed()
}

async fn runs(server: &MariaDb, role: &str) {
    let running = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{role}' AND command = 'Execute'"
    );
    let began = Instant::now();
    while server.see("mysql", &running).await == "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "it never ran");
    }
}

fn minute() -> Budget {
    Budget::new(1 << 20, 10, Duration::from_mins(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_a_cancelled_and_an_overdue_call_stop() {
    let server = MariaDb::shared();
    server.database("cancel", "").await;
    let source = Arc::new(Source::new(spec(server, "cancel")).unwrap());
    let mut times = Vec::new();
    for sql in [LONG, BUSY, LONG, BUSY] {
        let own = Arc::clone(&source);
        let dropped = tokio::spawn(async move {
            own.query(&Statement::new(sql), Window::default(), &minute()).await
        });
        runs(server, "cancel").await;
        dropped.abort();
        times.push(gone(server, "cancel").await);
    }
    let budget = minute();
    let own = (Arc::clone(&source), budget.clone());
    let cancelled =
        tokio::spawn(
            async move { own.0.query(&Statement::new(BUSY), Window::default(), &own.1).await },
        );
    runs(server, "cancel").await;
    budget.cancel();
    assert_eq!(cancelled.await.unwrap().unwrap_err().kind(), FaultKind::Cancelled);
    gone(server, "cancel").await;

    let budget = Budget::new(1 << 20, 10, Duration::from_millis(300));
    let overdue = source.query(&Statement::new(LONG), Window::default(), &budget).await;
    assert_eq!(overdue.unwrap_err().kind(), FaultKind::Timeout);
    gone(server, "cancel").await;
    assert_eq!(rows(&source, "SELECT 1").await, json!([[1]]), "{times:?}");
}

#[tokio::test]
async fn the_time_of_a_source_and_of_its_role_both_stand() {
    let server = MariaDb::shared();
    server.database("times", "").await;
    let mut spec_own = spec(server, "times");
    spec_own.limits.time = Duration::from_millis(200);
    let own = Source::new(spec_own).unwrap();
    for sql in [LONG, BUSY] {
        let fault = refused(&own, sql).await;
        assert_eq!(fault.kind(), FaultKind::Timeout);
        assert!(fault.public().contains("200 ms"), "{fault}");
    }
    server.say("mysql", "ALTER USER times@'%' WITH MAX_STATEMENT_TIME 0.15").await;
    let role = Source::new(spec(server, "times")).unwrap();
    let fault = refused(&role, BUSY).await;
    assert_eq!(fault.kind(), FaultKind::Timeout, "{fault}");
    assert!(fault.public().contains("1969"), "the role's limit is not loosened: {fault}");
    let limit = "SELECT @@max_statement_time";
    assert_eq!(rows(&role, limit).await, json!([[0.15]]));
}

/// Between two messages of a call there is no statement that could be killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_stops_at_whatever_moment_it_is_dropped() {
    let server = MariaDb::shared();
    server.database("moments", "").await;
    let source = Arc::new(Source::new(spec(server, "moments")).unwrap());
    rows(&source, "SELECT 1").await;
    for micros in (0..6_000).step_by(100) {
        let own = Arc::clone(&source);
        let dropped = tokio::spawn(async move {
            own.query(&Statement::new(BUSY), Window::default(), &minute()).await
        });
        tokio::time::sleep(Duration::from_micros(micros)).await;
        dropped.abort();
    }
    gone(server, "moments").await;
    assert_eq!(rows(&source, "SELECT 1").await, json!([[1]]));
    let open = "SELECT COUNT(*) <= 4 FROM information_schema.processlist WHERE user = 'moments'";
    let began = Instant::now();
    while server.see("mysql", open).await != "1" {
        assert!(began.elapsed() < Duration::from_secs(20), "connections were left behind");
    }
}

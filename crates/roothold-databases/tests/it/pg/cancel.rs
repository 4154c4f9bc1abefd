//! What nobody waits for any more stops in the database.

use std::time::{Duration, Instant};

use roothold_core::{Budget, FaultKind};
use roothold_databases::{Source, Statement, Window};
use roothold_testing::Postgres;

use super::spec;
use crate::rows;

const LONG: &str = "SELECT count(*) FROM generate_series(1, 5000000000)";

/// How long it takes until no statement of the role runs. Generous: the machine may be busy.
async fn gone(server: &Postgres, role: &str) -> Duration {
    let began = Instant::now();
    let active = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'active'"
    );
    while server.see("postgres", &active).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "it still runs");
    }
    began.elapsed()
}

async fn runs(server: &Postgres, role: &str) {
    let active = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND query LIKE '%roothold%' AND state = 'active'"
    );
    let began = Instant::now();
    while server.see("postgres", &active).await == "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "it never ran");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_a_cancelled_and_an_overdue_call_stop() {
    let server = Postgres::shared();
    server.database("cancel", "").await;
    let source = std::sync::Arc::new(Source::new(spec(server, "cancel")).unwrap());
    let mut times = Vec::new();
    for _ in 0..5 {
        let own = std::sync::Arc::clone(&source);
        let dropped = tokio::spawn(async move {
            let budget = Budget::new(1 << 20, 10, Duration::from_mins(1));
            own.query(&Statement::new(LONG), Window::default(), &budget).await
        });
        runs(server, "cancel").await;
        dropped.abort();
        times.push(gone(server, "cancel").await);
    }
    let budget = Budget::new(1 << 20, 10, Duration::from_mins(1));
    let own = (std::sync::Arc::clone(&source), budget.clone());
    let cancelled =
        tokio::spawn(
            async move { own.0.query(&Statement::new(LONG), Window::default(), &own.1).await },
        );
    runs(server, "cancel").await;
    budget.cancel();
    assert_eq!(cancelled.await.unwrap().unwrap_err().kind(), FaultKind::Cancelled);
    gone(server, "cancel").await;

    let budget = Budget::new(1 << 20, 10, Duration::from_millis(300));
    let overdue = source.query(&Statement::new(LONG), Window::default(), &budget).await;
    assert_eq!(overdue.unwrap_err().kind(), FaultKind::Timeout);
    gone(server, "cancel").await;
    assert_eq!(rows(&source, "SELECT 1").await, serde_json::json!([[1]]), "{times:?}");
}

#[tokio::test]
async fn the_time_of_a_source_and_of_its_role_both_stand() {
    let server = Postgres::shared();
    server.database("times", "").await;
    let mut spec_own = spec(server, "times");
    spec_own.limits.time = Duration::from_millis(200);
    let own = Source::new(spec_own).unwrap();
    let fault = crate::refused(&own, LONG).await;
    assert_eq!(fault.kind(), FaultKind::Timeout);
    assert!(fault.public().contains("200 ms"), "{fault}");
    server.say("postgres", "ALTER ROLE times SET statement_timeout = '150ms'").await;
    let role = Source::new(spec(server, "times")).unwrap();
    let fault = crate::refused(&role, LONG).await;
    assert_eq!(fault.kind(), FaultKind::Timeout, "{fault}");
    assert!(fault.public().contains("57014"), "the role's limit is not loosened: {fault}");
}

/// Between two messages of a call a request to cancel finds nothing to cancel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_stops_at_whatever_moment_it_is_dropped() {
    let server = Postgres::shared();
    server.database("moments", "").await;
    let source = std::sync::Arc::new(Source::new(spec(server, "moments")).unwrap());
    rows(&source, "SELECT 1").await;
    for micros in (0..6_000).step_by(100) {
        let own = std::sync::Arc::clone(&source);
        let dropped = tokio::spawn(async move {
            let budget = Budget::new(1 << 20, 10, Duration::from_mins(1));
            own.query(&Statement::new(LONG), Window::default(), &budget).await
        });
        tokio::time::sleep(Duration::from_micros(micros)).await;
        dropped.abort();
    }
    gone(server, "moments").await;
    assert_eq!(rows(&source, "SELECT 1").await, serde_json::json!([[1]]));
}

//! Servers that go away and come back; other machines are talked to over verified TLS.

use roothold_core::FaultKind;
use roothold_databases::{Secret, Source, SourceKind, SourceSpec};
use roothold_testing::Postgres;

use super::source;
use crate::{refused, rows};

#[tokio::test]
async fn a_lost_connection_is_replaced_and_a_lost_server_is_named() {
    let server = Postgres::start();
    server.database("outage", "CREATE TABLE t AS SELECT 1 AS x").await;
    let source = source(&server, "outage");
    let one = serde_json::json!([[1]]);
    assert_eq!(rows(&source, "SELECT x FROM t").await, one);
    let kill =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'outage'";
    server.say("postgres", kill).await;
    assert_eq!(rows(&source, "SELECT x FROM t").await, one, "idle connections were lost");
    server.crash();
    let fault = refused(&source, "SELECT x FROM t").await;
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(fault.public().contains("cannot be reached"), "{fault}");
    server.restart();
    assert_eq!(rows(&source, "SELECT x FROM t").await, one);
}

#[tokio::test]
async fn certificate_and_name_are_verified_and_no_secret_is_told() {
    let server = Postgres::start();
    let make =
        "CREATE ROLE guarded LOGIN PASSWORD 's3cr3t'; REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    server.say("postgres", make).await;
    let spec = |host: &str, password: &str, ca: bool| {
        let url = format!(
            "postgresql://guarded:{password}@{host}:{}/postgres?sslmode=verify-full",
            server.port()
        );
        let mut spec = SourceSpec::new("tls", SourceKind::Postgres, Secret::new(url));
        spec.ca_pem = ca.then(|| server.ca_pem());
        Source::new(spec).unwrap()
    };
    let source = spec("localhost", "s3cr3t", true);
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(rows(&source, encrypted).await, serde_json::json!([[true]]));
    assert_eq!(refused(&source, "SELECT repeat('x', 5000000)").await.kind(), FaultKind::Limit);
    let long = "SELECT count(*) FROM generate_series(1, 5000000000)";
    let budget = roothold_core::Budget::new(1 << 20, 10, std::time::Duration::from_millis(300));
    let asked = roothold_databases::Statement::new(long);
    let overdue = source.query(&asked, roothold_databases::Window::default(), &budget).await;
    assert_eq!(overdue.unwrap_err().kind(), FaultKind::Timeout);
    let began = std::time::Instant::now();
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'guarded' AND state = 'active'";
    while server.see("postgres", active).await != "0" {
        assert!(began.elapsed().as_secs() < 20, "a cancel over TLS did not come through");
    }
    for (host, password, ca) in [
        ("127.0.0.1", "s3cr3t", true),
        ("localhost", "s3cr3t", false),
        ("localhost", "wr0ng-s3cr3t", true),
    ] {
        let fault = refused(&spec(host, password, ca), "SELECT 1").await;
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{host}");
        let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
        assert!(!format!("{fault} {fault:?} {cause}").contains("s3cr3t"), "{fault:?}");
    }
}

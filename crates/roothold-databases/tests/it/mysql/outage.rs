//! Servers that go away and come back; other machines are talked to over verified TLS.

use std::time::{Duration, Instant};

use roothold_core::{Budget, FaultKind};
use roothold_databases::{Secret, Source, SourceKind, SourceSpec, Statement, Window};
use roothold_testing::MariaDb;
use serde_json::json;

use super::source;
use crate::{refused, rows};

#[tokio::test]
async fn a_lost_connection_is_replaced_and_a_lost_server_is_named() {
    let server = MariaDb::start();
    server.database("outage", "CREATE TABLE t AS SELECT 1 AS x").await;
    let source = source(&server, "outage");
    let one = json!([[1]]);
    assert_eq!(rows(&source, "SELECT x FROM t").await, one);
    server.say("mysql", "KILL USER outage").await;
    assert_eq!(rows(&source, "SELECT x FROM t").await, one, "idle connections were lost");
    server.crash();
    let fault = refused(&source, "SELECT x FROM t").await;
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(fault.public().contains("cannot be reached"), "{fault}");
    server.restart();
    assert_eq!(rows(&source, "SELECT x FROM t").await, one);
}

#[tokio::test]
async fn a_connection_that_is_lost_under_a_statement_is_not_tried_again() {
    let server = MariaDb::shared();
    server.database("lost", "").await;
    let source = std::sync::Arc::new(source(server, "lost"));
    source.ready(&crate::budget()).await.unwrap();
    let own = std::sync::Arc::clone(&source);
    let asked = tokio::spawn(async move { refused(&own, "SELECT SLEEP(60)").await });
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'lost' AND command = 'Execute'";
    let began = Instant::now();
    while server.see("mysql", running).await == "0" {
        assert!(began.elapsed().as_secs() < 20, "it never ran");
    }
    server.say("mysql", "KILL USER lost").await;
    let fault = asked.await.unwrap();
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    assert_eq!(rows(&source, "SELECT 1").await, json!([[1]]));
}

#[tokio::test]
async fn certificate_and_name_are_verified_and_no_secret_is_told() {
    let server = MariaDb::shared();
    server.say("mysql", "CREATE USER guarded@'%' IDENTIFIED BY 's3cr3t' REQUIRE SSL").await;
    let spec = |host: &str, password: &str, ca: bool| {
        let url = format!(
            "mysql://guarded:{password}@{host}:{}/?ssl-mode=verify_identity",
            server.port()
        );
        let mut spec = SourceSpec::new("tls", SourceKind::MySql, Secret::new(url));
        spec.ca_pem = ca.then(|| server.ca_pem());
        Source::new(spec)
    };
    let source = spec("localhost", "s3cr3t", true).unwrap();
    let cipher = "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'SSL_CIPHER'";
    assert_eq!(rows(&source, cipher).await, json!([[1]]));
    let budget = Budget::new(1 << 20, 10, Duration::from_millis(300));
    let asked = Statement::new("SELECT SLEEP(60)");
    let overdue = source.query(&asked, Window::default(), &budget).await;
    assert_eq!(overdue.unwrap_err().kind(), FaultKind::Timeout);
    super::cancel::gone(server, "guarded").await;
    for (host, password, ca) in [
        ("127.0.0.1", "s3cr3t", true),
        ("localhost", "s3cr3t", false),
        ("localhost", "wr0ng-s3cr3t", true),
    ] {
        let source = match spec(host, password, ca) {
            Ok(source) => source,
            // Without authorities of the system there is nothing to verify with.
            Err(error) => {
                assert!(!ca && error.to_string().contains("tls_ca_file"), "{error}");
                continue;
            }
        };
        let fault = refused(&source, "SELECT 1").await;
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{host}");
        let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
        assert!(!format!("{fault} {fault:?} {cause}").contains("s3cr3t"), "{fault:?}");
    }
}

#[tokio::test]
async fn the_socket_of_this_machine_is_used_where_it_is_named() {
    let server = MariaDb::shared();
    server.database("local", "CREATE TABLE t AS SELECT 7 AS x").await;
    let dsn = Secret::new(server.socket("local", "local"));
    let source = Source::new(SourceSpec::new("local", SourceKind::MySql, dsn)).unwrap();
    assert_eq!(rows(&source, "SELECT x FROM t").await, json!([[7]]));
    assert_eq!(source.reach(), roothold_databases::SourceReach::default());
}

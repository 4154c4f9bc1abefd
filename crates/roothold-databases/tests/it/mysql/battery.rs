//! Hostile statements, recorded as data, against a role as it should be.

use std::time::{Duration, Instant};

use roothold_databases::{Secret, Source, SourceKind, SourceSpec, Statement, Window};
use roothold_testing::MariaDb;
use roothold_testing::battery::{Battery, Sent, Variables};

use crate::battery::{limits, run};
use crate::budget;

#[tokio::test]
async fn no_case_harms_or_leaks_in_mariadb() {
    let server = MariaDb::start();
    let battery = Battery::of_mariadb();
    server.say("mysql", "CREATE DATABASE appdb").await;
    server.say("appdb", &battery.setup_sql).await;
    server.say("appdb", &battery.least_privilege_sql).await;
    let dsn = Secret::new(server.url("mcp_ro", "appdb"));
    let mut spec = SourceSpec::new("app", SourceKind::MySql, dsn);
    spec.limits = limits();
    // One connection: what a case leaves on its session the next one would see.
    spec.connections_max = 1;
    let source = Source::new(spec).unwrap();
    let report = source.probe(&budget()).await.unwrap();
    assert_eq!(report.disabled_by(), None, "{report:?}");
    let dir = server.dir().display().to_string();
    let variables = Variables { tmp: &dir, port: server.port() };
    for case in battery.of("mariadb") {
        match case.sent(variables) {
            Sent::Whole(sql) => drop(run(case, &source, &sql).await),
            Sent::HungUp(after, sql) => hung_up(&server, &source, after, &sql).await,
        }
        if let Some(second) = &case.second_query_same_pool {
            run(case, &source, second).await;
        }
        if let Some(probe) = case.probe(variables) {
            assert_ne!(server.see("appdb", &probe).await, "1", "{}: it had an effect", case.id);
        }
        let (usable, said) = run(case, &source, "select 1").await;
        assert!(usable, "after {}: {said}", case.id);
    }
    let orders = "select concat(count(*), ' ', sum(amount)) from orders";
    assert_eq!(server.see("appdb", orders).await, "50 12750");
    let tables = "select count(*) from information_schema.tables where table_schema = 'appdb'";
    assert_eq!(server.see("appdb", tables).await, "6");
}

/// A caller that hangs up ends its statement in the database.
async fn hung_up(server: &MariaDb, source: &Source, after: Duration, sql: &str) {
    let statement = Statement::new(sql);
    let whole = budget();
    let asked = source.query(&statement, Window::default(), &whole);
    assert!(tokio::time::timeout(after, asked).await.is_err(), "{sql} answered");
    let active = "select count(*) from information_schema.processlist where user = 'mcp_ro' and command <> 'Sleep'";
    let began = Instant::now();
    while server.see("appdb", active).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "{sql} still runs");
    }
}

//! Hostile statements, recorded as data: each is refused or harmless, and none hangs.

use std::path::Path;
use std::time::{Duration, Instant};

use roothold_core::FaultKind;
use roothold_databases::{
    Secret, Source, SourceKind, SourceLimits, SourceSpec, Statement, Tables, Window,
};
use roothold_testing::Postgres;
use roothold_testing::battery::{Battery, Case, SQLITE_SETUP, Sent, Variables};

use crate::{ask, budget};

/// Asks, checks what came of it, and tells it.
pub(crate) async fn run(case: &Case, source: &Source, sql: &str) -> (bool, String) {
    let began = Instant::now();
    let (answered, said) = match ask(source, sql).await {
        Ok(answer) => (true, serde_json::to_string(&answer.rows).unwrap()),
        Err(fault) => (false, fault.public().to_owned()),
    };
    case.check(answered, &said, began.elapsed());
    (answered, said)
}

pub(crate) fn limits() -> SourceLimits {
    SourceLimits { time: Duration::from_secs(3), ..SourceLimits::default() }
}

#[tokio::test]
async fn no_case_harms_or_leaks_in_postgres() {
    let server = Postgres::start();
    let battery = Battery::load();
    server.say("postgres", "CREATE DATABASE appdb").await;
    server.say("appdb", &battery.setup_sql).await;
    server.say("appdb", &battery.least_privilege_sql).await;
    let dsn = Secret::new(server.url("mcp_ro", "appdb"));
    let mut spec = SourceSpec::new("app", SourceKind::Postgres, dsn);
    spec.limits = limits();
    // One connection: what a case leaves on its session the next one would see.
    spec.connections_max = 1;
    let source = Source::new(spec).unwrap();
    let report = source.probe(&budget()).await.unwrap();
    assert_eq!(report.disabled_by(), None, "{report:?}");
    let dir = server.dir().display().to_string();
    let variables = Variables { tmp: &dir, port: server.port() };
    for case in battery.of("postgres") {
        match case.sent(variables) {
            Sent::Whole(sql) => drop(run(case, &source, &sql).await),
            Sent::HungUp(after, sql) => hung_up(&server, &source, after, &sql).await,
        }
        if let Some(second) = &case.second_query_same_pool {
            run(case, &source, second).await;
        }
        if let Some(probe) = case.probe(variables) {
            assert_eq!(server.see("appdb", &probe).await, "f", "{}: it had an effect", case.id);
        }
        let (usable, said) = run(case, &source, "select 1").await;
        assert!(usable, "after {}: {said}", case.id);
    }
}

/// A caller that hangs up ends its statement in the database.
async fn hung_up(server: &Postgres, source: &Source, after: Duration, sql: &str) {
    let statement = Statement::new(sql);
    let whole = budget();
    // On a fast machine the role's own limit of temporary files may end it before: then it is hung up on earlier.
    let mut wait = after;
    while let Ok(answered) =
        tokio::time::timeout(wait, source.query(&statement, Window::default(), &whole)).await
    {
        assert_eq!(answered.unwrap_err().kind(), FaultKind::Limit, "{sql}");
        wait /= 2;
    }
    assert!(wait > after / 16, "{sql} is over at once");
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mcp_ro' AND state = 'active'";
    let began = Instant::now();
    while server.see("appdb", active).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "{sql} still runs");
    }
}

#[tokio::test]
async fn no_case_harms_or_leaks_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sq");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SQLITE_SETUP).unwrap();
    let before = std::fs::read(&path).unwrap();
    let mut spec =
        SourceSpec::new("app", SourceKind::Sqlite, Secret::new(path.display().to_string()));
    spec.limits = limits();
    spec.tables = Tables::new(None, &["vault".to_owned()], &[]).unwrap();
    let source = Source::new(spec).unwrap();
    let tmp = dir.path().display().to_string();
    for case in Battery::load().of("sqlite") {
        let Sent::Whole(sql) = case.sent(Variables { tmp: &tmp, port: 0 }) else {
            panic!("{}: nobody hangs up on a file", case.id);
        };
        let (answered, said) = run(case, &source, &sql).await;
        assert!(case.must_answer() || !answered, "{}: it answered {said}", case.id);
        assert!(!said.contains("CANARY"), "{}: {said}", case.id);
        assert_eq!(names(&folder), ["app.db"], "{}: it made files", case.id);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{}: it changed the file", case.id);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

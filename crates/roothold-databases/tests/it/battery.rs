//! Hostile statements, recorded as data: each is refused or harmless, and none hangs.

use std::path::Path;
use std::time::{Duration, Instant};

use roothold_databases::{
    Secret, Source, SourceKind, SourceLimits, SourceSpec, Statement, Tables, Window,
};
use serde::Deserialize;

use crate::server::Server;
use crate::{ask, budget};

#[derive(Deserialize)]
struct Battery {
    setup_sql: String,
    least_privilege_sql: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    engine: String,
    sql: String,
    bad_effect_probe: Option<String>,
    leak_regex: Option<String>,
    second_query_same_pool: Option<String>,
    max_ms: Option<u64>,
    expect: String,
}

fn battery() -> Battery {
    serde_json::from_str(include_str!("../batteries/sql.json")).unwrap()
}

/// A hung case is one that takes many times its time: the machine may be busy.
const PATIENCE: u32 = 8;

impl Case {
    fn leaks(&self, text: &str) -> bool {
        let Some(pattern) = &self.leak_regex else { return false };
        let text = text.to_lowercase();
        pattern
            .trim_start_matches("(?i)")
            .split('|')
            .any(|word| text.contains(&word.to_lowercase()))
    }

    /// What came of a statement, as text, and whether it answered.
    async fn run(&self, source: &Source, sql: &str) -> (bool, String) {
        let began = Instant::now();
        let said = match ask(source, sql).await {
            Ok(answer) => (true, serde_json::to_string(&answer.rows).unwrap()),
            Err(fault) => (false, fault.public().to_owned()),
        };
        let most = Duration::from_millis(self.max_ms.unwrap_or(4_000)) * PATIENCE;
        assert!(began.elapsed() < most, "{} took {:?}", self.id, began.elapsed());
        said
    }

    fn check(&self, (answered, said): &(bool, String)) {
        match self.expect.as_str() {
            "ok" => assert!(answered, "{}: {said}", self.id),
            "blocked_or_harmless" => assert!(!self.leaks(said), "{}: {said}", self.id),
            other => panic!("{}: an expectation that is not known: {other}", self.id),
        }
        for inner in ["/tmp/", "postgresql", ".c:", "rusqlite", "tokio"] {
            assert!(*answered || !said.contains(inner), "{}: {said}", self.id);
        }
    }
}

fn limits() -> SourceLimits {
    SourceLimits { time: Duration::from_secs(3), ..SourceLimits::default() }
}

#[tokio::test]
async fn no_case_harms_or_leaks_in_postgres() {
    let server = Server::start();
    let battery = battery();
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
    let cases: Vec<Case> =
        battery.cases.into_iter().filter(|case| case.engine == "postgres").collect();
    assert!(cases.len() >= 40, "{}", cases.len());
    for case in &cases {
        let sql = case.sql.replace("$PGPORT", &server.port.to_string());
        let sql = sql.replace("$TMP", &server.dir.display().to_string());
        if let Some((wait, sql)) =
            sql.strip_prefix("@disconnect_after_ms=").and_then(|s| s.split_once(": "))
        {
            hung_up(&server, &source, Duration::from_millis(wait.parse().unwrap()), sql).await;
            continue;
        }
        case.check(&case.run(&source, &sql).await);
        if let Some(second) = &case.second_query_same_pool {
            case.check(&case.run(&source, second).await);
        }
        if let Some(probe) = &case.bad_effect_probe {
            let probe = probe.replace("$TMP", &server.dir.display().to_string());
            assert_eq!(server.see("appdb", &probe).await, "f", "{}: it had an effect", case.id);
        }
        let (usable, said) = case.run(&source, "select 1").await;
        assert!(usable, "after {}: {said}", case.id);
    }
}

/// A caller that hangs up ends its statement in the database.
async fn hung_up(server: &Server, source: &Source, after: Duration, sql: &str) {
    let statement = Statement::new(sql);
    let whole = budget();
    let asked = source.query(&statement, Window::default(), &whole);
    assert!(tokio::time::timeout(after, asked).await.is_err(), "{sql} answered");
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
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'); \
             CREATE TABLE vault (secret TEXT); INSERT INTO vault VALUES ('CANARY-VAULT');",
        )
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    let mut spec =
        SourceSpec::new("app", SourceKind::Sqlite, Secret::new(path.display().to_string()));
    spec.limits = limits();
    spec.tables = Tables::new(None, &["vault".to_owned()], &[]).unwrap();
    let source = Source::new(spec).unwrap();
    let cases: Vec<Case> =
        battery().cases.into_iter().filter(|case| case.engine == "sqlite").collect();
    assert!(cases.len() >= 10, "{}", cases.len());
    for case in &cases {
        let sql = case.sql.replace("$TMP", &dir.path().display().to_string());
        let said = case.run(&source, &sql).await;
        case.check(&said);
        assert!(case.expect == "ok" || !said.0, "{}: it answered {}", case.id, said.1);
        assert!(!said.1.contains("CANARY"), "{}: {}", case.id, said.1);
        assert_eq!(names(&folder), ["app.db"], "{}: it made files", case.id);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{}: it changed the file", case.id);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

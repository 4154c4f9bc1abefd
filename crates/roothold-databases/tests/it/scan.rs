//! Tables of every kind of source as whoever joins them would read them: typed, bounded, cancelled.

use std::time::{Duration, Instant};

use roothold_core::{Budget, Fault, FaultKind};
use roothold_databases::{
    Batch, Cell, FieldType, ScanRequest, Secret, Source, SourceKind, SourceSpec, Tables,
};
use roothold_testing::{MariaDb, Postgres};
use serde_json::json;

use crate::{budget, rows};

fn request(schema: &str, table: &str, columns: &[&str]) -> ScanRequest {
    ScanRequest {
        schema: schema.to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        limit: None,
    }
}

async fn all(source: &Source, request: &ScanRequest) -> Result<Vec<Batch>, Fault> {
    let budget = budget();
    let mut scan = source.scan(request, &budget).await?;
    let mut batches = Vec::new();
    while let Some(batch) = scan.next().await? {
        assert!(!batch.is_empty());
        batches.push(batch);
    }
    assert_eq!(scan.next().await.unwrap(), None);
    Ok(batches)
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// Every cell is one that its field says.
fn check(kind: FieldType, cell: &Cell) {
    let fits = match (kind, cell) {
        (FieldType::Any, _)
        | (_, Cell::Null)
        | (FieldType::Boolean, Cell::Boolean(_))
        | (FieldType::Float { .. }, Cell::Float(_))
        | (FieldType::Integer { .. }, Cell::Integer(_))
        | (FieldType::Unsigned { .. }, Cell::Unsigned(_))
        | (FieldType::Bytes, Cell::Bytes(_)) => true,
        (other, Cell::Text(_)) => matches!(
            other,
            FieldType::Decimal { .. }
                | FieldType::Date
                | FieldType::Time
                | FieldType::Timestamp { .. }
                | FieldType::Json
                | FieldType::Text
        ),
        _ => false,
    };
    assert!(fits, "{kind:?}: {cell:?}");
}

/// All columns of a table and its only row.
async fn one(source: &Source, schema: &str, table: &str) -> Vec<(String, FieldType, Cell)> {
    let fields = source.fields(schema, table, &budget()).await.unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let batches = all(source, &request(schema, table, &names)).await.unwrap();
    let row = batches.into_iter().flatten().next().unwrap();
    fields.iter().zip(&row).for_each(|(field, cell)| check(field.kind, cell));
    fields.into_iter().zip(row).map(|(field, cell)| (field.name, field.kind, cell)).collect()
}

fn cell<'a>(row: &'a [(String, FieldType, Cell)], name: &str) -> (FieldType, &'a Cell) {
    let (_, kind, cell) = row.iter().find(|(column, ..)| column == name).unwrap();
    (*kind, cell)
}

#[tokio::test]
async fn postgres_loses_nothing() {
    let server = Postgres::shared();
    let setup = "CREATE DOMAIN small AS int; CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (\
        b boolean, i2 smallint, i8 bigint NOT NULL, o oid, f4 real, f8 double precision, n numeric(30, 10), d date, \
        tm time, ts timestamp(3), tz timestamptz, j json, a text[], raw bytea, m mood, dom small, gone text); \
        INSERT INTO t VALUES (true, -7, 9223372036854775807, 4294967295, 0.1, 'NaN', 12345678901234567890.0123456789, \
          '2026-01-02', '03:04:05.6', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05+00', '{\"a\":  1, \"a\": 2}', \
          '{x,NULL}', '\\x00ff', 'sad', 5, NULL)";
    server.database("scan_types", setup).await;
    let spec = SourceSpec::new(
        "s",
        SourceKind::Postgres,
        Secret::new(server.url("scan_types", "scan_types")),
    );
    let source = Source::new(spec).unwrap();
    let row = one(&source, "app", "t").await;
    let fields = source.fields("app", "t", &budget()).await.unwrap();
    assert!(fields[0].nullable && !fields[2].nullable);
    for (name, kind, value) in [
        ("b", FieldType::Boolean, Cell::Boolean(true)),
        ("i2", FieldType::Integer { bits: 16 }, Cell::Integer(-7)),
        ("i8", FieldType::Integer { bits: 64 }, Cell::Integer(i64::MAX)),
        ("o", FieldType::Unsigned { bits: 32 }, Cell::Unsigned(u64::from(u32::MAX))),
        (
            "n",
            FieldType::Decimal { digits: Some((30, 10)) },
            text("12345678901234567890.0123456789"),
        ),
        ("d", FieldType::Date, text("2026-01-02")),
        ("tm", FieldType::Time, text("03:04:05.6")),
        ("ts", FieldType::Timestamp { zoned: false }, text("2026-01-02T03:04:05.678")),
        ("j", FieldType::Json, text("{\"a\":  1, \"a\": 2}")),
        ("raw", FieldType::Bytes, Cell::Bytes(vec![0, 255])),
        ("m", FieldType::Text, text("sad")),
        ("dom", FieldType::Text, text("5")),
        ("gone", FieldType::Text, Cell::Null),
    ] {
        assert_eq!(cell(&row, name), (kind, &value), "{name}");
    }
    let (_, zoned) = cell(&row, "tz");
    assert!(
        matches!(zoned, Cell::Text(moment) if moment.contains("2026-01-02T") && moment.contains(['+', '-']))
    );
    assert!(matches!(cell(&row, "f8").1, Cell::Float(nan) if nan.is_nan()));
    assert_eq!(cell(&row, "f4").1, &Cell::Float(0.1));
}

#[tokio::test]
async fn mariadb_loses_nothing() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE t (i BIGINT UNSIGNED, s TINYINT, b BIT(64), f FLOAT, n DECIMAL(30,10), d DATE, \
        ts TIMESTAMP(3) NULL, dt DATETIME(6), tm TIME, raw VARBINARY(3), e ENUM('a','b'), y YEAR, gone TEXT); \
        INSERT INTO t VALUES (18446744073709551615, -7, b'1', 0.5, '12345678901234567890.0123456789', '2026-01-02', \
          '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.000001', '-838:59:59', X'00FF', 'b', 2026, NULL)";
    server.database("scan_types", setup).await;
    let url = server.url("scan_types", "scan_types");
    let source = Source::new(SourceSpec::new("s", SourceKind::MySql, Secret::new(url))).unwrap();
    let row = one(&source, "scan_types", "t").await;
    for (name, kind, value) in [
        ("i", FieldType::Unsigned { bits: 64 }, Cell::Unsigned(u64::MAX)),
        ("s", FieldType::Integer { bits: 8 }, Cell::Integer(-7)),
        ("b", FieldType::Unsigned { bits: 64 }, Cell::Unsigned(1)),
        ("f", FieldType::Float { bits: 32 }, Cell::Float(0.5)),
        (
            "n",
            FieldType::Decimal { digits: Some((30, 10)) },
            text("12345678901234567890.0123456789"),
        ),
        ("d", FieldType::Date, text("2026-01-02")),
        ("dt", FieldType::Timestamp { zoned: false }, text("2026-01-02T03:04:05.000001")),
        ("tm", FieldType::Time, text("-838:59:59")),
        ("raw", FieldType::Bytes, Cell::Bytes(vec![0, 255])),
        ("e", FieldType::Text, text("b")),
        ("y", FieldType::Unsigned { bits: 16 }, Cell::Unsigned(2026)),
        ("gone", FieldType::Text, Cell::Null),
    ] {
        assert_eq!(cell(&row, name), (kind, &value), "{name}");
    }
    assert!(matches!(cell(&row, "ts").1, Cell::Text(moment) if moment.ends_with("+00:00")));
}

/// A SQLite file of many rows, with a column that is hidden.
fn file(dir: &std::path::Path) -> Source {
    let path = dir.join("a.db");
    let setup = "CREATE TABLE t (n INTEGER, card TEXT, \"odd \"\"name\" BLOB); \
        WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 9999) \
        INSERT INTO t SELECT i, 'CANARY', x'0001' FROM c; UPDATE t SET n = 'text' WHERE n = 5";
    rusqlite::Connection::open(&path).unwrap().execute_batch(setup).unwrap();
    let mut spec =
        SourceSpec::new("s", SourceKind::Sqlite, Secret::new(path.display().to_string()));
    spec.tables = Tables::new(None, &[], &["t.card".to_owned()]).unwrap();
    spec.limits.rows_max = 700;
    Source::new(spec).unwrap()
}

#[tokio::test]
async fn what_is_wanted_comes_in_batches_and_what_is_hidden_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let source = file(dir.path());
    let names: Vec<String> =
        source.fields("main", "t", &budget()).await.unwrap().into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["n", "odd \"name"]);
    let batches = all(&source, &request("main", "t", &["odd \"name", "n"])).await.unwrap();
    assert!(batches.iter().all(|batch| batch.len() <= 700) && batches.len() >= 10_000 / 700);
    let rows: Batch = batches.into_iter().flatten().collect();
    assert_eq!(rows.len(), 10_000);
    assert_eq!(rows[5], [Cell::Bytes(vec![0, 1]), text("text")]);
    assert_eq!(rows[9_999][1], Cell::Integer(9_999));
    let counted = all(&source, &request("main", "t", &[])).await.unwrap();
    assert_eq!(counted.iter().map(Vec::len).sum::<usize>(), 10_000);
    let few = ScanRequest { limit: Some(3), ..request("main", "t", &["n"]) };
    assert_eq!(all(&source, &few).await.unwrap().iter().map(Vec::len).sum::<usize>(), 3);
    let mut said = Vec::new();
    for wanted in [request("main", "t", &["card"]), request("main", "t", &["nothing"])] {
        said.push(all(&source, &wanted).await.unwrap_err());
    }
    assert_eq!((said[0].kind(), said[0].public()), (FaultKind::NotFound, said[1].public()));
    let nowhere = all(&source, &request("main", "nowhere", &["n"])).await.unwrap_err();
    assert_eq!(nowhere.kind(), FaultKind::NotFound);
}

#[tokio::test]
async fn a_reader_that_stops_leaves_nothing_running_and_a_slow_one_ends_with_its_time() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE big AS SELECT i, repeat('x', 1000) AS pad FROM generate_series(1, 50000) i; \
        CREATE VIEW slow AS SELECT i, pg_sleep(0.05)::text AS s FROM generate_series(1, 1000000) i; \
        CREATE VIEW fails AS SELECT 1 / (2000 - i) AS n FROM generate_series(1, 5000) i";
    server.database("scan_ends", setup).await;
    let url = server.url("scan_ends", "scan_ends");
    let mut spec = SourceSpec::new("s", SourceKind::Postgres, Secret::new(url));
    (spec.connections_max, spec.limits.bytes_max) = (1, 100_000);
    spec.limits.time = Duration::from_secs(20);
    let source = Source::new(spec.clone()).unwrap();
    let whole = budget();
    let (big, slow) = (request("app", "big", &["i", "pad"]), request("app", "slow", &["i", "s"]));
    let mut scan = source.scan(&big, &whole).await.unwrap();
    let first = scan.next().await.unwrap().unwrap();
    assert!((50..=100).contains(&first.len()), "{}", first.len());
    drop(scan);
    // The only connection is there again, as new: the cursor is that of the question.
    assert_eq!(rows(&source, "SELECT count(*) FROM pg_cursors").await, json!([[1]]));
    let mut scan = source.scan(&slow, &whole).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), scan.next()).await.is_err());
    drop(scan);
    let runs =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'scan_ends' AND state = 'active'";
    let began = Instant::now();
    while server.see("postgres", runs).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "it still runs");
    }
    let read = async |source: &Source, request: &ScanRequest, budget: &Budget| {
        let mut scan = source.scan(request, budget).await?;
        while scan.next().await?.is_some() {}
        Ok::<_, Fault>(())
    };
    let cancelled = budget();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancelled.cancel();
    };
    let (ended, ()) = tokio::join!(read(&source, &slow, &cancelled), cancel);
    assert_eq!(ended.unwrap_err().kind(), FaultKind::Cancelled);
    spec.limits.time = Duration::from_millis(300);
    let short = Source::new(spec).unwrap();
    short.ready(&whole).await.unwrap();
    assert_eq!(read(&short, &slow, &whole).await.unwrap_err().kind(), FaultKind::Timeout);
    let fault = read(&source, &request("app", "fails", &["n"]), &whole).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
    let all = all(&source, &big).await.unwrap();
    assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 50_000);
}

#[tokio::test]
async fn a_thread_of_sqlite_does_not_wait_for_a_reader_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let source = file(dir.path());
    let short = Budget::new(1 << 20, 10, Duration::from_millis(500));
    let mut scan = source.scan(&request("main", "t", &["n"]), &short).await.unwrap();
    scan.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let ended = loop {
        match scan.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err().kind(), FaultKind::Timeout);
    drop(scan);
    assert_eq!(rows(&source, "SELECT count(*) FROM t").await, json!([[10_000]]));
}

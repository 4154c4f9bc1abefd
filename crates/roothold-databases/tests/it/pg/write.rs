//! Sources that may be written.

use std::time::Duration;

use roothold_core::{Budget, Fault, FaultKind};
use roothold_databases::{Executed, Source, SourceAccess, Statement, Window};
use roothold_testing::Postgres;
use serde_json::json;

use super::{source, spec};
use crate::{budget, rows};

async fn execute(
    source: &Source,
    sql: &str,
    dry_run: bool,
    budget: &Budget,
) -> Result<Executed, Fault> {
    source.execute(&Statement::new(sql), Window::default(), dry_run, budget).await
}

#[tokio::test]
async fn a_change_is_committed_and_a_dry_run_undone() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamptz, d date, doc jsonb); GRANT ALL ON t TO writing";
    server.database("writing", setup).await;
    let mut spec = spec(server, "writing");
    spec.access = SourceAccess::Write;
    let source = Source::new(spec).unwrap();
    let insert = "INSERT INTO t VALUES (1, 1.10, '2026-01-02 03:04:05.5+00', '2024-02-29', '{\"a\": 1}') RETURNING *, id::text";
    let whole = budget();
    let dry = execute(&source, insert, true, &whole).await.unwrap();
    assert!(dry.dry_run && dry.rows_affected == 1 && !whole.had_effect());
    assert_eq!(rows(&source, "SELECT count(*) FROM t").await, json!([[0]]));
    let whole = budget();
    let done = execute(&source, insert, false, &whole).await.unwrap();
    assert!(whole.had_effect());
    assert_eq!(
        done.answer.rows,
        [[
            json!(1),
            json!("1.10"),
            json!("2026-01-02T03:04:05.5+00:00"),
            json!("2024-02-29"),
            json!({"a": 1}),
            json!("1")
        ]]
    );
    assert_eq!(rows(&source, "SELECT id, n FROM t").await, json!([[1, "1.10"]]));
    let fault = execute(&source, insert, false, &budget()).await.unwrap_err();
    assert!(fault.kind() == FaultKind::Invalid && fault.public().contains("constraint"), "{fault}");
    assert!(!fault.public().contains("(1)"), "{fault}");
    for sql in [
        "COMMIT",
        "ROLLBACK AND CHAIN",
        "SET ROLE postgres",
        "COPY t FROM STDIN",
        "DO $$ BEGIN END $$",
        "VACUUM",
        "PREPARE x AS SELECT 1",
        "LISTEN x",
        "--\rDO $$BEGIN DELETE FROM t; END$$/*\ninsert*/",
        "--\rCOMMIT/*\nupdate*/",
        "--\rSET ROLE postgres/*\ninsert*/",
        "/**/ --\rCOPY t FROM PROGRAM 'id'/*\ninsert into*/",
        "(INSERT INTO t VALUES (2))",
        "DELETE FROM t; DELETE FROM t",
        "BEGIN",
        "DISCARD ALL",
        "SELECT 1",
        "",
        "--\rDO $$BEGIN DELETE FROM t; END$$/*\ninsert*/",
        "--\rCOMMIT/*\ninsert*/",
    ] {
        let fault = execute(&source, sql, false, &budget()).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Invalid, "{sql}: {fault}");
    }
    let commented = "-- why\rINSERT INTO t VALUES (2, 2.5) /* and */";
    assert_eq!(execute(&source, commented, true, &budget()).await.unwrap().rows_affected, 1);
    let wrong = execute(&source, "/* é */\nINSERT INTO t VALUEZ (2)", true, &budget()).await;
    let wrong = wrong.unwrap_err();
    assert!(wrong.public().contains("line 2, column 15"), "{wrong}");
    let fault = execute(&source, "/* é */ DELETE\nFORM t", false, &budget()).await.unwrap_err();
    assert!(fault.public().contains("line 2, column 1"), "{fault}");
    for sql in [
        "ALTER ROLE writing PASSWORD 'taken'",
        "ALTER ROLE CURRENT_USER SET search_path = 'x'",
        "alter/**/user writing set role = 'x'",
    ] {
        let fault = execute(&source, sql, true, &budget()).await.expect_err(sql);
        assert!(
            fault.kind() == FaultKind::Denied && fault.public().contains("accounts"),
            "{sql}: {fault}"
        );
    }
    // Queries of such a source still only read.
    let fault = crate::refused(&source, "DELETE FROM t RETURNING *").await;
    assert_eq!(fault.kind(), FaultKind::Invalid);
    let short = Budget::new(1 << 20, 10, Duration::from_millis(300));
    let slow = "UPDATE t SET n = (SELECT count(*) FROM generate_series(1, 5000000000))";
    assert_eq!(execute(&source, slow, false, &short).await.unwrap_err().kind(), FaultKind::Timeout);
    assert!(!short.had_effect());
    assert_eq!(rows(&source, "SELECT n FROM t").await, json!([["1.10"]]));
}

#[tokio::test]
async fn a_source_that_is_read_runs_no_change() {
    let server = Postgres::shared();
    server.database("reading", "CREATE TABLE t (x int)").await;
    let fault =
        execute(&source(server, "reading"), "DELETE FROM t", true, &budget()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Denied);
}

//! Sources that may be written.

use std::time::Duration;

use roothold_core::{Budget, Fault, FaultKind};
use roothold_databases::{Executed, Source, SourceAccess, Statement, Window};
use roothold_testing::MariaDb;
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

async fn writable(server: &MariaDb, name: &str, setup: &str) -> Source {
    server.database(name, &format!("GRANT ALL ON {name}.* TO {name}@'%'; {setup}")).await;
    let mut spec = spec(server, name);
    spec.access = SourceAccess::Write;
    Source::new(spec).unwrap()
}

#[tokio::test]
async fn a_change_is_committed_and_a_dry_run_undone() {
    // Tables of others on the same server are none of its business here.
    let server = MariaDb::start();
    let setup = "CREATE TABLE t (id INT PRIMARY KEY, n DECIMAL(10, 2), at TIMESTAMP(3) NULL)";
    let source = writable(&server, "writing", setup).await;
    let insert = "INSERT INTO t VALUES (1, 1.10, '2026-01-02 03:04:05.5') RETURNING *, CONCAT(id)";
    let whole = budget();
    let dry = execute(&source, insert, true, &whole).await.unwrap();
    assert!(dry.dry_run && dry.rows_affected == 1 && !whole.had_effect(), "{dry:?}");
    assert_eq!(rows(&source, "SELECT COUNT(*) FROM t").await, json!([[0]]));
    let whole = budget();
    let done = execute(&source, insert, false, &whole).await.unwrap();
    assert!(whole.had_effect());
    assert_eq!(json!(done.answer.rows), json!([[1, "1.10", "2026-01-02T03:04:05.5+00:00", "1"]]));
    assert_eq!(rows(&source, "SELECT id, n FROM t").await, json!([[1, "1.10"]]));
    let more = "INSERT INTO t (id) SELECT seq FROM seq_2_to_11";
    assert_eq!(execute(&source, more, false, &budget()).await.unwrap().rows_affected, 10);
    let fault = execute(&source, insert, false, &budget()).await.unwrap_err();
    assert!(fault.kind() == FaultKind::Invalid && fault.public().contains("constraint"), "{fault}");
    assert!(!fault.public().contains("'1'"), "{fault}");
    for sql in [
        "COMMIT",
        "SET autocommit = 1",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
        "CALL x()",
        "DELETE FROM t; DELETE FROM t",
        "BEGIN NOT ATOMIC DELETE FROM t; END",
        "DELETE FROM t /*! WHERE id = 1 */",
        "SELECT 1",
        "",
    ] {
        let fault = execute(&source, sql, false, &budget()).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Invalid, "{sql}: {fault}");
    }
    // Queries of such a source still only read.
    let fault = crate::refused(&source, "SELECT * FROM t FOR UPDATE").await;
    assert_eq!(fault.kind(), FaultKind::Denied);
    let short = Budget::new(1 << 20, 10, Duration::from_millis(300));
    let slow = "UPDATE t SET n = (SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b)";
    assert_eq!(execute(&source, slow, false, &short).await.unwrap_err().kind(), FaultKind::Timeout);
    assert!(!short.had_effect());
    super::cancel::gone(&server, "writing").await;
    assert_eq!(rows(&source, "SELECT n FROM t WHERE id = 1").await, json!([["1.10"]]));
}

#[tokio::test]
async fn what_cannot_be_undone_is_not_tried() {
    let server = MariaDb::start();
    let source = writable(&server, "trying", "CREATE TABLE t (id INT)").await;
    for sql in [
        "CREATE TABLE u (id INT)",
        "DROP TABLE t",
        "ALTER TABLE t ADD b INT",
        "TRUNCATE t",
        "RENAME TABLE t TO u",
    ] {
        let whole = budget();
        let fault = execute(&source, sql, true, &whole).await.expect_err(sql);
        assert!(fault.kind() == FaultKind::Invalid && !whole.had_effect(), "{sql}: {fault}");
        assert!(fault.public().contains("commits a statement of this kind by itself"), "{fault}");
    }
    let tables = "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = 'trying'";
    assert_eq!(server.see("mysql", tables).await, "t");
    let whole = budget();
    execute(&source, "CREATE TABLE u (id INT)", false, &whole).await.unwrap();
    assert!(whole.had_effect() && server.see("mysql", tables).await.contains('u'));
    execute(&source, "INSERT INTO t VALUES (1)", true, &budget()).await.unwrap();
    server.say("trying", "CREATE TABLE log (x INT) ENGINE = MyISAM; CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (1)").await;
    for sql in ["INSERT INTO log VALUES (2)", "INSERT INTO t VALUES (1)"] {
        let fault = execute(&source, sql, true, &budget()).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Unsupported, "{sql}: {fault}");
    }
    assert_eq!(server.see("trying", "SELECT COUNT(*) FROM log").await, "0");
}

#[tokio::test]
async fn accounts_are_not_changed() {
    let server = MariaDb::shared();
    let source = writable(server, "accounts", "CREATE TABLE t (x INT)").await;
    for sql in [
        "ALTER USER CURRENT_USER() IDENTIFIED BY 'taken'",
        "create or replace user accounts@'%'",
        "DROP USER accounts@'%'",
        "CREATE ROLE r",
        "rename/**/user accounts to x",
    ] {
        let fault = execute(&source, sql, false, &budget()).await.expect_err(sql);
        assert!(fault.public().contains("accounts, roles and settings"), "{sql}: {fault}");
    }
}

#[tokio::test]
async fn a_source_that_is_read_runs_no_change() {
    let server = MariaDb::shared();
    server.database("reading", "CREATE TABLE t (x INT)").await;
    let fault =
        execute(&source(server, "reading"), "DELETE FROM t", true, &budget()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Denied);
}

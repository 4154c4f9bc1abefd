//! What the walls stand on: the server's grammar, and that what may not be read looks as if it were
//! not there.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts};
use roothold_core::FaultKind;
use roothold_testing::MariaDb;

use super::source;
use crate::{refused, rows};

/// None of these reads and nothing else; the server must not take them behind `EXPLAIN`.
const NO_QUERIES: &[&str] = &[
    "",
    ";",
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "START TRANSACTION READ WRITE",
    "SET autocommit = 0",
    "SET SESSION TRANSACTION READ WRITE",
    "SET STATEMENT max_statement_time = 0 FOR SELECT 1",
    "SET ROLE NONE",
    "SET PASSWORD = ''",
    "USE mysql",
    "CREATE TABLE x (a INT)",
    "CREATE TEMPORARY TABLE x AS SELECT 1",
    "DROP TABLE t",
    "ALTER TABLE t ADD b INT",
    "TRUNCATE t",
    "RENAME TABLE t TO u",
    "GRANT ALL ON *.* TO walls",
    "CALL p()",
    "DO SLEEP(1)",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "PREPARE s FROM 'SELECT 1'",
    "LOCK TABLES t WRITE",
    "UNLOCK TABLES",
    "HANDLER t OPEN",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
    "KILL 1",
    "SHUTDOWN",
    "FLUSH TABLES",
    "RESET QUERY CACHE",
    "PURGE BINARY LOGS BEFORE NOW()",
    "INSTALL SONAME 'x'",
    "OPTIMIZE TABLE t",
    "ANALYZE TABLE t",
    "ANALYZE DELETE FROM t",
    "CHECK TABLE t",
    "REPAIR TABLE t",
    "CHANGE MASTER TO MASTER_HOST = 'x'",
    "XA START 'x'",
    "SAVEPOINT a",
    "BEGIN NOT ATOMIC SELECT 1; END",
    "EXPLAIN SELECT 1",
    "--\u{a0}\nCOMMIT",
    "SELECT 1; SELECT 2",
    "SELECT 1; COMMIT",
];

#[tokio::test]
async fn the_server_takes_nothing_behind_explain_but_queries_and_changes_of_rows() {
    let server = MariaDb::shared();
    server.database("walls", "CREATE TABLE t (a INT)").await;
    let opts = Opts::from_url(&format!(
        "mysql://root@localhost/walls?socket={}/s",
        server.dir().display()
    ));
    let mut conn = Conn::new(opts.unwrap()).await.unwrap();
    for sql in NO_QUERIES {
        // Prepared as the administrator, so that no right is what refuses it.
        match conn.prep(format!("/**/EXPLAIN FORMAT=JSON {sql}")).await {
            Err(Error::Server(refused)) => assert_eq!(refused.code, 1064, "{sql}: {refused}"),
            Err(other) => panic!("{sql}: {other}"),
            Ok(_) => panic!("{sql} is taken"),
        }
    }
    for sql in [
        "SELECT 1",
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "VALUES (1)",
        "(SELECT 1) UNION (SELECT 2)",
    ] {
        assert!(conn.prep(format!("/**/EXPLAIN FORMAT=JSON {sql}")).await.is_ok(), "{sql}");
    }
    let none: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(none, Some(0), "nothing that is prepared runs");
    conn.disconnect().await.unwrap();
}

#[tokio::test]
async fn what_may_not_be_read_is_as_what_is_not_there() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE customers (id INT, name TEXT, card TEXT, nothing_else INT); CREATE TABLE vault (s TEXT); \
        CREATE SEQUENCE numbers; CREATE VIEW peek AS SELECT * FROM vault; \
        CREATE FUNCTION wipe() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM vault; RETURN 1; END; \
        REVOKE SELECT ON blank.* FROM blank@'%'; GRANT SELECT (id, name) ON blank.customers TO blank@'%'; \
        CREATE DATABASE blank_other; CREATE TABLE blank_other.things (x INT)";
    server.database("blank", setup).await;
    let source = source(server, "blank");
    let mut told = Vec::new();
    for (there, absent) in [
        ("SELECT card FROM customers", "SELECT fooo FROM customers"),
        ("SELECT c.card FROM customers c", "SELECT c.fooo FROM customers c"),
        ("SELECT id FROM customers ORDER BY card", "SELECT id FROM customers ORDER BY fooo"),
        ("SELECT 1 FROM customers WHERE card = 1", "SELECT 1 FROM customers WHERE fooo = 1"),
        ("SELECT name FROM customers GROUP BY card", "SELECT name FROM customers GROUP BY fooo"),
        (
            "SELECT id FROM customers JOIN (SELECT 'x' AS card) g USING (card)",
            "SELECT id FROM customers JOIN (SELECT 'x' AS fooo) g USING (fooo)",
        ),
        (
            "SELECT card FROM customers a JOIN customers b",
            "SELECT fooo FROM customers a JOIN customers b",
        ),
        ("SELECT * FROM vault", "SELECT * FROM fooo"),
        ("SELECT s FROM vault WHERE s = 'x'", "SELECT s FROM fooo WHERE s = 'x'"),
        ("SELECT * FROM vault FOR UPDATE", "SELECT * FROM fooo FOR UPDATE"),
        ("SELECT * FROM peek", "SELECT * FROM fooo"),
        ("SELECT NEXTVAL(numbers)", "SELECT NEXTVAL(fooo)"),
        ("SELECT NEXTVAL(vault)", "SELECT NEXTVAL(fooo)"),
        ("SELECT blank.wipe()", "SELECT blank.fooo()"),
        ("SELECT * FROM blank_other.things", "SELECT * FROM blank_other.fooo"),
        ("SELECT * FROM blank_other.things", "SELECT * FROM blank_fooo.things"),
        ("DESCRIBE vault", "DESCRIBE fooo"),
        ("EXPLAIN SELECT * FROM vault", "EXPLAIN SELECT * FROM fooo"),
        ("SELECT DEFAULT(card) FROM customers", "SELECT DEFAULT(fooo) FROM customers"),
    ] {
        let (one, other) = (refused(&source, there).await, refused(&source, absent).await);
        if (one.kind(), one.public()) != (other.kind(), other.public()) {
            told.push(format!("{there}: {one} / {absent}: {other}"));
        }
    }
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!(refused(&source, "SELECT * FROM customers").await.kind(), FaultKind::Invalid);
    let catalogue = "SELECT (SELECT COUNT(*) FROM information_schema.columns WHERE column_name = 'card'), \
        (SELECT COUNT(*) FROM information_schema.tables WHERE table_name IN ('vault', 'things', 'peek')), \
        (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'blank_other'), \
        (SELECT COUNT(*) FROM information_schema.routines WHERE routine_name = 'wipe')";
    assert_eq!(rows(&source, catalogue).await, serde_json::json!([[0, 0, 0, 0]]));
}

#[tokio::test]
async fn a_plan_is_asked_for_in_words_of_ours() {
    let server = MariaDb::shared();
    server.database("plans", "CREATE TABLE t AS SELECT 7 AS x").await;
    let source = source(server, "plans");
    assert_eq!(rows(&source, "/**/ explain # x\n SELECT x FROM t").await[0][3], "ALL");
    assert_eq!(rows(&source, "DESC (SELECT x FROM t)").await[0][3], "ALL");
    for sql in [
        "EXPLAIN FOR CONNECTION 1",
        "DESCRIBE t",
        "DESC t x",
        "EXPLAIN t",
        "EXPLAIN FORMAT=JSON SELECT 1",
        "EXPLAIN EXTENDED SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "(EXPLAIN SELECT 1)",
        "EXPLAIN",
        "--\u{a0}SELECT 1",
        "select 1 --\u{a0} from (select 5 as `\u{a0}`) x /*!50000 union select 2 */",
        "EXPLAIN --\u{a0} SELECT 1 /*! union select 2 */",
    ] {
        assert_eq!(refused(&source, sql).await.kind(), FaultKind::Invalid, "{sql}");
    }
}

#[tokio::test]
async fn a_source_that_names_no_database_reads_what_its_role_reads() {
    let server = MariaDb::shared();
    server.database("anywhere", "CREATE TABLE t AS SELECT 7 AS x").await;
    let source = source(server, "anywhere");
    let mut spec = source.spec().clone();
    spec.dsn = roothold_databases::Secret::new(server.url("anywhere", ""));
    let source = roothold_databases::Source::new(spec).unwrap();
    assert_eq!(rows(&source, "SELECT x FROM anywhere.t").await, serde_json::json!([[7]]));
    let fault = refused(&source, "SELECT x FROM t").await;
    assert!(fault.public().contains("database.table"), "{fault}");
}

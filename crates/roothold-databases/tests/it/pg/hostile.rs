//! More hostile statements of every class, against a role as it should be.

use roothold_core::FaultKind;
use roothold_testing::Postgres;
use serde_json::json;

use super::{source, spec};
use crate::{ask, refused, rows};

/// None of these is a query that reads what it may.
const HOSTILE: &[&str] = &[
    "",
    ";",
    "--",
    "/* */",
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "END",
    "ABORT",
    "SAVEPOINT a",
    "ROLLBACK AND CHAIN",
    "COMMIT AND CHAIN",
    "START TRANSACTION READ WRITE",
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET transaction_read_only = off",
    "SET LOCAL statement_timeout = 0",
    "RESET ALL",
    "SET ROLE postgres",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "DISCARD ALL",
    "SHOW ALL",
    "SHOW data_directory",
    "INSERT INTO orders VALUES (1)",
    "UPDATE orders SET id = 0",
    "DELETE FROM orders",
    "TRUNCATE orders",
    "MERGE INTO orders o USING (SELECT 1 AS id) s ON o.id = s.id WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x",
    "SELECT * INTO stolen FROM orders",
    "CREATE TABLE x (a int)",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "DROP TABLE orders",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$ BEGIN DELETE FROM app.orders; END $$",
    "CALL x()",
    "EXECUTE x",
    "PREPARE x AS SELECT 1",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH ALL FROM roothold",
    "MOVE 1 IN roothold",
    "CLOSE ALL",
    "CLOSE roothold",
    "LISTEN x",
    "NOTIFY x",
    "UNLISTEN *",
    "LOCK TABLE orders",
    "LOAD 'x'",
    "COPY orders TO STDOUT",
    "COPY orders FROM STDIN",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY orders TO '/tmp/x'",
    "VACUUM",
    "ANALYZE orders",
    "CHECKPOINT",
    "REINDEX TABLE orders",
    "CLUSTER",
    "REFRESH MATERIALIZED VIEW x",
    "SECURITY LABEL ON TABLE orders IS 'x'",
    "COMMENT ON TABLE orders IS 'x'",
    "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off",
    "ALTER SYSTEM SET x = 1",
    "GRANT ALL ON orders TO PUBLIC",
    "SELECT 1; SELECT 2",
    "SELECT 1;;SELECT 2",
    "SELECT 1; COMMIT; DELETE FROM orders",
    ") ; DROP TABLE orders; --",
    "SELECT * FROM orders FOR UPDATE",
    "SELECT * FROM orders FOR KEY SHARE",
    "SELECT lo_create(0)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT * FROM pg_authid",
    "SELECT * FROM vault",
    "SELECT nextval('s')",
    "SELECT pg_reload_conf()",
    "SELECT txid_current(), pg_promote()",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "EXPLAIN ANALYZE INSERT INTO orders VALUES (1)",
    "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
    "EXPLAIN SELECT 1; DELETE FROM orders",
    "EXPLAIN ANALYZE EXECUTE x",
    // To the server a comment ends at either end of a line.
    "EXPLAIN EXECUTE x",
    "EXPLAIN INSERT INTO orders VALUES (1)",
    "EXPLAIN CREATE TEMP TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1",
    "EXPLAIN (ANALYZE) CREATE TEMP TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE REFRESH MATERIALIZED VIEW x",
    "EXPLAIN ANALYZE SELECT * INTO stolen FROM orders",
    "EXPLAIN ANALYZE SELECT 1; DELETE FROM orders",
    "EXPLAIN (ANALYZE, x) SELECT 1",
    "--\rPREPARE TRANSACTION 'leftover'/*\nexplain*/",
    "--\rDO $$BEGIN PERFORM 1; END$$/*\nexplain*/",
    "--\rSHOW ALL/*\nexplain*/",
    "--\rCOPY orders TO STDOUT/*\nexplain*/",
    "--\rLISTEN x/*\nselect 1*/",
    "--\rEXPLAIN ANALYZE DELETE FROM orders/*\n*/",
    "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1 /* select 1 */",
    "EXPLAIN (ANALYZE) CREATE MATERIALIZED VIEW x AS SELECT 1",
    "EXPLAIN (ANALYZE) DECLARE x CURSOR FOR SELECT 1",
    "EXPLAIN (ANALYZE) WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x",
    "EXPLAIN (ANALYZE, FORMAT text) ; DELETE FROM orders",
    "EXPLAIN (ANALYZE) SELECT 1; DELETE FROM orders",
    "EXPLAIN (SERIALIZE none, ANALYZE) SELECT 1",
    "EXPLAIN EXPLAIN SELECT 1",
    "(EXPLAIN SELECT 1)",
    "--\rCOMMIT/*\nexplain*/",
    "--\u{a0}\rSET ROLE postgres/*\nexplain*/",
    "explain\u{a0}SELECT 1",
    "/*/* */explain*/ SHOW ALL",
    "SELECT 1 \0; DELETE FROM orders",
    "SELECT $$",
    "SELECT 'a",
    "SELECT U&'\\0000'",
];

#[tokio::test]
async fn nothing_but_a_select_gets_through() {
    let server = Postgres::shared();
    server.database("hostile", "CREATE TABLE orders AS SELECT generate_series(1, 50) AS id; CREATE TABLE vault (s text)").await;
    let source = source(server, "hostile");
    server.say("hostile", "REVOKE SELECT ON app.vault FROM hostile").await;
    for &sql in HOSTILE {
        let Err(fault) = ask(&source, sql).await else {
            assert!(sql.starts_with("SELECT lo_create"), "{sql} answered");
            continue;
        };
        let (kind, said) = (fault.kind(), fault.public());
        let plain = matches!(kind, FaultKind::Invalid | FaultKind::Denied | FaultKind::Limit);
        assert!(plain, "{sql}: {kind:?} {said}");
        for inner in ["server.log", ".c:", "rusqlite", "portal", "Error {"] {
            assert!(!said.contains(inner), "{sql}: {said}");
        }
        assert_eq!(
            rows(&source, "SELECT count(*) FROM orders").await,
            json!([[50]]),
            "after {sql}"
        );
    }
    let large_objects = "SELECT count(*) FROM pg_largeobject_metadata";
    assert_eq!(
        server.see("hostile", large_objects).await,
        "0",
        "what a query made was rolled back"
    );
    assert_eq!(
        server
            .see(
                "hostile",
                "SELECT to_regclass('app.x') IS NULL AND to_regclass('app.stolen') IS NULL"
            )
            .await,
        "t"
    );
}

#[tokio::test]
async fn statements_as_people_write_them_run() {
    let server = Postgres::shared();
    server.database("plain", "CREATE TABLE orders AS SELECT generate_series(1, 3) AS id").await;
    let source = source(server, "plain");
    for (sql, expected) in [
        ("TABLE orders;", json!([[1], [2], [3]])),
        ("VALUES (1, 'a'), (2, 'b')", json!([[1, "a"], [2, "b"]])),
        ("-- first\n/* ; */ SELECT ';' ; -- last", json!([[";"]])),
        ("(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1", json!([[1], [2]])),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n FROM t",
            json!([[1], [2], [3]]),
        ),
        ("SELECT", json!([[], []])),
        ("SELECT 1 AS a, 2 AS a", json!([[1, 2]])),
        ("SELECT 'e' || E'\\n' || $q$'$q$", json!([["e\n'"]])),
    ] {
        if sql == "SELECT" {
            assert_eq!(rows(&source, sql).await, json!([[]]), "{sql}");
        } else {
            assert_eq!(rows(&source, sql).await, expected, "{sql}");
        }
    }
    // A statement that sets another encoding spoils its own answer, and no later one.
    let other = "SELECT set_config('client_encoding', 'LATIN1', true), i, 'é' FROM generate_series(1, 600) i";
    assert_eq!(refused(&source, other).await.kind(), FaultKind::Invalid);
    assert_eq!(rows(&source, "SELECT 'é'").await, json!([["é"]]));
    let styled = "SELECT set_config('datestyle', 'German', true), '2026-01-02'::date";
    assert_eq!(rows(&source, styled).await, json!([["German, DMY", "02.01.2026"]]));
    assert_eq!(rows(&source, "SELECT '2026-01-02'::date").await, json!([["2026-01-02"]]));
    let plan = ask(&source, "EXPLAIN (COSTS off) SELECT * FROM orders").await.unwrap();
    assert_eq!(plan.rows, [[json!("Seq Scan on orders")]]);
    let plan = ask(&source, "EXPLAIN (FORMAT json, ANALYZE) SELECT * FROM orders").await.unwrap();
    assert!(plan.rows[0][0].as_str().unwrap().contains("Actual Rows"));
    let plan =
        ask(&source, "-- why\rexplain analyze verbose (select id from orders)").await.unwrap();
    assert!(plan.rows[0][0].as_str().unwrap().contains("Seq Scan on app.orders"), "{plan:?}");
    let fault = refused(&source, "/* é */ EXPLAIN (COSTS off)\n  SELECT nam FROM orders").await;
    assert!(fault.public().contains("line 2, column 10"), "{fault}");
    let plan = ask(&source, "explain analyze verbose (SELECT id FROM orders)").await.unwrap();
    assert!(plan.rows.iter().any(|row| row[0].as_str().unwrap().contains("Output: id")));
    let statement = roothold_databases::Statement {
        sql: "EXPLAIN SELECT * FROM orders WHERE id = $1".to_owned(),
        parameters: vec![json!(5).into()],
    };
    let window = roothold_databases::Window::default();
    let plan = source.query(&statement, window, &crate::budget()).await.unwrap();
    assert!(plan.rows.iter().any(|row| row[0].as_str().unwrap().contains("id = 5")), "{plan:?}");
    let fault = refused(&source, "EXPLAIN (COSTS off)\nSELECT nam FROM orders").await;
    assert!(fault.public().contains("line 2, column 8"), "{fault}");
}

#[tokio::test]
async fn errors_say_where_and_never_what_a_row_holds() {
    let server = Postgres::shared();
    server.database("errors", "CREATE TABLE customers (id int, card text); INSERT INTO customers VALUES (1, 'CANARY-CARD'); \
        CREATE FUNCTION shout(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE EXCEPTION 'CANARY %', $1; END $$; \
        CREATE FUNCTION note(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'CANARY %', $1; RETURN true; END $$").await;
    let source = source(server, "errors");
    let fault = refused(&source, "SELECT id,\n  nam FROM customers").await;
    assert!(
        fault.public().contains("column \"nam\" does not exist")
            && fault.public().contains("line 2, column 3"),
        "{fault}"
    );
    let fault = refused(&source, "SELEC 1").await;
    assert!(
        fault.public().contains("at or near \"SELEC\"")
            && fault.public().contains("line 1, column 1"),
        "{fault}"
    );
    let fault = refused(&source, "SELECT 'é', id FORM customers").await;
    assert!(fault.public().contains("line 1, column 21"), "{fault}");
    let unbound = refused(&source, "SELECT $1::int").await;
    assert!(unbound.public().contains("another number of parameters"), "{unbound}");
    let deep = format!("SELECT {}1{}", "abs(".repeat(450), ")".repeat(450));
    if let Err(fault) = ask(&source, &deep.replace("abs(", "shout(")).await {
        assert!(!fault.public().contains("max_stack_depth"), "{fault}");
    }
    let fault = refused(&source, "SELECT idd FROM customers").await;
    assert!(fault.public().contains("the database's hint: "), "{fault}");
    for sql in [
        "SELECT card::int FROM customers",
        "SELECT shout(card) FROM customers",
        "SELECT card::date FROM customers",
        "SELECT cast(card AS json) FROM customers",
        "SELECT id / 0, card FROM customers",
        "SELECT ('{' || card)::int[] FROM customers",
    ] {
        let fault = refused(&source, sql).await;
        let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
        assert!(
            !fault.public().contains("CANARY") && !cause.contains("CANARY"),
            "{sql}: {fault} {cause}"
        );
    }
    assert_eq!(rows(&source, "SELECT note(card) FROM customers").await, json!([[true]]));
}

#[tokio::test]
async fn a_plan_that_costs_too_much_does_not_run() {
    let server = Postgres::shared();
    server
        .database("costs", "CREATE TABLE n AS SELECT generate_series(1, 1000) AS n; ANALYZE n")
        .await;
    let mut spec = spec(server, "costs");
    spec.limits.cost_max = Some(1_000.0);
    let source = roothold_databases::Source::new(spec).unwrap();
    // Functions that run statements of their own.
    for finding in &source.probe(&crate::budget()).await.unwrap().findings {
        server.say("costs", &finding.sql).await;
    }
    assert_eq!(source.probe(&crate::budget()).await.unwrap().disabled_by(), None);
    assert_eq!(rows(&source, "SELECT count(*) FROM n").await, json!([[1_000]]));
    let fault = refused(&source, "SELECT count(*) FROM n a, n b, n c").await;
    assert_eq!(fault.kind(), FaultKind::Limit);
    assert!(fault.public().contains("the plan costs"), "{fault}");
    let analyze = "EXPLAIN ANALYZE SELECT count(*) FROM n a, n b, n c";
    assert_eq!(refused(&source, analyze).await.kind(), FaultKind::Limit);
    assert!(ask(&source, "EXPLAIN SELECT count(*) FROM n a, n b, n c").await.is_ok());
    let statement = roothold_databases::Statement {
        sql: "SELECT * FROM n WHERE n = $1".to_owned(),
        parameters: vec![json!(5).into()],
    };
    let plan = source.explain(&statement, &crate::budget()).await.unwrap();
    assert!(plan.would_run && plan.cost.unwrap() > 0.0, "{plan:?}");
    let big = roothold_databases::Statement::new("SELECT * FROM n a, n b, n c");
    assert!(!source.explain(&big, &crate::budget()).await.unwrap().would_run);
    assert!(ask(&source, "EXPLAIN ANALYZE SELECT count(*) FROM n").await.is_ok());
    let explained = refused(&source, "EXPLAIN ANALYZE SELECT count(*) FROM n a, n b, n c").await;
    assert_eq!(explained.kind(), FaultKind::Limit, "what an EXPLAIN runs costs the same");
    let write = roothold_databases::Statement::new("ANALYZE SELECT 1");
    assert!(source.explain(&write, &crate::budget()).await.is_err());
}

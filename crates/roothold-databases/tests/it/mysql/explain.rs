//! Plans, and statements that cost too much.

use roothold_core::FaultKind;
use roothold_databases::{Source, Statement};
use roothold_testing::MariaDb;
use serde_json::json;

use super::spec;
use crate::{budget, refused, rows};

#[tokio::test]
async fn a_plan_that_costs_too_much_does_not_run() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE n (n INT PRIMARY KEY); INSERT INTO n SELECT seq FROM seq_1_to_1000; ANALYZE TABLE n";
    server.database("costs", setup).await;
    let mut spec = spec(server, "costs");
    spec.limits.cost_max = Some(5_000.0);
    let source = Source::new(spec).unwrap();
    assert_eq!(rows(&source, "SELECT COUNT(*) FROM n").await, json!([[1_000]]));
    for sql in [
        "SELECT COUNT(*) FROM n a, n b, n c",
        "SELECT COUNT(*) FROM (SELECT a.n FROM n a, n b, n c) x",
        "SELECT 1 UNION SELECT COUNT(*) FROM n a, n b, n c",
        "SELECT (SELECT COUNT(*) FROM n a, n b, n c)",
    ] {
        let fault = refused(&source, sql).await;
        assert_eq!(fault.kind(), FaultKind::Limit, "{sql}: {fault}");
        assert!(fault.public().contains("the plan costs"), "{fault}");
    }
    let statement = Statement {
        sql: "SELECT * FROM n WHERE n > ?".to_owned(),
        parameters: vec![json!(5).into()],
    };
    let plan = source.explain(&statement, &budget()).await.unwrap();
    assert!(plan.would_run && plan.cost.unwrap() > 0.0, "{plan:?}");
    assert_eq!(plan.cost_max, Some(5_000.0));
    assert!(plan.plan.to_string().contains("\"table_name\":\"n\""), "{plan:?}");
    let big = Statement::new("SELECT * FROM n a, n b, n c");
    assert!(!source.explain(&big, &budget()).await.unwrap().would_run);
    for sql in [
        "COMMIT",
        "SELECT 1; SELECT 2",
        "ANALYZE SELECT 1",
        "EXPLAIN SELECT 1",
        "FORMAT=JSON SELECT 1",
    ] {
        let fault = source.explain(&Statement::new(sql), &budget()).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Invalid, "{sql}: {fault}");
    }
}

#[tokio::test]
async fn errors_say_where_and_never_what_a_row_holds() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE customers (id INT, card TEXT); INSERT INTO customers VALUES (1, 'CANARY-CARD')";
    server.database("errors", setup).await;
    let source = super::source(server, "errors");
    for (sql, place) in [
        ("SELECT id,\n  FROM customers", "line 2, column 3"),
        ("SELECT 'é', id FORM customers WHERE", "line 1, column 21"),
        ("SELECT id FROM customers WHERE (", "line 1, column 33"),
    ] {
        let fault = refused(&source, sql).await;
        assert!(fault.public().contains(place), "{sql}: {fault}");
    }
    for sql in [
        "SELECT EXTRACTVALUE(1, CONCAT(0x7e, card)) FROM customers",
        "SELECT EXP(~(SELECT * FROM (SELECT card FROM customers) x))",
        "SELECT ST_GEOMFROMTEXT(card) + card FROM customers WHERE card = 'CANARY' FORM",
        "SELECT JSON_EXTRACT(card, 'CANARY') FROM customers GROUP BY CANARY",
        "SELECT CAST(card AS INT) FROM customers WHERE 'CANARY' COLLATE CANARY = 1",
    ] {
        let fault = refused(&source, sql).await;
        let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
        assert!(!format!("{fault} {cause}").contains("CANARY"), "{sql}: {fault} {cause}");
    }
}

//! Every type comes out as it is documented, and parameters go in.

use roothold_core::FaultKind;
use roothold_databases::{Parameter, Source, Statement, Window};
use roothold_testing::MariaDb;
use serde_json::{Value, json};

use super::{source, spec};
use crate::{ask, budget, refused, rows};

const EVERY: &str = "CREATE TABLE every (id INT PRIMARY KEY, tiny TINYINT, flag BOOLEAN, small SMALLINT UNSIGNED, \
    medium MEDIUMINT, whole INT UNSIGNED, big BIGINT, huge BIGINT UNSIGNED, exact DECIMAL(40, 10), single FLOAT, \
    twice DOUBLE, bits BIT(10), one BIT(1), all_bits BIT(64), name VARCHAR(20), fixed CHAR(5), long_text LONGTEXT, \
    raw VARBINARY(10), fixed_raw BINARY(3), large BLOB, mood ENUM('sad', 'glad'), tags SET('a', 'b', 'c'), day DATE, \
    at DATETIME(6), moment TIMESTAMP(3) NULL, short DATETIME, span TIME(2), y YEAR, doc JSON, place POINT, \
    ip INET6, code UUID)";

#[tokio::test]
async fn values_lose_nothing() {
    let server = MariaDb::shared();
    let full = "INSERT INTO every VALUES (1, -128, TRUE, 65535, -8388608, 4294967295, 9007199254740993, \
        18446744073709551615, 123456789012345678901234567890.0123456789, 0.1, 1e300, b'1000000001', b'1', \
        0xffffffffffffffff, 'é''x', 'ab', 'long', 0xdeadbeef, 'abc', 0x00ff, 'glad', 'a,c', '2026-01-02', \
        '2026-01-02 03:04:05.6', '2026-01-02 03:04:05.678', '1000-01-01 00:00:00', '-838:59:59.5', 2026, \
        '{\"a\": [1, 2.5], \"b\": 12345678901234567890}', POINT(1, 2), '::1', 'f47ac10b-58cc-4372-a567-0e02b2c3d479')";
    let empty = "INSERT INTO every (id) VALUES (2)";
    server.database("types", &format!("SET time_zone = '+02:00'; {EVERY}; {full}; {empty}")).await;
    let source = source(server, "types");
    let answer = ask(&source, "SELECT * FROM every ORDER BY id").await.unwrap();
    let expected: &[(&str, Value)] = &[
        ("int", json!(1)),
        ("tinyint", json!(-128)),
        ("tinyint", json!(1)),
        ("smallint unsigned", json!(65_535)),
        ("mediumint", json!(-8_388_608)),
        ("int unsigned", json!(4_294_967_295_u32)),
        ("bigint", json!("9007199254740993")),
        ("bigint unsigned", json!("18446744073709551615")),
        ("decimal", json!("123456789012345678901234567890.0123456789")),
        ("float", json!(0.1)),
        ("double", json!(1e300)),
        ("bit", json!(513)),
        ("bit", json!(1)),
        ("bit", json!("18446744073709551615")),
        ("varchar", json!("é'x")),
        ("char", json!("ab")),
        ("text", json!("long")),
        ("varbinary", json!("\\xdeadbeef")),
        ("binary", json!("\\x616263")),
        ("blob", json!("\\x00ff")),
        ("enum", json!("glad")),
        ("set", json!("a,c")),
        ("date", json!("2026-01-02")),
        ("datetime", json!("2026-01-02T03:04:05.6")),
        ("timestamp", json!("2026-01-02T01:04:05.678+00:00")),
        ("datetime", json!("1000-01-01T00:00:00")),
        ("time", json!("-838:59:59.5")),
        ("year", json!(2026)),
        ("text", json!("{\"a\": [1, 2.5], \"b\": 12345678901234567890}")),
        ("geometry", json!("\\x000000000101000000000000000000f03f0000000000000040")),
        ("char", json!("::1")),
        ("char", json!("f47ac10b-58cc-4372-a567-0e02b2c3d479")),
    ];
    assert_eq!(answer.columns.len(), expected.len());
    for ((at, column), (kind, value)) in answer.columns.iter().enumerate().zip(expected) {
        assert_eq!((column.kind.as_str(), &answer.rows[0][at]), (*kind, value), "{}", column.name);
        assert!(
            at == 0 || answer.rows[1][at].is_null(),
            "{}: {:?}",
            column.name,
            answer.rows[1][at]
        );
    }
    assert!(answer.stable);
    let expressions = "SELECT NULL, 1.10, 0.1e0, TRUE, CURRENT_DATE() = DATE(NOW()), CAST(-1 AS SIGNED), x'ff', \
        TIMEDIFF('25:00:00', '00:00:00'), @@time_zone, _utf8mb4'é', CONCAT(1, 'a')";
    let values = json!([[null, "1.10", 0.1, 1, 1, -1, "\\xff", "25:00:00", "+00:00", "é", "1a"]]);
    assert_eq!(rows(&source, expressions).await, values);
}

async fn run(
    source: &Source,
    sql: &str,
    values: Vec<Value>,
) -> Result<Value, roothold_core::Fault> {
    let parameters = values.into_iter().map(Parameter::from).collect();
    let statement = Statement { sql: sql.to_owned(), parameters };
    let answer = source.query(&statement, Window::default(), &budget()).await?;
    Ok(serde_json::to_value(answer.rows).unwrap())
}

#[tokio::test]
async fn parameters_are_bound_and_never_spliced() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE t (id BIGINT UNSIGNED, name TEXT, n DECIMAL(30, 2), at DATETIME, doc JSON); \
        INSERT INTO t VALUES (18446744073709551615, 'ann', 123456789012345678901234567.10, '2026-01-02 03:04:05', '{\"k\": 1}')";
    server.database("params", setup).await;
    let source = source(server, "params");
    let found = async |sql: &str, values: Vec<Value>| {
        let sql = format!("SELECT name FROM t WHERE {sql}");
        run(&source, &sql, values).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    };
    let ann = json!([["ann"]]);
    assert_eq!(found("id = ? AND name = ?", vec![json!(u64::MAX), json!("ann")]).await, ann);
    assert_eq!(
        found("name = ?2 AND id = ?1 AND name = ?2", vec![json!(u64::MAX), json!("ann")]).await,
        ann
    );
    assert_eq!(found("at = ?", vec![json!("2026-01-02 03:04:05")]).await, ann);
    assert_eq!(found("JSON_CONTAINS(doc, ?)", vec![json!({"k": 1})]).await, ann);
    assert_eq!(
        found("? IS NULL AND ? = TRUE AND ? = 0.5", vec![json!(null), json!(true), json!(0.5)])
            .await,
        ann
    );
    assert_eq!(found("name = ?", vec![json!("' OR 1 = 1 -- ")]).await, json!([]));
    assert_eq!(found("name <> ?", vec![json!("a\0b\\'\"")]).await, ann);
    let texts = "SELECT '?', \"it's ?\", 5-'1:b', 6/'a:b' IS NULL, ':x', `name` FROM t WHERE name = ? -- ? :y";
    assert_eq!(
        run(&source, texts, vec![json!("ann")]).await.unwrap(),
        json!([["?", "it's ?", 4.0, 1, ":x", "ann"]])
    );
    assert_eq!(run(&source, "SELECT @a := 1", vec![]).await.unwrap(), json!([[1]]));
    for (sql, values) in [
        ("id = ?", vec![]),
        ("id = 1", vec![json!(1)]),
        ("id = ?", vec![json!(1), json!(2)]),
        ("id = ?1 AND id = ?", vec![json!(1)]),
        ("id = ?3", vec![json!(1), json!(2)]),
        ("id = :id", vec![]),
        ("id = $1", vec![json!(1)]),
        ("/* c */ id = :a -'x'", vec![]),
    ] {
        let sql = format!("SELECT name FROM t WHERE {sql}");
        let fault = run(&source, &sql, values).await.expect_err(&sql);
        assert_eq!(fault.kind(), FaultKind::Invalid, "{sql}: {fault}");
    }
}

const PAGES: &str = "CREATE TABLE n AS SELECT seq AS n FROM seq_1_to_2500; CREATE VIEW v AS SELECT n FROM n; \
    CREATE FUNCTION counted() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM (SELECT n FROM n) x); \
    GRANT EXECUTE ON FUNCTION pages.counted TO pages@'%'";

#[tokio::test]
async fn pages_follow_each_other() {
    let server = MariaDb::shared();
    server.database("pages", PAGES).await;
    let mut spec = spec(server, "pages");
    spec.functions_trusted = vec!["pages.counted".to_owned()];
    spec.limits.rows_max = 1_000;
    spec.limits.bytes_max = 64 << 10;
    let source = Source::new(spec).unwrap();
    let page = async |sql: &str, window: Window| {
        source
            .query(&Statement::new(sql), window, &budget())
            .await
            .unwrap_or_else(|f| panic!("{sql}: {f}"))
    };
    for sql in [
        "SELECT n FROM n ORDER BY n",
        "SELECT n FROM n ORDER BY n LIMIT 2500",
        "(SELECT n FROM n WHERE n <= 7) UNION (SELECT n FROM n WHERE n > 7) ORDER BY n",
        "WITH w AS (SELECT n FROM n) SELECT n FROM w ORDER BY n",
    ] {
        let (mut seen, mut offset) = (Vec::new(), 0);
        loop {
            let answer = page(sql, Window { offset, ..Window::default() }).await;
            assert!(answer.stable, "{sql}");
            seen.extend(answer.rows.iter().map(|row| row[0].as_i64().unwrap()));
            let Some(next) = answer.next_offset else { break };
            offset = next;
        }
        assert_eq!(seen, (1..=2_500).collect::<Vec<i64>>(), "{sql}");
    }
    // What ends a page ends nothing within the statement.
    for sql in [
        "SELECT COUNT(*) FROM (SELECT n FROM n) x",
        "SELECT COUNT(*) FROM (SELECT n FROM n ORDER BY n) x",
        "WITH w AS (SELECT n FROM n) SELECT COUNT(*) FROM w",
        "SELECT COUNT(*) FROM (SELECT n FROM n UNION ALL SELECT n FROM n WHERE n < 0) x",
        "SELECT COUNT(*) FROM n WHERE n IN (SELECT n FROM n)",
        "SELECT COUNT(*) FROM v",
        "SELECT (SELECT COUNT(*) FROM n)",
        "SELECT counted()",
    ] {
        let small = Window { rows: 7, ..Window::default() };
        assert_eq!(json!(page(sql, small).await.rows), json!([[2_500]]), "{sql}");
    }
    assert!(!page("SELECT n FROM n LIMIT 1", Window::default()).await.stable);
    let seven = Window { rows: 7, ..Window::default() };
    let exact = page("SELECT n FROM n ORDER BY n LIMIT 7", seven).await;
    assert_eq!((exact.rows.len(), exact.next_offset), (7, None));
    let wide = "SELECT n, REPEAT('x', 1000) FROM n ORDER BY n";
    let first = page(wide, Window { bytes: 10_000, ..Window::default() }).await;
    assert!((8..=10).contains(&first.rows.len()), "{}", first.rows.len());
    assert_eq!(first.next_offset, Some(first.rows.len() as u64));
    let second = page(wide, Window { offset: 9, rows: 2, ..Window::default() }).await;
    assert_eq!(second.rows[0][0], json!(10));
    // What nobody reads to its end is ended in the server.
    let endless = "SELECT a.n FROM n a, n b, n c LIMIT 1000000000";
    assert_eq!(page(endless, Window::default()).await.next_offset, Some(1_000));
    super::cancel::gone(server, "pages").await;
}

#[tokio::test]
async fn a_row_that_fits_no_answer_is_refused_before_there_is_memory_for_it() {
    let server = MariaDb::shared();
    server.say("mysql", "SET GLOBAL max_allowed_packet = 67108864").await;
    server.database("large", "").await;
    let mut spec = spec(server, "large");
    spec.limits.bytes_max = 64 << 10;
    let source = Source::new(spec).unwrap();
    for sql in [
        "SELECT REPEAT('x', 100000)",
        "SELECT REPEAT('x', 50000000)",
        "SELECT 1, REPEAT('x', 6000000) FROM seq_1_to_5",
    ] {
        let fault = refused(&source, sql).await;
        assert_eq!(fault.kind(), FaultKind::Limit, "{sql}: {fault}");
        assert!(fault.public().contains("a row is larger than the 65536 bytes"), "{fault}");
    }
    assert_eq!(rows(&source, "SELECT LENGTH(REPEAT('x', 50000000))").await, json!([[50_000_000]]));
    super::cancel::gone(server, "large").await;
}

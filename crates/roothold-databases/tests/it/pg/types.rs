//! Every type comes out as it is documented, and parameters go in.

use roothold_databases::{Parameter, Statement, Window};
use roothold_testing::Postgres;
use serde_json::{Value, json};

use super::{source, spec};
use crate::{ask, budget, rows};

#[tokio::test]
async fn values_lose_nothing() {
    let server = Postgres::shared();
    let setup = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN small AS int CHECK (value < 10); \
                 CREATE TYPE pair AS (a int, b text); CREATE TABLE moods (m mood); INSERT INTO moods VALUES ('glad')";
    server.database("types", setup).await;
    let source = source(server, "types");
    server.say("postgres", "ALTER ROLE types SET timezone = 'UTC'").await;
    let cases: &[(&str, Value)] = &[
        ("NULL::int", json!(null)),
        ("true", json!(true)),
        ("32767::int2", json!(32_767)),
        ("9007199254740992::int8", json!(9_007_199_254_740_992_i64)),
        ("9007199254740993::int8", json!("9007199254740993")),
        ("1.10::numeric", json!("1.10")),
        ("123456789012345678901234567890.5", json!("123456789012345678901234567890.5")),
        ("'NaN'::float8", json!("NaN")),
        ("0.1::float4", json!(0.1)),
        ("'x''y'::text", json!("x'y")),
        ("'2026-01-02'::date", json!("2026-01-02")),
        ("'2026-01-02 03:04:05.6'::timestamp", json!("2026-01-02T03:04:05.6")),
        ("'2026-01-02 03:04:05+02'::timestamptz", json!("2026-01-02T01:04:05+00:00")),
        ("'03:04:05+02'::timetz", json!("03:04:05+02:00")),
        ("'1 day 02:00'::interval", json!("P1DT2H")),
        ("'{\"a\": [1, 1.5]}'::jsonb", json!({"a": [1, 1.5]})),
        ("'{\"a\": 12345678901234567890}'::jsonb", json!("{\"a\": 12345678901234567890}")),
        ("ARRAY[1, NULL, 3]", json!([1, null, 3])),
        ("ARRAY[['a,b', 'c\"d'], ['', 'NULL']]", json!([["a,b", "c\"d"], ["", "NULL"]])),
        ("'\\xdeadbeef'::bytea", json!("\\xdeadbeef")),
        ("'glad'::app.mood", json!("glad")),
        ("ARRAY['glad', 'sad']::app.mood[]", json!(["glad", "sad"])),
        ("5::app.small", json!(5)),
        ("ROW(1, 'x')::app.pair", json!("(1,x)")),
        ("int4range(1, 5)", json!("[1,5)")),
        (
            "'f47ac10b-58cc-4372-a567-0e02b2c3d479'::uuid",
            json!("f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ),
        ("'192.168.0.1/24'::inet", json!("192.168.0.1/24")),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(&source, &format!("SELECT {sql}")).await, json!([[expected]]), "{sql}");
    }
    let answer = ask(&source, "SELECT m, ARRAY[m], 1::int8 AS n FROM moods").await.unwrap();
    let kinds: Vec<&str> = answer.columns.iter().map(|column| column.kind.as_str()).collect();
    assert_eq!(kinds, ["mood", "mood[]", "int8"]);
    // Types of the database's own, again and again on one connection and on others.
    for _ in 0..3 {
        let all = (0..6).map(|_| ask(&source, "SELECT m FROM moods"));
        for result in futures::future::join_all(all).await {
            assert_eq!(result.unwrap().rows, [[json!("glad")]]);
        }
        assert_eq!(
            rows(&source, "SELECT ROW(2, 'y')::app.pair, 7::app.small").await,
            json!([["(2,y)", 7]])
        );
    }
}

#[tokio::test]
async fn parameters_are_bound_and_never_spliced() {
    let server = Postgres::shared();
    server
        .database(
            "params",
            "CREATE TABLE t (id int, name text, tags text[], at date, doc jsonb); \
        INSERT INTO t VALUES (1, 'ann', '{a,b}', '2026-01-02', '{\"k\": 1}')",
        )
        .await;
    let source = source(server, "params");
    let run = async |sql: &str, values: Vec<Parameter>| {
        let statement = Statement { sql: sql.to_owned(), parameters: values };
        source.query(&statement, Window::default(), &budget()).await
    };
    let plain = |value: Value| Parameter::from(value);
    let typed = |value: Value, name: &str| Parameter { value, type_name: Some(name.to_owned()) };
    let one = json!([[1]]);
    let found = async |sql: &str, values: Vec<Parameter>| {
        let answer = run(&format!("SELECT id FROM t WHERE {sql}"), values).await.unwrap();
        serde_json::to_value(answer.rows).unwrap()
    };
    assert_eq!(
        found("id = $1 AND name = $2", vec![plain(json!(1)), plain(json!("ann"))]).await,
        one
    );
    assert_eq!(found("tags && $1", vec![plain(json!(["b", "x'y"]))]).await, one);
    assert_eq!(found("id = ANY($1)", vec![typed(json!([1, 2]), "int4[]")]).await, one);
    assert_eq!(found("at = $1", vec![plain(json!("2026-01-02"))]).await, one);
    assert_eq!(found("doc @> $1", vec![plain(json!({"k": 1}))]).await, one);
    assert_eq!(found("$1::text IS NULL", vec![plain(Value::Null)]).await, one);
    assert_eq!(found("name = $1", vec![plain(json!("' OR true --"))]).await, json!([]));
    for (sql, values) in [
        ("id = $1", vec![plain(json!("one"))]),
        ("id = $1", vec![]),
        ("id = 1", vec![plain(json!(1))]),
        ("id = $1", vec![typed(json!(1), "int4; DROP TABLE t")]),
        ("name = $1", vec![plain(json!("a\0b"))]),
    ] {
        let fault = run(&format!("SELECT id FROM t WHERE {sql}"), values).await.expect_err(sql);
        assert_eq!(fault.kind(), roothold_core::FaultKind::Invalid, "{sql}: {fault}");
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    let server = Postgres::shared();
    server.database("pages", "CREATE TABLE n AS SELECT generate_series(1, 2500) AS n").await;
    let mut spec = spec(server, "pages");
    spec.limits.rows_max = 1_000;
    spec.limits.bytes_max = 64 << 10;
    let source = roothold_databases::Source::new(spec).unwrap();
    let page = async |sql: &str, window: Window| {
        source.query(&Statement::new(sql), window, &budget()).await.unwrap()
    };
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let answer =
            page("SELECT n FROM n ORDER BY n", Window { offset, ..Window::default() }).await;
        assert!(answer.stable);
        seen.extend(answer.rows.iter().map(|row| row[0].as_i64().unwrap()));
        let Some(next) = answer.next_offset else { break };
        offset = next;
    }
    assert_eq!(seen, (1..=2_500).collect::<Vec<i64>>());
    assert!(!page("SELECT n FROM n LIMIT 1", Window::default()).await.stable);
    let exact =
        page("SELECT n FROM n ORDER BY n LIMIT 7", Window { rows: 7, ..Window::default() }).await;
    assert_eq!((exact.rows.len(), exact.next_offset), (7, None));
    // A page ends at its bytes, also where rows are as large as many pages.
    let wide = "SELECT n, repeat('x', 1000) FROM n ORDER BY n";
    let first = page(wide, Window { bytes: 10_000, ..Window::default() }).await;
    assert_eq!(first.next_offset, Some(first.rows.len() as u64));
    assert!((8..=10).contains(&first.rows.len()), "{}", first.rows.len());
    let second = page(wide, Window { offset: 9, rows: 2, ..Window::default() }).await;
    assert_eq!(second.rows[0][0], json!(10));
    // JSON that gets shorter on its way loses no row between pages.
    let airy = "SELECT n, (repeat(' ', 500) || n)::json FROM n ORDER BY n";
    let (mut seen, mut offset) = (0, 0);
    while seen < 300 {
        let answer = page(airy, Window { offset, bytes: 4_000, ..Window::default() }).await;
        for row in &answer.rows {
            seen += 1;
            assert_eq!(row, &[json!(seen), json!(seen)]);
        }
        offset = answer.next_offset.unwrap();
    }
}

#[tokio::test]
async fn a_row_that_fits_no_answer_is_refused_before_there_is_memory_for_it() {
    let server = Postgres::shared();
    server.database("large", "").await;
    let mut spec = spec(server, "large");
    spec.limits.bytes_max = 64 << 10;
    let source = roothold_databases::Source::new(spec).unwrap();
    for sql in [
        "SELECT repeat('x', 100000)",
        "SELECT repeat('x', 50000000)",
        "SELECT 1, repeat('x', 600000) FROM generate_series(1, 5)",
    ] {
        let fault = crate::refused(&source, sql).await;
        assert_eq!(fault.kind(), roothold_core::FaultKind::Limit, "{sql}: {fault}");
        assert!(fault.public().contains("a row is larger than the 65536 bytes"), "{fault}");
    }
    assert_eq!(rows(&source, "SELECT length(repeat('x', 50000000))").await, json!([[50_000_000]]));
}

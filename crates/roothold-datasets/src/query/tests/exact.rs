//! Numbers that do not fit are refused, and those that fit are right.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, UInt64Array};
use datafusion::parquet::arrow::ArrowWriter;
use roothold_core::FaultKind;
use serde_json::{Value, json};

use crate::process::{Operation, Process, ProcessLimits, Step};
use crate::testing::{Workspace, ask, budget, engine, rows, wait};
use crate::{Engine, Source};

fn numbers(space: &Workspace) -> Source {
    let columns: [(&str, ArrayRef); 4] = [
        ("p", Arc::new(Int32Array::from(vec![100_000, 3, i32::MAX]))),
        ("q", Arc::new(Int32Array::from(vec![50_000, 4, i32::MAX]))),
        ("i", Arc::new(Int64Array::from(vec![i64::MAX, 1, i64::MIN]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 1, 2]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    space.file("n.parquet", writer.into_inner().unwrap()).source("n.parquet")
}

/// What an aggregation of the first column reports.
fn report_of(source: &Source) -> Value {
    let (engine, budget) = (engine(), budget());
    let count = json!({"function": "count", "column": describe_first(&engine, source)});
    let asked = json!({"operation": "aggregate", "aggregates": [count]});
    let operation: Operation = serde_json::from_value(asked).unwrap();
    let limits = ProcessLimits::default();
    wait(async {
        let opening = Process::open(&engine, source, &operation, limits, None, &budget);
        let mut process = opening.await.unwrap();
        loop {
            if let Step::Done(report) = process.step(&budget).await.unwrap() {
                return report.value;
            }
        }
    })
}

fn describe_first(engine: &Engine, source: &Source) -> String {
    let description = wait(engine.describe(source, 0, &budget())).unwrap();
    description.columns[0].name.clone()
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let space = Workspace::new();
    let source = numbers(&space);
    for sql in [
        "SELECT sum(p * q) FROM t",
        "SELECT p + q FROM t",
        "SELECT i - p FROM t WHERE i < 0",
        "SELECT -i FROM t",
        "SELECT u - u * u FROM t WHERE u = 2",
        "SELECT 9223372036854775807 + 1",
        "SELECT count(*) FROM t WHERE p * q > 7",
        "SELECT p FROM t ORDER BY p * q",
        "SELECT p * q, count(*) FROM t GROUP BY p * q",
        "SELECT a.p FROM t a JOIN t b ON a.p * b.q = b.p * 3",
        "SELECT p FROM t WHERE EXISTS (SELECT 1 FROM t o WHERE o.p * t.q = 1)",
        "SELECT (SELECT max(o.p * o.q) FROM t o)",
        "SELECT sum(i) FROM t WHERE i > 0",
        "SELECT sum(u) FROM t",
        "SELECT u % 2, sum(u) FROM t WHERE u <> 2 GROUP BY 1",
        "SELECT sum(i) OVER (ORDER BY i DESC) FROM t",
        "SELECT sum(DISTINCT i) FROM t WHERE i > 0",
        "WITH RECURSIVE r AS (SELECT i FROM t WHERE i = 1 UNION ALL SELECT i * 1000 FROM r) SELECT * FROM r",
    ] {
        let fault = ask(&source, sql).expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Invalid, "{sql}: {fault}");
        assert!(fault.public().contains("too large for its type"), "{sql}: {fault}");
    }
}

#[test]
fn numbers_that_fit_are_right_and_called_as_before() {
    let space = Workspace::new();
    let source = numbers(&space);
    for (sql, expected) in [
        ("SELECT sum(CAST(p AS bigint) * q) FROM t WHERE p < 200000", "[[5000000012]]"),
        ("SELECT p * q FROM t WHERE p = 3", "[[12]]"),
        ("SELECT p + q - 1, -p FROM t WHERE p = 3", "[[6,-3]]"),
        ("SELECT sum(i) FROM t", "[[0]]"),
        ("SELECT sum(p + 1) FROM t WHERE p < 200000", "[[100005]]"),
        ("SELECT sum(i) FROM t WHERE i > 0 AND p > 3", r#"[["9223372036854775807"]]"#),
        ("SELECT p * 0.5, date '2020-01-31' - date '2020-01-01' FROM t WHERE p = 3", "[[1.5,30]]"),
        ("SELECT p * q AS x FROM t WHERE p = 3 GROUP BY p * q HAVING count(*) > 0", "[[12]]"),
        ("SELECT sum(p) OVER (ORDER BY p) FROM t WHERE p < 200000", "[[3],[100003]]"),
    ] {
        assert_eq!(rows(&source, sql), expected, "{sql}");
    }
    let answer = ask(&source, "SELECT p * q, -p, sum(p + q) FROM t WHERE p = 3 GROUP BY 1, 2");
    let columns = answer.unwrap().table.columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["t.p * t.q", "(- t.p)", "sum(t.p + t.q)"]);
}

#[test]
fn whole_numbers_of_json_are_not_rounded() {
    let space = Workspace::new();
    for (text, expected) in [
        (
            "{\"id\":18446744073709551614}\n{\"id\":18446744073709551615}\n",
            r#"[["18446744073709551614",1],["18446744073709551615",1]]"#,
        ),
        ("{\"id\":9007199254740993}\n{\"id\":1.5}\n", r#"[["1.5",1],["9007199254740993",1]]"#),
        ("{\"id\":9007199254740993}\n{\"id\":1}\n", r#"[[1,1],["9007199254740993",1]]"#),
        ("{\"id\":1.5}\n{\"id\":7}\n", "[[1.5,1],[7.0,1]]"),
    ] {
        let source = space.file("j.jsonl", text).source("j.jsonl");
        assert_eq!(rows(&source, "SELECT id, count(*) FROM t GROUP BY id ORDER BY id"), expected);
    }
    let source = space.file("c.csv", "id\n9007199254740993\n1.5\n").source("c.csv");
    assert_eq!(rows(&source, "SELECT id FROM t"), r#"[["9007199254740993"],["1.5"]]"#);
}

#[test]
fn lines_that_are_not_one_object_are_refused_wherever_they_stand() {
    let space = Workspace::new();
    let fair = "{\"i\":1,\"n\":1.5}\n";
    for odd in [
        "{\"i\":1}{\"i\":2}",
        "{\"i\":1 \"n\":2}",
        "{\"i\":1,}",
        "{,}",
        "{\"i\":01}",
        "{\"n\":01.5}",
        "{\"n\":1.}",
        "{\"n\":1,\"i\":01}",
        "{\"z\":[1,],\"i\":1}",
        "{\"i\":\n1}",
    ] {
        // The columns in their order, which are decoded plainly, and not.
        for before in [fair, "{\"n\":1.5,\"i\":1}\n"] {
            let text = format!("{}{before}{odd}\n{before}", fair.repeat(2500));
            let source = space.file("o.jsonl", text).source("o.jsonl");
            for sql in ["SELECT count(*) FROM t", "SELECT sum(i) FROM t", "SELECT max(n) FROM t"] {
                let fault = ask(&source, sql).expect_err(odd);
                let said = fault.public();
                assert!(said.contains("line 2502 is not one JSON object"), "{odd}: {fault}");
            }
            let report = report_of(&source);
            let bad = if odd.contains('\n') { 2 } else { 1 };
            assert_eq!(
                (&report["bad_rows"], &report["rows"]),
                (&bad.into(), &2502.into()),
                "{odd}"
            );
        }
    }
}

#[test]
fn numbers_that_are_whole_are_whole_however_they_are_written() {
    let space = Workspace::new();
    let fair = "{\"i\":1}\n".repeat(2500);
    let text = format!("{fair}{{\"i\":2.0}}\n{{\"i\":1e2}}\n{{\"i\":9007199254740993}}\n");
    let source = space.file("w.jsonl", text).source("w.jsonl");
    let found = rows(&source, "SELECT i FROM t WHERE i > 1 ORDER BY i");
    assert_eq!(found, r#"[[2],[100],["9007199254740993"]]"#);
    for odd in ["1.5", "9007199254740993.0", "1e300", "1e-1"] {
        let source = space.file("w.jsonl", format!("{fair}{{\"i\":{odd}}}\n")).source("w.jsonl");
        let fault = ask(&source, "SELECT sum(i) FROM t").expect_err(odd);
        assert!(fault.public().contains("line 2501 "), "{odd}: {fault}");
    }
}

#[test]
fn cells_behind_the_sample_are_held_to_what_it_was_judged_by() {
    let space = Workspace::new();
    for (fair, odd, kind) in [
        ("1", "007", "integer"),
        ("1", "+7", "integer"),
        ("1", " 5", "integer"),
        ("1", "2.0", "integer"),
        ("1.5", "nan", "number"),
        ("1.5", "inf", "number"),
        ("1.5", "1e400", "number"),
        ("1.5", "01.5", "number"),
        ("2020-01-01", "20200101", "date"),
        ("2020-01-01", "2020-01-01T05:00:00", "date"),
        ("2020-01-01T05:00:00", "20200101", "timestamp"),
    ] {
        // Plain lines, and such with quotes.
        for quote in ["", "\""] {
            let line = |cell: &str| format!("{quote}{cell}{quote},1\n");
            let text = format!("a,b\n{}{}{}", line(fair).repeat(2500), line(odd), line(fair));
            let source = space.file("s.csv", &text).source("s.csv");
            let fault = ask(&source, "SELECT count(a) FROM t").expect_err(odd);
            let said = format!("line 2502 has something else than {kind} in the column `a`");
            assert!(fault.public().contains(&said), "{odd}: {fault}");
            assert_eq!(report_of(&source)["bad_rows"], 1, "{odd}");
            // Whose type was given is read as it can be.
            let types = json!({"types": {"a": kind}});
            let options = serde_json::from_value(types).unwrap();
            let source = space.source_with("s.csv", options);
            let is_read = odd != "2.0" && kind != "timestamp";
            assert_eq!(ask(&source, "SELECT count(a) FROM t").is_ok(), is_read, "{odd}");
            assert_eq!(report_of(&source)["bad_rows"], u64::from(!is_read), "{odd}");
        }
    }
}

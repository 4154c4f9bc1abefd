//! Pages of an ordered query fit together, whatever is alike in what it is ordered by; and NaN has its
//! place whatever statistics say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array};
use serde_json::json;

use super::columns::written;
use crate::Source;
use crate::testing::{Workspace, ask, budget, engine, query, rows, wait};

const ROWS: i64 = 60_000;

/// The same rows as CSV, JSON Lines and Parquet. Few have another `g`.
fn sources(space: &Workspace) -> [Source; 3] {
    let mut csv = "id,g\n".to_owned();
    let mut jsonl = String::new();
    for id in 0..ROWS {
        let g = id * 7 % 5;
        writeln!(csv, "{id},{g}").unwrap();
        writeln!(jsonl, "{{\"id\":{id},\"g\":{g}}}").unwrap();
    }
    let columns = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS)) as ArrayRef),
        ("g", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|id| id * 7 % 5)))),
    ];
    let parquet = written(columns, 5000);
    space.file("a.csv", csv).file("a.jsonl", jsonl).file("a.parquet", parquet);
    ["a.csv", "a.jsonl", "a.parquet"].map(|name| space.source(name))
}

/// The first column of all pages, and whether each said that they fit together.
fn paged(source: &Source, sql: &str, bytes_max: usize) -> (Vec<i64>, bool) {
    let (mut asked, mut ids, mut stable) = (query(sql, &[("t", source)]), Vec::new(), true);
    (asked.rows_max, asked.bytes_max) = (700, bytes_max);
    loop {
        let answer = wait(engine().query(&asked, &budget())).unwrap();
        stable &= answer.stable;
        ids.extend(answer.table.rows.iter().map(|row| row[0].as_i64().unwrap()));
        let Some(next) = answer.next_offset else { return (ids, stable) };
        asked.offset = next;
    }
}

#[test]
fn pages_of_rows_that_are_alike_fit_together() {
    let space = Workspace::new();
    for source in sources(&space) {
        for (sql, bytes_max, count) in [
            ("SELECT id FROM t WHERE id < 5000 ORDER BY g", 1 << 16, 5000),
            ("SELECT id FROM t WHERE id < 5000 ORDER BY g LIMIT 2100", 1 << 16, 2100),
            // It would be one page, were it not for its bytes.
            ("SELECT id FROM t WHERE id < 5000 ORDER BY g LIMIT 700", 1000, 700),
            (
                "SELECT id FROM (SELECT id, g FROM t ORDER BY g DESC LIMIT 1500) AS s ORDER BY g",
                1 << 16,
                1500,
            ),
        ] {
            let (ids, stable) = paged(&source, sql, bytes_max);
            assert!(stable, "{sql}");
            assert_eq!(ids.len(), count, "{sql}");
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), count, "{sql}");
        }
    }
}

#[test]
fn what_may_be_otherwise_the_next_time_is_not_said_to_be_stable() {
    let space = Workspace::new();
    let source = space.file("a.csv", "id,g\n1,1\n2,1\n").source("a.csv");
    for sql in [
        "SELECT id FROM t",
        "SELECT id FROM t ORDER BY random()",
        "SELECT id FROM t WHERE random() < 2 ORDER BY id",
        "SELECT id FROM (SELECT id FROM t LIMIT 1) AS s ORDER BY id",
        "SELECT id FROM t WHERE id IN (SELECT id FROM t LIMIT 1) ORDER BY id",
        "SELECT id, row_number() OVER (ORDER BY g) FROM t ORDER BY id",
        "SELECT id, sum(id) OVER (ORDER BY g ROWS UNBOUNDED PRECEDING) FROM t ORDER BY id",
        "SELECT g, first_value(id) FROM t GROUP BY g ORDER BY g",
        "SELECT DISTINCT ON (g) id, g FROM t ORDER BY g",
    ] {
        assert!(!ask(&source, sql).unwrap().stable, "{sql}");
    }
    for sql in [
        "SELECT id FROM t ORDER BY g",
        "SELECT id, rank() OVER (ORDER BY g), sum(id) OVER (PARTITION BY g) FROM t ORDER BY id",
        "SELECT g, sum(id) FROM t GROUP BY g ORDER BY g LIMIT 5",
        "SELECT sum(id) FROM t",
    ] {
        assert!(ask(&source, sql).unwrap().stable, "{sql}");
    }
}

#[test]
fn nan_is_found_whatever_statistics_say() {
    let space = Workspace::new();
    let numbers = [1.0, 2.0, f64::NAN, -5.0, 4.0, 3.0];
    let columns = vec![
        ("id", Arc::new(Int64Array::from_iter_values(1..7)) as ArrayRef),
        ("x", Arc::new(Float64Array::from(numbers.to_vec()))),
    ];
    let source = space.file("a.parquet", written(columns, 3)).source("a.parquet");
    for (sql, expected) in [
        ("SELECT id FROM t WHERE x > 10", json!([[3]])),
        ("SELECT id FROM t WHERE x = 'nan'::double", json!([[3]])),
        ("SELECT id FROM t WHERE NOT (x <= 10)", json!([[3]])),
        ("SELECT count(*) FROM t WHERE x > 10", json!([[1]])),
        ("SELECT id FROM t ORDER BY x DESC LIMIT 1", json!([[3]])),
        ("SELECT id FROM (SELECT id, x + 1 AS y FROM t) AS s WHERE y > 10", json!([[3]])),
        ("SELECT a.id, b.id FROM t AS a JOIN t AS b ON a.x = b.x WHERE b.id = 3", json!([[3, 3]])),
        ("SELECT id FROM t WHERE x > 2 ORDER BY x LIMIT 2", json!([[6], [5]])),
        ("SELECT id FROM t WHERE id > 4 ORDER BY id", json!([[5], [6]])),
        ("SELECT isnan(max(x)) FROM t WHERE id < 7", json!([[true]])),
    ] {
        assert_eq!(rows(&source, sql), expected.to_string(), "{sql}");
    }
    assert_eq!(rows(&source, "SELECT count(*) FROM t WHERE isnan(x)"), "[[1]]");
}

//! Sources that are read in pieces: each row once, whoever takes a piece, and again each time.

use std::fmt::Write as _;

use super::parquet::numbers;
use crate::Source;
use crate::testing::{Workspace, rows};

const ROWS: i64 = 600_000;

/// The same rows as a text and as Parquet, each of some megabytes.
fn sources(space: &Workspace) -> [Source; 2] {
    let mut text = "id\n".to_owned();
    for id in 0..ROWS {
        writeln!(text, "{id}").unwrap();
    }
    space.file("a.csv", text).file("a.parquet", numbers(ROWS));
    [space.source("a.csv"), space.source("a.parquet")]
}

#[test]
fn each_row_is_there_once() {
    let space = Workspace::new();
    let all = format!("[[{ROWS},{ROWS},{}]]", ROWS * (ROWS - 1) / 2);
    let twice = format!("[[{}]]", 2 * ROWS);
    for source in sources(&space) {
        assert_eq!(rows(&source, "SELECT count(*), count(DISTINCT id), sum(id) FROM t"), all);
        let sql = "SELECT count(*) FROM (SELECT id FROM t UNION ALL SELECT id FROM t)";
        assert_eq!(rows(&source, sql), twice);
        let sql = "SELECT id FROM t WHERE id % 2 = 1 ORDER BY id DESC LIMIT 2";
        assert_eq!(rows(&source, sql), format!("[[{}],[{}]]", ROWS - 1, ROWS - 3));
    }
}

#[test]
fn a_recursive_query_reads_all_of_it_each_time() {
    let space = Workspace::new();
    for source in sources(&space) {
        let sql = "WITH RECURSIVE x AS (SELECT 0 AS n, CAST(0 AS BIGINT) AS found UNION ALL \
                   SELECT n + 1, c FROM x CROSS JOIN (SELECT count(*) AS c FROM t) AS a WHERE n < 3) \
                   SELECT n, found FROM x ORDER BY n";
        let expected = format!("[[0,0],[1,{ROWS}],[2,{ROWS}],[3,{ROWS}]]");
        assert_eq!(rows(&source, sql), expected);
    }
}

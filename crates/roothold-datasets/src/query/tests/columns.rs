//! What reads as little as can be of Parquet: groups by the numbers of texts, the top of a sort by places.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::displayable;
use futures::TryStreamExt as _;
use roothold_core::FaultKind;

use super::super::Session;
use crate::parquet::tallied;
use crate::refusal::fault_of;
use crate::scan::Seams;
use crate::testing::{Workspace, ask, budget, engine, meter, query, rows, wait};
use crate::{Engine, EngineSpec, Source, SourceOptions};

pub(super) fn written(columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Rows from `first` on, with texts that lack now and then, and that another file has in another order.
fn events(first: i64, count: i64) -> Vec<u8> {
    let ids = || first..first + count;
    let text = |of: i64, every: i64| -> ArrayRef {
        let text =
            move |id: i64| (id % every != 0).then(|| format!("{of}-{}", (id * 7 + first) % of));
        Arc::new(ids().map(text).collect::<StringArray>())
    };
    let score = |id: i64| (id % 11 != 0).then_some((id * 7919) % 1000);
    let message: StringArray =
        ids().map(|id| Some(format!("message {id} {}", "x".repeat(200)))).collect();
    written(
        vec![
            ("id", Arc::new(Int64Array::from_iter_values(ids()))),
            ("region", text(5, 13)),
            ("secret", text(4, 9)),
            ("kind", text(3, 6)),
            ("score", Arc::new(ids().map(score).collect::<Int64Array>())),
            ("message", Arc::new(message)),
        ],
        1000,
    )
}

fn two_files(space: &Workspace) -> Source {
    space.file("a.parquet", events(0, 3500)).file("b.parquet", events(10_000, 1200));
    let files = vec![space.open("a.parquet"), space.open("b.parquet")];
    Source::new(files, SourceOptions::default(), vec!["secret".to_owned()]).unwrap()
}

/// The way of execution, in words.
fn way_of(source: &Source, sql: &str) -> String {
    let seams = Arc::new(Seams::default());
    let tables = [("t".to_owned(), source.clone())];
    let session = Session::open(&engine(), &tables, &meter(), &seams, true).unwrap();
    let plan = session.plan_answer(sql, &[]).unwrap();
    let state = session.context().state();
    let plan = state.optimize(&plan).unwrap();
    let physical = wait(async {
        let plan = session.narrowed(plan, &state).await.unwrap();
        state.query_planner().create_physical_plan(&plan, &state).await.unwrap()
    });
    displayable(tallied(physical).unwrap().as_ref()).indent(false).to_string()
}

/// The same asked in a way that reads all columns as they come.
fn plainly(source: &Source, sql: &str) -> String {
    let joined = sql.replace("FROM t", "FROM t JOIN (SELECT 1 AS one) AS o ON o.one = 1");
    assert_ne!(joined, sql);
    let way = way_of(source, &joined);
    assert!(!way.contains("Tally") && !way.contains("RowGroupScan"), "{way}");
    rows(source, &joined)
}

#[test]
fn a_recursive_query_groups_all_of_it_each_time() {
    let space = Workspace::new();
    let source = two_files(&space);
    let groups = "(SELECT region, count(*) AS c FROM t GROUP BY region) AS g";
    let once = rows(&source, &format!("SELECT sum(c) FROM {groups}"));
    assert_eq!(once, "[[4700]]");
    let sql = format!(
        "WITH RECURSIVE x AS (SELECT 0 AS n, CAST(4700 AS BIGINT) AS found UNION ALL \
         SELECT n + 1, s FROM x CROSS JOIN (SELECT sum(c) AS s FROM {groups}) AS a WHERE n < 3) \
         SELECT n, found FROM x ORDER BY n"
    );
    assert_eq!(rows(&source, &sql), "[[0,4700],[1,4700],[2,4700],[3,4700]]");
}

#[test]
fn groups_by_numbers_of_texts_are_those_of_the_texts() {
    let space = Workspace::new();
    let source = two_files(&space);
    for sql in [
        "SELECT region, count(*), sum(score), avg(score), min(id) FROM t GROUP BY region ORDER BY region",
        "SELECT kind, region, count(score), max(score), count(*) FILTER (WHERE id > 900) FROM t \
         GROUP BY region, kind ORDER BY region, kind",
        "SELECT DISTINCT region, kind FROM t ORDER BY region NULLS FIRST, kind LIMIT 7",
        "SELECT upper(region) AS r, sum(score) FROM t GROUP BY region HAVING count(*) > 20 ORDER BY r",
        "SELECT region, count(DISTINCT region) FROM t GROUP BY region ORDER BY region",
        "SELECT region, stddev(score) > 1 FROM t GROUP BY region ORDER BY region",
    ] {
        let way = way_of(&source, sql);
        assert!(way.contains("Tally"), "{sql}: {way}");
        assert_eq!(rows(&source, sql), plainly(&source, sql), "{sql}");
    }
    // Of which there are no dictionaries, or whose texts are looked at.
    for sql in [
        "SELECT id, count(*) FROM t GROUP BY id ORDER BY id LIMIT 3",
        "SELECT region, max(region), count(*) FROM t GROUP BY region ORDER BY region",
        "SELECT region, count(*) FROM t WHERE id < 50 GROUP BY region ORDER BY region",
        "SELECT upper(region) AS r, count(*) FROM t GROUP BY upper(region) ORDER BY r",
        "SELECT region, kind, count(*) FROM t GROUP BY ROLLUP (region, kind) ORDER BY region, kind, 3",
    ] {
        let way = way_of(&source, sql);
        assert!(!way.contains("Tally"), "{sql}: {way}");
        assert_eq!(rows(&source, sql), plainly(&source, sql), "{sql}");
    }
    let hidden = "SELECT secret, count(*) FROM t GROUP BY secret";
    assert!(ask(&source, hidden).is_err());
}

#[test]
fn more_groups_than_are_held_are_given_away_and_added_up() {
    // Each pair twice, far apart; more pairs than a table or what is held has room for.
    const TEXTS: i64 = 1100;
    let space = Workspace::new();
    let pairs = || (0..2).flat_map(|_| 0..TEXTS * 300);
    let text = |at: fn(i64) -> i64| -> ArrayRef {
        Arc::new(pairs().map(|pair| Some(format!("{}", at(pair)))).collect::<StringArray>())
    };
    let columns = vec![
        ("a", text(|pair| pair % TEXTS)),
        ("b", text(|pair| pair / TEXTS * 4 + pair % 4)),
        ("n", Arc::new(pairs().collect::<Int64Array>()) as ArrayRef),
    ];
    let source = space.file("a.parquet", written(columns, 400_000)).source("a.parquet");
    let odd = "SELECT a, b, count(*) FROM t GROUP BY a, b HAVING count(*) <> 2 OR min(n) <> max(n)";
    assert!(way_of(&source, odd).contains("Tally"));
    let spec = EngineSpec { threads: 2, memory_bytes: 256 * 1024 * 1024, ..EngineSpec::default() };
    let engine = Engine::start(spec).unwrap();
    let rows = |sql: &str| {
        let answer = wait(engine.query(&query(sql, &[("t", &source)]), &budget())).unwrap();
        serde_json::to_string(&answer.table.rows).unwrap()
    };
    assert_eq!(rows(odd), "[]");
    let some = "SELECT a, b, sum(n) FROM t GROUP BY a, b ORDER BY 3 DESC, a LIMIT 1";
    assert_eq!(rows(some), r#"[["1099","1199",659998]]"#);
}

#[test]
fn one_row_group_is_read_by_all_threads() {
    const ROWS: i64 = 300_001;
    let space = Workspace::new();
    let text = |row: i64| (row % 7 != 0).then(|| format!("text {}", row % 5));
    let columns = vec![
        ("text", Arc::new((0..ROWS).map(text).collect::<StringArray>()) as ArrayRef),
        ("n", Arc::new(Int64Array::from_iter_values(0..ROWS))),
    ];
    let source = space.file("a.parquet", written(columns, 1 << 20)).source("a.parquet");
    let sql = "SELECT text, count(*), sum(n), min(n), max(n) FROM t GROUP BY text ORDER BY text";
    assert!(way_of(&source, sql).contains("Tally"));
    assert_eq!(rows(&source, sql), plainly(&source, sql));
    let whole = "SELECT count(*), count(text), sum(n) FROM t";
    assert_eq!(rows(&source, whole), "[[300001,257143,45000150000]]");
    // Of the least and greatest of all, statistics spare what cannot have it.
    assert!(way_of(&source, whole).contains("RowGroupScan"));
    assert!(!way_of(&source, "SELECT min(n), max(text) AS m FROM t").contains("RowGroupScan"));
}

#[test]
fn the_top_of_a_sort_is_the_same_by_places() {
    let space = Workspace::new();
    let source = two_files(&space);
    for sql in [
        "SELECT id, region, score, message FROM t ORDER BY score DESC, id LIMIT 20",
        "SELECT id, message FROM t ORDER BY score NULLS FIRST, id DESC LIMIT 9 OFFSET 3",
        "SELECT id, region, message FROM t WHERE kind = '3-1' AND id < 10500 ORDER BY score, id DESC LIMIT 5",
        "SELECT left(message, 12) AS m, score + 1 AS more FROM t ORDER BY more DESC, id LIMIT 4",
        "SELECT x.id, x.message FROM (SELECT * FROM t) AS x ORDER BY x.region, x.id LIMIT 6",
        "SELECT id, message FROM t WHERE false ORDER BY score LIMIT 6",
        "SELECT id, region, message FROM t WHERE message LIKE '%e 4% x%' ORDER BY score + id, id LIMIT 1000",
    ] {
        let way = way_of(&source, sql);
        let is_empty = way.contains("EmptyExec");
        assert!(way.contains("RowGroupScan") || is_empty, "{sql}: {way}");
        assert_eq!(rows(&source, sql), plainly(&source, sql), "{sql}");
    }
    for sql in [
        // There is nothing else to read.
        "SELECT id, score FROM t ORDER BY score DESC, id LIMIT 20",
        // Nearly all of it is.
        "SELECT id, message FROM t ORDER BY score DESC, id LIMIT 2000",
        // Another time it says something else.
        "SELECT id, message FROM t WHERE random() < 0.5 ORDER BY score, id LIMIT 3",
        "SELECT id, message FROM t ORDER BY random() LIMIT 3",
        "SELECT id, message, uuid() FROM t ORDER BY score, id LIMIT 3",
        "SELECT id, message FROM t WHERE id IN (SELECT id FROM t LIMIT 0) ORDER BY score, id LIMIT 3",
    ] {
        assert!(!way_of(&source, sql).contains("RowGroupScan"), "{sql}");
        assert!(ask(&source, sql).is_ok(), "{sql}");
    }
}

#[test]
fn the_top_of_a_sort_leaves_pages_of_others_unread() {
    let space = Workspace::new();
    let source = space.file("a.parquet", events(0, 20_000)).source("a.parquet");
    let all = ask(&source, "SELECT count(message), max(message) FROM t").unwrap().bytes_read;
    let top = ask(&source, "SELECT id, message FROM t ORDER BY id DESC LIMIT 5").unwrap();
    assert_eq!(top.table.rows.len(), 5);
    assert!(top.bytes_read * 3 < all * 2, "{} of {all}", top.bytes_read);
}

#[test]
fn a_file_that_changes_before_the_rows_of_places_are_read_is_a_conflict() {
    let space = Workspace::new();
    for other in [events(1, 5000), events(0, 5001), events(0, 10)] {
        let source = space.file("a.parquet", events(0, 5000)).source("a.parquet");
        let tables = [("t".to_owned(), source)];
        let session = Session::open(&engine(), &tables, &meter(), &Arc::default(), true).unwrap();
        let sql = "SELECT id, message FROM t ORDER BY score DESC, id LIMIT 5";
        let plan = session.plan_answer(sql, &[]).unwrap();
        let state = session.context().state();
        let plan = state.optimize(&plan).unwrap();
        let plan = wait(session.narrowed(plan, &state)).unwrap();
        assert!(!session.has_grown().unwrap());
        space.file("a.parquet", &other);
        // Whatever comes of it, it is no answer.
        let _ = wait(async {
            session.stream(plan).await?.try_collect::<Vec<_>>().await.map_err(|e| fault_of(&e))
        });
        assert_eq!(session.has_grown().unwrap_err().kind(), FaultKind::Conflict);
    }
}

//! Few bytes that a query makes many of: what windows collect, and long rows that are repeated.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::file::properties::WriterProperties;
use futures::TryStreamExt as _;
use roothold_core::{Budget, Fault, FaultKind};
use serde_json::json;

use super::super::{Reading, Session};
use crate::limits::{BATCH_BYTES_MAX, GATHERED_BYTES_MAX};
use crate::refusal::fault_of;
use crate::scan::Seams;
use crate::testing::{Workspace, ask, budget, meter, query, rows, wait};
use crate::{Engine, EngineSpec, Source};

/// Rows with a number and a text of twenty characters.
fn pads(space: &Workspace, rows: usize) -> Source {
    let mut text = "id,pad\n".to_owned();
    (0..rows).for_each(|id| writeln!(text, "{id},{id:x>20}").unwrap());
    space.file("pads.csv", text).source("pads.csv")
}

/// Rows that all have one text, which stands once in the file.
pub(crate) fn one_text(bytes: usize, rows: i32) -> Vec<u8> {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(bytes)]));
    let keys = Int32Array::from_iter_values((0..rows).map(|_| 0));
    let texts: ArrayRef = Arc::new(DictionaryArray::new(keys, texts));
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("id", ids), ("s", texts)]).unwrap();
    let properties =
        WriterProperties::builder().set_dictionary_page_size_limit(16 * 1024 * 1024).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// An engine with a pool of 64 MiB, and a folder for what does not fit.
fn spilling(space: &Workspace) -> Engine {
    let spill_directory = Some(space.disk("spill"));
    let memory_bytes = 64 << 20;
    Engine::start(EngineSpec { threads: 2, memory_bytes, spill_directory, ..EngineSpec::default() })
        .unwrap()
}

/// The longest batch that comes of a query, in bytes, and its rows.
fn longest_batch(space: &Workspace, source: &Source, sql: &str) -> Result<(usize, usize), Fault> {
    let (engine, mut way) = (spilling(space), Reading::default());
    loop {
        let seams = Arc::new(Seams::default());
        let tables = [("t".to_owned(), source.clone())];
        let session = Session::open(&engine, &tables, &meter(), &seams, way.is_cut)?;
        let session = session.in_batches_of(way.rows);
        let plan = session.plan(sql, &[])?;
        let found = wait(async {
            let stream = session.stream(plan).await?;
            let longest = stream.try_fold((0, 0), |(bytes, rows), batch| async move {
                Ok((bytes.max(batch.get_array_memory_size()), rows + batch.num_rows()))
            });
            longest.await.map_err(|error| fault_of(&error))
        });
        match way.other(session.widths(), seams.hold()) {
            Some(other) => way = other,
            None => return found,
        }
    }
}

#[test]
fn windows_that_collect_all_rows_for_each_are_refused() {
    let space = Workspace::new();
    let source = pads(&space, 20_000);
    for sql in [
        "SELECT max(length(s)) FROM (SELECT string_agg(pad, ',') OVER (ORDER BY id) s FROM t)",
        "SELECT max(array_length(s)) FROM (SELECT array_agg(pad) OVER (ORDER BY id) s FROM t)",
        "SELECT max(length(s)) FROM (SELECT string_agg(pad, ',') OVER () s FROM t)",
        "SELECT max(length(s)) FROM (SELECT string_agg(pad, ',') OVER (PARTITION BY id % 2) s FROM t)",
        "SELECT max(array_length(s)) FROM (SELECT array_agg(pad) OVER \
         (ORDER BY id ROWS BETWEEN 5000 PRECEDING AND CURRENT ROW) s FROM t)",
        "SELECT max(array_length(s)) FROM (SELECT array_agg(pad) OVER \
         (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) s FROM t)",
    ] {
        let fault = ask(&source, sql).err().unwrap_or_else(|| panic!("{sql}"));
        assert_eq!(fault.kind(), FaultKind::Limit, "{sql}: {fault}");
    }
    for (sql, expected) in [
        ("SELECT max(sum) FROM (SELECT sum(id) OVER (ORDER BY id) sum FROM t)", "[[199990000]]"),
        (
            "SELECT max(length(s)) FROM (SELECT string_agg(pad, ',') OVER (PARTITION BY id / 10 ORDER BY id) s FROM t)",
            "[[209]]",
        ),
        (
            "SELECT max(array_length(s)) FROM (SELECT array_agg(pad) OVER \
             (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) s FROM t)",
            "[[3]]",
        ),
        (
            "SELECT count(*) FROM (SELECT pad, max(pad) OVER (ORDER BY id) m, first_value(pad) OVER \
             (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) f FROM t) \
             WHERE m = pad OR f = pad",
            "[[10]]",
        ),
        (
            "SELECT count(DISTINCT m) FROM (SELECT median(id) OVER (PARTITION BY id % 100) m FROM t)",
            "[[100]]",
        ),
    ] {
        assert_eq!(rows(&source, sql), expected, "{sql}");
    }
}

#[test]
fn windows_end_with_their_budget() {
    let space = Workspace::new();
    let source = pads(&space, 200_000);
    let engine = Engine::start(EngineSpec { threads: 1, ..EngineSpec::default() }).unwrap();
    for sql in [
        "SELECT max(m) FROM (SELECT median(id) OVER (ORDER BY id) m FROM t)",
        "SELECT max(m) FROM (SELECT median(id) OVER \
         (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) m FROM t)",
    ] {
        let short = Budget::new(64 * 1024, 100, Duration::from_millis(500));
        let fault = wait(engine.query(&query(sql, &[("t", &source)]), &short)).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Timeout, "{sql}: {fault}");
    }
    // Its only thread is free again: what was asked for would take it for minutes.
    let soon = Budget::new(64 * 1024, 100, Duration::from_secs(40));
    let asked = query("SELECT count(*) FROM t", &[("t", &source)]);
    assert_eq!(json!(wait(engine.query(&asked, &soon)).unwrap().table.rows), json!([[200_000]]));
}

#[test]
fn a_slow_window_leaves_its_thread_to_others() {
    let space = Workspace::new();
    let source = pads(&space, 200_000);
    let engine = Engine::start(EngineSpec { threads: 1, ..EngineSpec::default() }).unwrap();
    for frame in ["ORDER BY id", "ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"] {
        let sql = format!("SELECT max(m) FROM (SELECT median(id) OVER ({frame}) m FROM t)");
        let (slow, quick) =
            (query(&sql, &[("t", &source)]), query("SELECT count(*) FROM t", &[("t", &source)]));
        let budget = budget();
        wait(async {
            let slow = engine.query(&slow, &budget);
            let quick = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                engine.query(&quick, &budget).await
            };
            tokio::select! {
                ended = slow => panic!("{frame}: it was not slow: {ended:?}"),
                answer = quick => assert_eq!(json!(answer.unwrap().table.rows), json!([[200_000]])),
            }
        });
    }
}

#[test]
fn long_rows_are_repeated_few_at_a_time() {
    let space = Workspace::new();
    let source = pads(&space, 2000);
    let collected = "(SELECT string_agg(pad, ',') s, array_agg(pad) l FROM t) a CROSS JOIN t b";
    for (select, rows) in [
        (format!("SELECT s || id FROM {collected}"), 2000),
        (format!("SELECT array_concat(l, l) FROM {collected}"), 2000),
        (format!("SELECT s, pad FROM {collected} WHERE s || id LIKE '%x%'"), 2000),
        (format!("SELECT unnest(l), id FROM {collected} WHERE id < 500"), 1_000_000),
        ("SELECT a.s FROM (SELECT string_agg(pad, ',') s, 0 k FROM t) a JOIN t b ON b.id % 1 = a.k".to_owned(), 2000),
    ] {
        let (bytes, count) = longest_batch(&space, &source, &select).unwrap();
        assert_eq!(count, rows, "{select}");
        // The text of what is given besides what it was made of.
        assert!(bytes as u64 <= 3 * BATCH_BYTES_MAX, "{select}: {bytes}");
    }
    let sql = format!("SELECT sum(length(s || 'x')), count(*) FROM {collected}");
    assert_eq!(self::rows(&source, &sql), format!("[[{},2000]]", 2000 * (2000 * 21)));
    let sql = format!("SELECT count(u) FROM (SELECT unnest(l) u FROM {collected} WHERE id < 100)");
    assert_eq!(self::rows(&source, &sql), "[[200000]]");
}

#[test]
fn a_row_that_is_too_long_to_be_repeated_is_refused() {
    let space = Workspace::new();
    let text = format!("id,s\n{}", format!("1,{}\n", "x".repeat(7 << 20)).repeat(3));
    let source = space.file("a.csv", text).source("a.csv");
    assert_eq!(rows(&source, "SELECT sum(length(s)) FROM t"), format!("[[{}]]", 3 * (7 << 20)));
    let sql = "SELECT sum(length(a.s || a.s || a.s)) FROM t a CROSS JOIN t b";
    let fault = ask(&source, sql).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    assert!(fault.public().contains("left(x, 1000)"), "{fault}");
}

#[test]
fn a_text_that_parquet_holds_once_is_not_copied_for_thousands_of_rows() {
    let space = Workspace::new();
    let engine = spilling(&space);
    let rows = |source: &Source, sql: &str| {
        let answer = wait(engine.query(&query(sql, &[("t", source)]), &budget())).unwrap();
        serde_json::to_string(&answer.table.rows).unwrap()
    };
    let source = space.file("a.parquet", one_text(200_000, 5000)).source("a.parquet");
    for (sql, expected) in
        [("SELECT s FROM t", 5000), ("SELECT s || id AS x, id FROM t WHERE id >= 100", 4900)]
    {
        let (bytes, count) = longest_batch(&space, &source, sql).unwrap();
        assert_eq!(count, expected, "{sql}");
        // A buffer that grows is up to twice as long as what it holds.
        assert!(bytes as u64 <= 3 * GATHERED_BYTES_MAX, "{sql}: {bytes}");
    }
    assert_eq!(rows(&source, "SELECT count(*) FROM t WHERE s || id LIKE '%y%'"), "[[0]]");
    // Two thousand of these are longer than an array of texts can be.
    let source = space.file("b.parquet", one_text(1_100_000, 3000)).source("b.parquet");
    let longest = "SELECT count(*), max(length(s)) FROM t";
    assert_eq!(rows(&source, longest), "[[3000,1100000]]");
    assert_eq!(
        rows(&source, "SELECT id FROM t WHERE s LIKE '%x' ORDER BY id DESC LIMIT 1"),
        "[[2999]]"
    );
    let fault = ask(&source, "SELECT s FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "an answer has 64 KiB: {fault}");
}

//! Parquet files, whole and hostile.

use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use roothold_core::FaultKind;

use crate::testing::{Workspace, ask, budget, engine, engine_with, query, rows, wait};
use crate::{Limits, Source, SourceOptions};

fn batch(rows: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..rows);
    let names: StringArray = (0..rows).map(|row| Some(format!("name {}", row % 10))).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(numbers) as _),
        ("name", Arc::new(names) as _),
        ("SSN", Arc::new(Int64Array::from_iter_values((0..rows).rev())) as _),
    ])
    .unwrap()
}

fn file(rows: i64) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(1000))
        .build();
    let batch = batch(rows);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Numbers, each as eight bytes, in many groups.
pub(super) fn numbers(rows: i64) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(10_000))
        .build();
    let numbers = Int64Array::from_iter_values(0..rows);
    let batch = RecordBatch::try_from_iter([("id", Arc::new(numbers) as _)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn parquet_is_queried_by_its_visible_columns() {
    let space = Workspace::new();
    // By its content, whatever its name.
    space.file("a.csv", file(5000));
    let hidden = vec!["ssn".to_owned()];
    let source = Source::new(vec![space.open("a.csv")], SourceOptions::default(), hidden).unwrap();
    assert_eq!(rows(&source, "SELECT * FROM t WHERE id = 4321"), r#"[[4321,"name 1"]]"#);
    assert_eq!(rows(&source, "SELECT count(*), max(id) FROM t"), "[[5000,4999]]");
    let top = "SELECT id, name FROM t ORDER BY name DESC, id DESC LIMIT 2";
    assert_eq!(rows(&source, top), r#"[[4999,"name 9"],[4989,"name 9"]]"#);
    for sql in ["SELECT \"SSN\" FROM t", "SELECT 1 FROM t WHERE \"SSN\" = 3"] {
        assert_eq!(ask(&source, sql).unwrap_err().kind(), FaultKind::Invalid);
    }
    let description = wait(engine().describe(&source, 3, &budget())).unwrap();
    assert_eq!((description.rows, description.rows_exact), (Some(5000), true));
    assert_eq!(description.columns.len(), 2);
    assert_eq!(description.sample.rows.len(), 3);
}

#[test]
fn figures_and_groups_of_texts_are_the_same_however_texts_are_read() {
    let space = Workspace::new();
    space.file("a.parquet", file(5000));
    let hidden = vec!["ssn".to_owned()];
    let source =
        Source::new(vec![space.open("a.parquet")], SourceOptions::default(), hidden).unwrap();
    // A join is asked the same without views.
    for from in ["t", "t JOIN (SELECT 1 AS one) AS o ON o.one = 1"] {
        for (sql, expected) in [
            ("SELECT count(*) FROM $ WHERE name LIKE '%e 7'", "[[500]]"),
            (
                "SELECT min(name), max(name), count(DISTINCT name) FROM $",
                r#"[["name 0","name 9",10]]"#,
            ),
            (
                "SELECT name, count(*), sum(id) FROM $ WHERE id < 20 GROUP BY name ORDER BY name LIMIT 2",
                r#"[["name 0",2,10],["name 1",2,12]]"#,
            ),
            (
                "SELECT DISTINCT name FROM $ WHERE id < 2 ORDER BY name",
                r#"[["name 0"],["name 1"]]"#,
            ),
            (
                "SELECT upper(name) || '!' FROM (SELECT name FROM $ GROUP BY name) WHERE name > 'name 8'",
                r#"[["NAME 9!"]]"#,
            ),
            ("SELECT count(*) FROM $ WHERE name IN (SELECT 'name 3')", "[[500]]"),
        ] {
            assert_eq!(rows(&source, &sql.replace('$', from)), expected, "{sql}");
        }
        for sql in ["SELECT max(name) FROM $", "SELECT name FROM $"] {
            let answer = ask(&source, &sql.replace('$', from)).unwrap();
            assert_eq!(answer.table.columns[0].kind, "text");
        }
        let missing = format!("SELECT count(*) FROM {from} WHERE \"SSN\" = 3");
        assert_eq!(ask(&source, &missing).unwrap_err().kind(), FaultKind::Invalid, "hidden");
    }
}

#[test]
fn two_parquet_files_are_one_table() {
    let space = Workspace::new();
    space.file("a.parquet", file(10)).file("b.parquet", file(20));
    let files = vec![space.open("a.parquet"), space.open("b.parquet")];
    let source = Source::new(files, SourceOptions::default(), Vec::new()).unwrap();
    assert_eq!(rows(&source, "SELECT count(*), sum(id) FROM t"), "[[30,235]]");
}

#[test]
fn damaged_files_are_errors_and_the_engine_lives() {
    let space = Workspace::new();
    let engine = engine();
    let whole = file(3000);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let mut refused = 0;
    for round in 0..300 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(random(whole.len())),
            // Mostly in the footer.
            1 => (0..4).for_each(|_| {
                let at = whole.len() - 1 - random(900);
                bytes[at] = u8::try_from(random(256)).unwrap();
            }),
            _ => (0..8).for_each(|_| {
                let at = random(whole.len());
                bytes[at] ^= 1 << random(8);
            }),
        }
        let source = space.file("a.parquet", &bytes).source("a.parquet");
        let sql = "SELECT name, count(*), sum(id), max(\"SSN\") FROM t GROUP BY name ORDER BY name";
        let answer = wait(engine.query(&query(sql, &[("t", &source)]), &budget()));
        if let Err(fault) = answer {
            refused += 1;
            assert!(
                !matches!(fault.kind(), FaultKind::Timeout | FaultKind::Cancelled),
                "{round}: {fault}"
            );
        }
        let _ = wait(engine.describe(&source, 3, &budget()));
    }
    assert!(refused > 150, "{refused}");
    let source = space.file("b.parquet", &whole).source("b.parquet");
    let answer = wait(engine.query(&query("SELECT count(*) FROM t", &[("t", &source)]), &budget()));
    assert_eq!(answer.unwrap().table.rows.len(), 1);
}

#[test]
fn what_the_end_of_a_file_says_is_not_believed() {
    let space = Workspace::new();
    let whole = file(100);
    let with_end = |length: u32, magic: &[u8]| {
        let mut bytes = whole[..whole.len() - 8].to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(magic);
        bytes
    };
    // A list of 2^31 - 1 row groups: field 1 a number, field 2 a schema of one element, field 4.
    let groups = b"\x15\x02\x19\x1c\x48\x01x\x15\x00\x00\x29\xfc\xff\xff\xff\xff\x07";
    let mut many = b"PAR1".to_vec();
    many.extend_from_slice(groups);
    many.extend_from_slice(&u32::try_from(groups.len()).unwrap().to_le_bytes());
    many.extend_from_slice(b"PAR1");
    for (bytes, kind) in [
        (with_end(u32::MAX, b"PAR1"), FaultKind::Invalid),
        (with_end(0, b"PAR1"), FaultKind::Invalid),
        (with_end(7, b"PAR1"), FaultKind::Invalid),
        (with_end(100, b"PARE"), FaultKind::Unsupported),
        (with_end(100, b"XXXX"), FaultKind::Invalid),
        (b"PAR1".to_vec(), FaultKind::Invalid),
        (b"PAR1PAR1".to_vec(), FaultKind::Invalid),
        (many, FaultKind::Invalid),
    ] {
        let source = space.file("a.parquet", bytes).source("a.parquet");
        let fault = ask(&source, "SELECT * FROM t").unwrap_err();
        assert_eq!(fault.kind(), kind, "{fault}");
        assert!(fault.public().contains("/data/a.parquet"), "{fault}");
    }
}

#[test]
fn pages_and_row_groups_have_limits() {
    let space = Workspace::new();
    let source = space.file("a.parquet", file(3000)).source("a.parquet");
    let asked = query("SELECT count(name) FROM t", &[("t", &source)]);
    for (limits, is_fine) in [
        (Limits { page_bytes_max: 100, ..Limits::default() }, false),
        (Limits { row_groups_max: 2, ..Limits::default() }, false),
        (Limits { footer_bytes_max: 10, ..Limits::default() }, false),
        (Limits { row_groups_max: 3, ..Limits::default() }, true),
    ] {
        let answer = wait(engine_with(limits).query(&asked, &budget()));
        match answer {
            Ok(_) => assert!(is_fine),
            Err(fault) => {
                assert!(!is_fine, "{fault}");
                assert!(matches!(fault.kind(), FaultKind::Limit | FaultKind::Invalid), "{fault}");
            }
        }
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_a_conflict() {
    let space = Workspace::new();
    let source = space.file("a.parquet", file(3000)).source("a.parquet");
    assert_eq!(rows(&source, "SELECT count(*) FROM t"), "[[3000]]");
    space.file("a.parquet", file(100));
    let fault = ask(&source, "SELECT sum(id) FROM t").unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Conflict | FaultKind::Invalid), "{fault}");
    // A longer one, too: the end says what stands before it.
    let source = space.file("a.parquet", file(100)).source("a.parquet");
    space.file("a.parquet", file(3000));
    let fault = ask(&source, "SELECT sum(id) FROM t").unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Conflict | FaultKind::Invalid), "{fault}");
    let source = space.file("a.csv", "a\n1\n2\n").source("a.csv");
    space.file("a.csv", "a\n1\n");
    let fault = ask(&source, "SELECT sum(a) FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict, "{fault}");
    // A log that grows is read as far as it was.
    let source = space.file("a.csv", "a\n1\n2\n").source("a.csv");
    space.file("a.csv", "a\n1\n2\n3\n");
    let answer = ask(&source, "SELECT sum(a) FROM t").unwrap();
    assert!(answer.has_grown);
    assert_eq!(answer.table.rows, [[serde_json::json!(3)]]);
}

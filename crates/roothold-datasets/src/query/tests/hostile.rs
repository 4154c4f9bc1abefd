//! Files that mean harm.

use std::io::Write as _;

use roothold_core::FaultKind;

use crate::testing::{Workspace, ask, budget, engine_with, query, rows, wait};
use crate::{Limits, SourceOptions};

#[test]
fn archives_and_what_else_is_no_table_are_refused_by_name() {
    let space = Workspace::new();
    let mut tar = vec![0_u8; 1024];
    tar[..5].copy_from_slice(b"a.csv");
    tar[257..262].copy_from_slice(b"ustar");
    let packed_tar = zstd::stream::encode_all(&tar[..], 1).unwrap();
    let twice =
        zstd::stream::encode_all(&zstd::stream::encode_all(&b"a\n1\n"[..], 1).unwrap()[..], 1)
            .unwrap();
    for (bytes, says) in [
        (b"PK\x03\x04rest of it".to_vec(), "a zip archive"),
        (b"ARROW1\0\0\x10\0\0\0".to_vec(), "an Arrow IPC file"),
        (b"\xff\xff\xff\xff\x10\0\0\0".to_vec(), "an Arrow IPC stream"),
        (b"SQLite format 3\0\x10\0".to_vec(), "a SQLite database"),
        (tar, "a tar archive"),
        (packed_tar, "a tar archive"),
        (twice, "decompress it once"),
        (vec![0; 100_000], "NUL bytes"),
        (b"a,b\n1,\0\n".to_vec(), "NUL bytes"),
        (b"\x04\x22\x4d\x18xxxx".to_vec(), "lz4"),
    ] {
        let source = space.file("a.csv", bytes).source("a.csv");
        let fault = ask(&source, "SELECT * FROM t").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unsupported, "{fault}");
        assert!(fault.public().contains(says), "{fault}");
    }
    let source = space.file("a.csv", b"").source("a.csv");
    assert!(ask(&source, "SELECT 1 FROM t").unwrap_err().public().contains("is empty"));
}

#[test]
fn bombs_are_noticed_while_little_of_them_is_read() {
    let space = Workspace::new();
    let text = [b"a\n".to_vec(), b"0\n".repeat(1024 * 1024)].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..100 {
        gzip.write_all(&text[2..]).unwrap();
        zstd.write_all(&text[2..]).unwrap();
    }
    for bytes in [gzip.finish().unwrap(), zstd.finish().unwrap()] {
        let source = space.file("a.csv.gz", bytes).source("a.csv.gz");
        let fault = ask(&source, "SELECT count(*) FROM t").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
        assert!(fault.public().contains("taken for an attack"), "{fault}");
    }
    // One line of zeros is no table, however little it takes.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..40).for_each(|_| gzip.write_all(&vec![b'0'; 1024 * 1024]).unwrap());
    let source = space.file("b.csv.gz", gzip.finish().unwrap()).source("b.csv.gz");
    let fault = ask(&source, "SELECT count(*) FROM t").unwrap_err();
    assert!(fault.public().contains("line 1 is longer than"), "{fault}");
}

#[test]
fn a_window_of_gigabytes_is_refused() {
    let space = Workspace::new();
    // A frame that claims a window of 2 GiB.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    let source = space.file("a.csv.zst", frame).source("a.csv.zst");
    let fault = ask(&source, "SELECT 1 FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
}

#[test]
fn garbage_behind_a_stream_is_an_error() {
    let space = Workspace::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"a\n1\n").unwrap();
    let bytes = [gzip.finish().unwrap(), b"garbage behind it".to_vec()].concat();
    let source = space.file("a.csv.gz", bytes).source("a.csv.gz");
    let fault = ask(&source, "SELECT 1 FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
}

#[test]
fn too_many_columns_are_too_many() {
    let space = Workspace::new();
    let header: Vec<String> = (0..200_000).map(|number| format!("c{number}")).collect();
    let source = space.file("a.csv", header.join(",") + "\n").source("a.csv");
    let fault = ask(&source, "SELECT * FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    let members: Vec<String> = (0..5000).map(|number| format!("\"c{number}\":1")).collect();
    let source = space.file("a.jsonl", format!("{{{}}}\n", members.join(","))).source("a.jsonl");
    let fault = ask(&source, "SELECT * FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    // As many as are allowed are read, with batches that fit.
    let header: Vec<String> = (0..4096).map(|number| format!("c{number}")).collect();
    let row = vec!["1"; 4096].join(",") + "\n";
    let source = space.file("b.csv", header.join(",") + "\n" + &row.repeat(500)).source("b.csv");
    assert_eq!(rows(&source, "SELECT sum(c0), sum(c4095) FROM t"), "[[500,500]]");
}

#[test]
fn a_line_without_end_is_a_limit() {
    let space = Workspace::new();
    let source =
        space.file("a.csv", format!("a\n1\n{}", "x".repeat(20 * 1024 * 1024))).source("a.csv");
    let fault = ask(&source, "SELECT max(a) FROM t").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    assert!(fault.public().contains("line 3: the record is longer"), "{fault}");
    let source = space.source_with("a.csv", serde_json::from_str(r#"{"format": "text"}"#).unwrap());
    assert_eq!(ask(&source, "SELECT max(line) FROM t").unwrap_err().kind(), FaultKind::Limit);
}

#[test]
fn a_column_that_changes_late_is_an_error_with_its_line() {
    let space = Workspace::new();
    let text = format!("a,b\n{}x,y\n{}", "1,y\n".repeat(3_000_000), "1,y\n".repeat(10));
    let source = space.file("a.csv", text).source("a.csv");
    let fault = ask(&source, "SELECT sum(a) FROM t").unwrap_err();
    assert!(
        fault
            .public()
            .contains("/data/a.csv line 3000002 has something else than integer in the column `a`"),
        "{fault}"
    );
    let options: SourceOptions = serde_json::from_str(r#"{"types": {"a": "text"}}"#).unwrap();
    let source = source.with_options(options).unwrap();
    assert_eq!(rows(&source, "SELECT count(*), max(a) FROM t"), r#"[[3000011,"x"]]"#);
    // Nobody asks for the column: nothing is wrong.
    let source = space.source("a.csv");
    assert_eq!(rows(&source, "SELECT count(DISTINCT b) FROM t"), "[[1]]");
}

#[test]
fn quoted_line_ends_at_any_place_do_not_change_an_answer() {
    let space = Workspace::new();
    // Most of the file is inside quotes, and what is inside looks like records.
    let block = format!("1,\"{}\"\n", "7,seven\n".repeat(50_000));
    let source = space.file("a.csv", format!("a,b\n{}", block.repeat(12))).source("a.csv");
    assert_eq!(rows(&source, "SELECT sum(a), count(*) FROM t"), "[[12,12]]");
    assert_eq!(rows(&source, "SELECT a FROM t WHERE a = 7 LIMIT 5"), "[]");
    assert_eq!(rows(&source, "SELECT a FROM t LIMIT 1"), "[[1]]");
}

#[test]
fn a_small_pool_is_an_error_and_not_the_end() {
    let space = Workspace::new();
    let text: String = (0..300_000).map(|number| format!("{number},{}\n", number * 7)).collect();
    let source = space.file("a.csv", format!("a,b\n{text}")).source("a.csv");
    let engine = crate::Engine::start(crate::EngineSpec {
        threads: 2,
        memory_bytes: 2 * 1024 * 1024,
        limits: Limits::default(),
        ..crate::EngineSpec::default()
    })
    .unwrap();
    let asked =
        query("SELECT a, count(*), array_agg(b) FROM t GROUP BY a ORDER BY a", &[("t", &source)]);
    let fault = wait(engine.query(&asked, &budget())).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    let asked = query("SELECT count(*) FROM t", &[("t", &source)]);
    assert!(wait(engine.query(&asked, &budget())).is_ok());
    let _ = engine_with(Limits::default());
}

#[test]
fn what_does_not_fit_goes_to_the_folder_and_the_folder_goes() {
    let space = Workspace::new();
    let text: String = (0..3_000_000).map(|number| format!("{number},{}\n", number * 7)).collect();
    let source = space.file("a.csv", format!("a,b\n{text}")).source("a.csv");
    let folder = space.disk("spill");
    let spec = crate::EngineSpec {
        threads: 2,
        memory_bytes: 64 * 1024 * 1024,
        spill_directory: Some(folder.clone()),
        ..crate::EngineSpec::default()
    };
    let without = crate::EngineSpec { spill_directory: None, ..spec.clone() };
    let small = crate::EngineSpec { spill_bytes_max: 1024 * 1024, ..spec.clone() };
    let full = crate::EngineSpec { spill_free_bytes_min: Some(u64::MAX), ..spec.clone() };
    let engine = crate::Engine::start(spec).unwrap();
    let mut asked = query("SELECT b, a FROM t ORDER BY b DESC, a", &[("t", &source)]);
    asked.offset = 2_999_999;
    let answer = wait(engine.query(&asked, &budget())).unwrap();
    assert_eq!(serde_json::to_string(&answer.table.rows).unwrap(), "[[0,0]]");
    let figures = engine.figures();
    assert_eq!((figures.spill_bytes, figures.spill_bytes_max), (0, 8 << 30));
    let without = crate::Engine::start(without).unwrap();
    assert_eq!(without.figures().spill_bytes_max, 0);
    for (spec, why) in
        [(None, "memory"), (Some(small), "temporary disk space"), (Some(full), "the server's disk")]
    {
        let engine = spec.map_or(without.clone(), |spec| crate::Engine::start(spec).unwrap());
        let fault = wait(engine.query(&asked, &budget())).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
        assert!(fault.to_string().contains(why), "{why}: {fault}");
        assert_eq!(engine.figures().spill_bytes, 0, "{why}");
    }
    drop(engine);
    let count = || walk(&folder);
    for _ in 0..500 {
        if count() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} entries are left", count());
}

fn walk(folder: &std::path::Path) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the test looks at what is left on disk")]
    let entries = std::fs::read_dir(folder).unwrap();
    entries.count()
}

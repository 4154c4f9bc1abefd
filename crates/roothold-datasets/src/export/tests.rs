use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use roothold_core::FaultKind;

use super::{ExportFormat, MakeWriter};
use crate::Source;
use crate::testing::{Workspace, budget, engine, query, rows, wait};

/// A file in memory that is emptied each time a writer of it is made.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn export(source: &Source, sql: &str, format: ExportFormat, guards: bool) -> Vec<u8> {
    let shared = Shared::default();
    let inner = shared.clone();
    let make: MakeWriter = Box::new(move || {
        inner.0.lock().unwrap().clear();
        Ok(Box::new(inner.clone()))
    });
    let asked = query(sql, &[("t", source)]);
    wait(engine().export(&asked, format, guards, make, &budget())).unwrap();
    shared.0.lock().unwrap().clone()
}

fn text(source: &Source, sql: &str, format: ExportFormat, guards: bool) -> String {
    String::from_utf8(export(source, sql, format, guards)).unwrap()
}

#[test]
fn formulas_are_guarded_in_csv_and_nowhere_else() {
    let space = Workspace::new();
    let content = "n,cell\n1,\"=HYPERLINK(\"\"x\"\")\"\n2,+cmd|' /C calc'!A0\n3,@SUM(1)\n4,\"\t=1\"\n5,-5\n6,plain\n";
    let source = space.file("a.csv", content).source("a.csv");
    let sql = "SELECT n, cell, '=1+1' AS \"=head\" FROM t ORDER BY n";
    assert_eq!(
        text(&source, sql, ExportFormat::Csv, true),
        "n,cell,'=head\n1,\"'=HYPERLINK(\"\"x\"\")\",'=1+1\n2,'+cmd|' /C calc'!A0,'=1+1\n3,'@SUM(1),'=1+1\n4,'\t=1,'=1+1\n5,-5,'=1+1\n6,plain,'=1+1\n"
    );
    let plain = text(&source, sql, ExportFormat::Csv, false);
    assert!(plain.contains("3,@SUM(1),=1+1\n"), "{plain}");
    let lines = text(&source, sql, ExportFormat::Jsonl, true);
    assert!(
        lines.starts_with("{\"n\":1,\"cell\":\"=HYPERLINK(\\\"x\\\")\",\"=head\":\"=1+1\"}\n"),
        "{lines}"
    );
}

#[test]
fn what_is_written_is_read_again() {
    let space = Workspace::new();
    let content = "id,name,day,m\n1,\"a,\"\"b\",2026-01-02,1.5\n2,,2026-01-03,\n3,\"x\ny\",,2\n";
    let source = space.file("a.csv", content).source("a.csv");
    let sql = "SELECT * FROM t ORDER BY id";
    let expected = rows(&source, sql);
    for (format, name) in [
        (ExportFormat::Parquet, "b.parquet"),
        (ExportFormat::Csv, "b.csv"),
        (ExportFormat::Jsonl, "b.jsonl"),
    ] {
        let written = export(&source, sql, format, true);
        let again = space.file(name, written).source(name);
        let again = rows(&again, "SELECT id, name, CAST(day AS DATE) AS day, m FROM t ORDER BY id");
        assert_eq!(again, expected, "{name}");
    }
}

#[test]
fn nothing_is_a_file_too() {
    let space = Workspace::new();
    let source = space.file("a.csv", "a,b\n1,x\n").source("a.csv");
    let sql = "SELECT a, b FROM t WHERE a > 5";
    assert_eq!(text(&source, sql, ExportFormat::Csv, true), "a,b\n");
    assert_eq!(text(&source, sql, ExportFormat::Jsonl, true), "");
    let parquet = export(&source, sql, ExportFormat::Parquet, true);
    let again = space.file("b.parquet", parquet).source("b.parquet");
    assert_eq!(rows(&again, "SELECT count(*) FROM t"), "[[0]]");
}

#[test]
fn a_file_that_has_seams_is_written_once_more_in_one_piece() {
    let space = Workspace::new();
    let block = format!("1,\"{}\"\n", "7,seven\n".repeat(50_000));
    let source = space.file("a.csv", format!("a,b\n{}", block.repeat(12))).source("a.csv");
    let written = text(&source, "SELECT a, length(b) AS l FROM t", ExportFormat::Csv, true);
    assert_eq!(written, format!("a,l\n{}", "1,400000\n".repeat(12)));
}

#[test]
fn lists_are_json_in_csv_and_two_columns_of_one_name_are_refused() {
    let space = Workspace::new();
    let source = space.file("a.jsonl", "{\"a\":[1,2],\"b\":{\"c\":\"x\"}}\n").source("a.jsonl");
    let written = text(&source, "SELECT a, b FROM t", ExportFormat::Csv, true);
    assert_eq!(written, "a,b\n\"[1,2]\",\"{\"\"c\"\":\"\"x\"\"}\"\n");
    let asked = query("SELECT x.a, y.a FROM t x, t y", &[("t", &source)]);
    let make: MakeWriter = Box::new(|| Ok(Box::new(Vec::new())));
    let fault = wait(engine().export(&asked, ExportFormat::Csv, true, make, &budget()));
    assert_eq!(fault.unwrap_err().kind(), FaultKind::Invalid);
}

#[test]
fn a_writer_that_fails_is_unavailable() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }
    let space = Workspace::new();
    let source = space.file("a.csv", "a\n1\n").source("a.csv");
    for format in [ExportFormat::Parquet, ExportFormat::Csv, ExportFormat::Jsonl] {
        let make: MakeWriter = Box::new(|| Ok(Box::new(Full)));
        let asked = query("SELECT a FROM t", &[("t", &source)]);
        let fault = wait(engine().export(&asked, format, true, make, &budget())).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{format:?} {fault}");
    }
}

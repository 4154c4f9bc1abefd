//! Formats, compressions, encodings and odd forms of each.

use std::io::Write as _;

use roothold_core::FaultKind;

use crate::testing::{Workspace, ask, rows};
use crate::{Source, SourceOptions};

fn options(text: &str) -> SourceOptions {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_compression_is_found_by_content() {
    let space = Workspace::new();
    let text = "a,b\n1,x\n2,y\n";
    let gzip = |level| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(text.as_bytes()).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(text.as_bytes()).unwrap();
    let (bzip2, xz) = (bzip2.finish().unwrap(), xz.finish().unwrap());
    for packed in [gzip(flate2::Compression::fast()), zstd, bzip2, xz] {
        // Whatever the name says; and several members, one behind the other.
        let source = space.file("a.csv", &packed).source("a.csv");
        assert_eq!(rows(&source, "SELECT * FROM t ORDER BY a"), r#"[[1,"x"],[2,"y"]]"#);
        let source = space
            .file("a.csv.gz", packed.repeat(2))
            .source_with("a.csv.gz", options(r#"{"types": {"*": "text"}}"#));
        assert_eq!(rows(&source, "SELECT count(*) FROM t"), "[[5]]");
        // Cut off, and damaged.
        let cut = &packed[..packed.len() - 5];
        let source = space.file("cut.csv", cut).source("cut.csv");
        let fault = ask(&source, "SELECT count(*) FROM t").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
        assert!(fault.public().contains("stream is damaged"), "{fault}");
    }
}

#[test]
fn every_encoding_is_read_or_named() {
    let space = Workspace::new();
    let text = "näme,b\nÜ€,1\n";
    let utf16 = |order: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(order).collect()
    };
    let expected = r#"[["Ü€",1]]"#;
    let marked = [
        format!("\u{feff}{text}").into_bytes(),
        utf16(u16::to_le_bytes, true),
        utf16(u16::to_be_bytes, true),
        text.as_bytes().to_vec(),
    ];
    for bytes in &marked {
        let source = space.file("a.csv", bytes).source("a.csv");
        assert_eq!(rows(&source, "SELECT \"näme\", b FROM t"), expected);
        let packed = zstd::stream::encode_all(&bytes[..], 1).unwrap();
        let source = space.file("a.csv.zst", packed).source("a.csv.zst");
        assert_eq!(rows(&source, "SELECT \"näme\", b FROM t"), expected);
    }
    let source = space.file("b.csv", utf16(u16::to_le_bytes, false)).source("b.csv");
    let fault = ask(&source, "SELECT 1 FROM t").unwrap_err();
    assert!(fault.public().contains("encoding \"utf-16le\""), "{fault}");
    let source = space.source_with("b.csv", options(r#"{"encoding": "utf-16le"}"#));
    assert_eq!(rows(&source, "SELECT \"näme\", b FROM t"), expected);
    let latin = b"n\xe4me,b\n\xdc\x80,1\n";
    let source = space.file("c.csv", latin).source("c.csv");
    let fault = ask(&source, "SELECT 1 FROM t").unwrap_err();
    assert!(fault.public().contains("windows-1252"), "{fault}");
    let source = space.source_with("c.csv", options(r#"{"encoding": "windows-1252"}"#));
    assert_eq!(rows(&source, "SELECT \"näme\", b FROM t"), expected);
    // Half a character at the end.
    let source = space.file("d.csv", [&marked[1][..], b"\x01"].concat()).source("d.csv");
    assert_eq!(ask(&source, "SELECT * FROM t").unwrap_err().kind(), FaultKind::Invalid);
}

#[test]
fn delimiters_headers_and_line_ends_are_found() {
    let space = Workspace::new();
    for (name, text, expected) in [
        ("a.csv", "a;b\n1;x,y\n2;z\n", r#"[[1,"x,y"],[2,"z"]]"#),
        ("b.csv", "a|b\n1|x\n", r#"[[1,"x"]]"#),
        ("c.tsv", "a\tb\n1\tx y\n", r#"[[1,"x y"]]"#),
        ("d.csv", "a,b\r1,x\r2,y\r", r#"[[1,"x"],[2,"y"]]"#),
        ("e.csv", "a,b\n1,\"x\n\"\"y\"\"\"\n", r#"[[1,"x\n\"y\""]]"#),
        ("f.csv", "a,b\n\n\n1,x\n\n", r#"[[1,"x"]]"#),
        ("g.csv", "1,x\n2,y\n", r#"[[1,"x"],[2,"y"]]"#),
        ("h.csv", "a,a\n1,x\n", r#"[[1,"x"]]"#),
        ("i.csv", "a,\n1,x\n", r#"[[1,"x"]]"#),
    ] {
        let source = space.file(name, text).source(name);
        assert_eq!(rows(&source, "SELECT * FROM t ORDER BY 1"), expected, "{name}");
    }
    let source = space.source("g.csv");
    assert_eq!(rows(&source, "SELECT column_2 FROM t ORDER BY 1"), r#"[["x"],["y"]]"#);
    let source = space.source("h.csv");
    assert_eq!(rows(&source, "SELECT a_2 FROM t"), r#"[["x"]]"#);
    let source = space.source_with("a.csv", options(r#"{"header": false, "delimiter": ";"}"#));
    assert_eq!(rows(&source, "SELECT count(*) FROM t"), "[[3]]");
    let source = space
        .file("s.csv", "a,b\n1,x\n2\n")
        .source_with("s.csv", options(r#"{"short_records": true}"#));
    assert_eq!(rows(&source, "SELECT * FROM t ORDER BY a"), r#"[[1,"x"],[2,null]]"#);
}

#[test]
fn types_are_inferred_and_overridden() {
    let space = Workspace::new();
    let text = "code,n,big,when\n007,1,9007199254740993,2026-01-02T03:04:05Z\n";
    let source = space.file("a.csv", text).source("a.csv");
    assert_eq!(
        rows(&source, "SELECT * FROM t"),
        r#"[["007",1,"9007199254740993","2026-01-02T03:04:05"]]"#
    );
    let said = options(r#"{"types": {"n": "decimal", "big": "text", "code": "integer"}}"#);
    let source = space.source_with("a.csv", said);
    assert_eq!(
        rows(&source, "SELECT code, n, big FROM t"),
        r#"[[7,"1.0000000000","9007199254740993"]]"#
    );
    let fault =
        ask(&space.source_with("a.csv", options(r#"{"types": {"x": "text"}}"#)), "SELECT 1 FROM t");
    assert!(fault.unwrap_err().public().contains("`x`, which is no column"));
}

#[test]
fn json_lines_are_objects_with_members_in_order() {
    let space = Workspace::new();
    let text = "{\"z\":1,\"a\":\"x\",\"m\":{\"k\":[1,2]},\"odd\":1}\n{\"a\":2,\"late\":true,\"odd\":[1]}\n";
    let source = space.file("a.jsonl", text).source("a.jsonl");
    assert_eq!(
        rows(&source, "SELECT * FROM t ORDER BY z"),
        r#"[[1,"x",{"k":[1,2]},null],[null,"2",null,true]]"#
    );
    assert_eq!(rows(&source, "SELECT m['k'][2] FROM t ORDER BY z"), "[[2],[null]]");
    assert_eq!(rows(&source, "SELECT count(*) FROM t"), "[[2]]");
    let late = "{\"a\":1}\n".repeat(5000) + "{\"a\":2.5}\n";
    for (text, says) in [
        ("{\"a\":1}\n[1]\n", "line 2 is not one JSON object"),
        ("{\"a\":1}\n{\"a\":\n1}\n", "line 2 is not one JSON object"),
        ("[{\"a\":1}]\n", "is one JSON array"),
        (&late, "line 5001 has something else than integer in the column `a`"),
        (&late, "read it with options {\"types\":{\"a\":\"number\"}}"),
    ] {
        let source = space.file("b.jsonl", text).source("b.jsonl");
        let fault = ask(&source, "SELECT * FROM t ORDER BY 1 DESC").unwrap_err();
        assert!(fault.public().contains(says), "{text}: {fault}");
    }
}

#[test]
fn lines_of_logs_are_numbered() {
    let space = Workspace::new();
    let source = space.file("a.log", "one\ntwo error\nthree\n").source("a.log");
    assert_eq!(
        rows(&source, "SELECT number, line FROM t WHERE line LIKE '%error%'"),
        r#"[[2,"two error"]]"#
    );
    assert_eq!(rows(&source, "SELECT count(*) FROM t"), "[[3]]");
}

#[test]
fn several_files_are_one_table_if_they_are_alike() {
    let space = Workspace::new();
    space.file("a.csv", "a,b\n1,x\n").file("b.csv", "a,b\n2.5,y\n").file("c.csv", "a,c\n1,x\n");
    let both = |one: &str, two: &str| {
        Source::new(vec![space.open(one), space.open(two)], SourceOptions::default(), Vec::new())
            .unwrap()
    };
    assert_eq!(
        rows(&both("a.csv", "b.csv"), "SELECT * FROM t ORDER BY a"),
        r#"[[1.0,"x"],[2.5,"y"]]"#
    );
    let fault = ask(&both("a.csv", "c.csv"), "SELECT * FROM t").unwrap_err();
    assert!(fault.public().contains("/data/c.csv has another header than /data/a.csv"), "{fault}");
    space.file("d.jsonl", "{\"a\":1}\n");
    let fault = ask(&both("a.csv", "d.jsonl"), "SELECT * FROM t").unwrap_err();
    assert!(fault.public().contains("one source has one format"), "{fault}");
}

#[test]
fn what_would_paint_over_is_written_out() {
    let space = Workspace::new();
    let text = "na\u{202e}me,b\nx\u{1b}[2J\u{202e}y,1\n";
    let source = space.file("a.csv", text).source("a.csv");
    let answer = ask(&source, "SELECT * FROM t").unwrap();
    assert_eq!(answer.table.columns[0].name, "na\\u{202e}me");
    assert_eq!(answer.table.rows[0][0], "x\\u{1b}[2J\\u{202e}y");
    assert_eq!(rows(&source, "SELECT \"na\\u{202e}me\" IS NULL FROM t"), "[[false]]");
}

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use roothold_core::FaultKind;

use super::{Piece, Records, aligned};
use crate::prepared::{Prepared, prepare};
use crate::testing::{Workspace, meter};
use crate::{Limits, Source, SourceOptions};

fn prepared(source: &Source) -> Arc<Prepared> {
    Arc::new(prepare(source, &Limits::default(), &meter()).unwrap())
}

/// The rows of a piece as text, and where the next record begins.
fn read(prepared: &Arc<Prepared>, from: u64, until: Option<u64>) -> (Vec<String>, u64) {
    let piece = Piece { file: 0, from, until };
    // Numbers of lines are counted from where reading begins.
    let skipped = usize::from(prepared.format == crate::Format::Text);
    let columns = &prepared.visible[skipped..];
    let mut records = Records::open(prepared, piece, columns, &meter()).unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = records.next().unwrap() {
        for row in 0..batch.num_rows() {
            let row = crate::table::row(&batch, row).unwrap();
            rows.push(serde_json::to_string(&row).unwrap());
        }
    }
    (rows, records.position())
}

/// Reads in pieces that are cut at these places; `None` where a seam does not hold.
fn in_pieces(prepared: &Arc<Prepared>, cuts: &[u64]) -> Option<Vec<String>> {
    let mut rows = Vec::new();
    let mut ended = 0;
    for (at, cut) in cuts.iter().enumerate() {
        let from = aligned(prepared, 0, *cut, &meter()).unwrap();
        if at > 0 && from != ended {
            return None;
        }
        let (more, end) = read(prepared, from, cuts.get(at + 1).copied());
        rows.extend(more);
        ended = end;
    }
    Some(rows)
}

#[test]
fn every_cut_of_a_file_gives_the_same_records() {
    let space = Workspace::new();
    for (name, text) in [
        ("a.csv", "a,b\n1,x\n22,yy\n\n333,zzz\n4,\n"),
        ("b.csv", "a,b\r\n1,x\r\n22,yy\r\n333,zzz\r\n4,\r\n"),
        ("c.csv", "a,b\n1,x\n22,yy\n333,zzz\n4,no end"),
        ("d.jsonl", "{\"a\":1}\n{\"a\":22}\r\n\n{\"a\":333}\n{\"a\":4}"),
        ("e.txt", "one\n\ntwo\r\nthree\nlast"),
    ] {
        let source = space.file(name, text).source(name);
        let prepared = prepared(&source);
        let (whole, end) = read(&prepared, 0, None);
        assert_eq!(end, text.len() as u64, "{name}");
        assert!(whole.len() >= 4, "{name}: {whole:?}");
        for first in 1..text.len() as u64 {
            for second in first + 1..text.len() as u64 {
                let pieces = in_pieces(&prepared, &[0, first, second]);
                assert_eq!(pieces.as_ref(), Some(&whole), "{name} {first} {second}");
            }
        }
    }
}

#[test]
fn a_cut_inside_a_quoted_field_is_noticed() {
    let space = Workspace::new();
    let text = "a,b\n1,\"x\n2,y\n3,z\"\n4,w\n5,v\n";
    let source = space.file("a.csv", text).source("a.csv");
    let prepared = prepared(&source);
    let (whole, _) = read(&prepared, 0, None);
    assert_eq!(whole.len(), 3, "{whole:?}");
    let mut wrong = 0;
    for cut in 1..text.len() as u64 {
        match in_pieces(&prepared, &[0, cut]) {
            Some(rows) => assert_eq!(rows, whole, "{cut}"),
            None => wrong += 1,
        }
    }
    assert!(wrong > 5, "{wrong}");
}

#[test]
fn lines_are_what_stands_between_line_ends() {
    let space = Workspace::new();
    let source = space.file("a.log", b"one\n\xff\xfe!\r\n\0hole\nlast").source("a.log");
    let (rows, _) = read(&prepared(&source), 0, None);
    assert_eq!(rows, ["[\"one\"]", "[\"\u{fffd}\u{fffd}!\"]", "[\"\\\\u{0}hole\"]", "[\"last\"]"]);
}

#[test]
fn large_files_are_decoded_in_batches_that_fit_together() {
    let space = Workspace::new();
    let mut text = String::from("n,text\r\n");
    for number in 0..60_000 {
        write!(text, "{number},\"a \"\"quoted\"\" text of {number}\"\r\n").unwrap();
    }
    let source = space.file("a.csv", &text).source("a.csv");
    let prepared = prepared(&source);
    let (whole, end) = read(&prepared, 0, None);
    assert_eq!((whole.len(), end), (60_000, text.len() as u64));
    assert_eq!(whole[59_999], "[59999,\"a \\\"quoted\\\" text of 59999\"]");
    let length = text.len() as u64;
    let pieces = in_pieces(&prepared, &[0, length / 3, length / 2, length - 5]).unwrap();
    assert!(pieces == whole);
}

#[test]
fn a_record_at_fault_is_named_by_its_line_and_column() {
    let space = Workspace::new();
    let mut text = String::from("id,amount\n");
    for number in 1..30_000 {
        writeln!(text, "{number},{}", number * 2).unwrap();
    }
    for (bad, says) in [
        (
            "7,seven",
            "line 30002 has something else than integer in the column `amount`, which the first records do not; \
             read it with options {\"types\":{\"amount\":\"text\"}}",
        ),
        ("7,7.5", "read it with options {\"types\":{\"amount\":\"number\"}}"),
        ("7,\"1\n2\"", "read it with options {\"types\":{\"amount\":\"text\"}}"),
        (
            "7",
            "line 30002 has another number of fields than the first record (expected 2 got 1); \
             read it with options {\"short_records\":true}",
        ),
        (
            "7,8,9",
            "line 30002 has another number of fields than the first record (expected 2 got more than 2); no option",
        ),
        ("7,\0", "line 30002 holds a NUL byte"),
    ] {
        let all = format!("{text}1,2\n{bad}\n3,4\n");
        let source = space.file("a.csv", &all).source("a.csv");
        let prepared = prepared(&source);
        for from in [0, all.len() as u64 / 2] {
            let from = aligned(&prepared, 0, from, &meter()).unwrap();
            let piece = Piece { file: 0, from, until: None };
            let mut records = Records::open(&prepared, piece, &prepared.visible, &meter()).unwrap();
            let fault = loop {
                match records.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{bad} was taken"),
                    Err(fault) => break fault,
                }
            };
            assert_eq!(fault.kind(), FaultKind::Invalid);
            assert!(fault.public().contains(says), "{bad:?}: {}", fault.public());
            assert!(!fault.public().contains("seven"), "no content: {}", fault.public());
        }
    }
}

#[test]
fn an_option_that_was_given_is_not_advised_again() {
    let space = Workspace::new();
    let options: SourceOptions = serde_json::from_str(r#"{"short_records": true}"#).unwrap();
    let text = "id,amount\n".to_owned() + &"1,2\n".repeat(5000) + "1\n1,2,3\n";
    let prepared = prepared(&space.file("a.csv", &text).source_with("a.csv", options));
    let piece = Piece { file: 0, from: 0, until: None };
    let mut records = Records::open(&prepared, piece, &prepared.visible, &meter()).unwrap();
    let fault = loop {
        if let Err(fault) = records.next() {
            break fault;
        }
    };
    let says = "line 5003 has another number of fields than the first record (expected 2 got more than 2); no option";
    assert!(fault.public().contains(says), "{fault}");
    assert!(!fault.public().contains("short_records"), "{fault}");
}

#[test]
fn a_quote_that_never_closes_is_a_record_that_is_too_long() {
    let space = Workspace::new();
    let mut text = String::from("id,note\n1,fine\n2,fine\n3,\"open\n");
    text.push_str(&"4,x\n".repeat(400_000));
    let source = space.file("a.csv", &text).source("a.csv");
    let limits = Limits { record_bytes_max: 300_000, sample_bytes_max: 20, ..Limits::default() };
    let prepared = Arc::new(prepare(&source, &limits, &meter()).unwrap());
    let piece = Piece { file: 0, from: 0, until: None };
    let mut records = Records::open(&prepared, piece, &prepared.visible, &meter()).unwrap();
    let fault = loop {
        match records.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was taken"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
    assert!(fault.public().contains("a quote may be missing there"), "{fault}");
}

#[test]
fn records_of_a_compressed_file_are_found_again_by_their_place_in_the_text() {
    let space = Workspace::new();
    let mut text = String::from("n\n");
    for number in 0..20_000 {
        writeln!(text, "{number}").unwrap();
    }
    let packed = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let source = space.file("a.csv.zst", packed).source("a.csv.zst");
    let prepared = prepared(&source);
    assert!(!prepared.is_seekable(0));
    let piece = Piece { file: 0, from: 0, until: None };
    let mut records = Records::open(&prepared, piece, &prepared.visible, &meter()).unwrap();
    let first = records.next().unwrap().unwrap();
    let (rest, _) = read(&prepared, records.position(), None);
    assert_eq!(first.num_rows() + rest.len(), 20_000);
    assert_eq!(rest[0], format!("[{}]", first.num_rows()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_of_any_delimited_text_are_the_whole_or_are_noticed(
        records in prop::collection::vec(("[a-z\",\r\n ]{0,6}", "[0-9x]{0,3}"), 1..20),
        crlf: bool,
        cut in 0_u64..400,
    ) {
        let space = Workspace::new();
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("a,b{end}");
        for (one, two) in &records {
            let one = one.replace('"', "\"\"");
            write!(text, "\"{one}\",{two}{end}").unwrap();
        }
        let options: SourceOptions = serde_json::from_str(
            r#"{"delimiter": ",", "header": true, "types": {"*": "text"}}"#
        ).unwrap();
        let source = space.file("a.csv", &text).source_with("a.csv", options);
        let prepared = prepared(&source);
        let (whole, _) = read(&prepared, 0, None);
        prop_assert_eq!(whole.len(), records.len());
        let cut = cut % text.len() as u64;
        if cut > 0 && let Ok(Some(rows)) = try_in_pieces(&prepared, cut) {
            prop_assert_eq!(rows, whole);
        }
    }
}

/// As [`in_pieces`], where a piece that begins inside a field may also fail.
fn try_in_pieces(prepared: &Arc<Prepared>, cut: u64) -> Result<Option<Vec<String>>, ()> {
    let (mut rows, ended) = read(prepared, 0, Some(cut));
    let from = aligned(prepared, 0, cut, &meter()).unwrap();
    if from != ended {
        return Ok(None);
    }
    let piece = Piece { file: 0, from, until: None };
    let mut records = Records::open(prepared, piece, &prepared.visible, &meter()).unwrap();
    while let Some(batch) = records.next().map_err(drop)? {
        for row in 0..batch.num_rows() {
            let row = crate::table::row(&batch, row).unwrap();
            rows.push(serde_json::to_string(&row).unwrap());
        }
    }
    Ok(Some(rows))
}

/// All rows of a file, or what is wrong; through the general decoder alone where `rows` are given.
fn outcome(prepared: &Arc<Prepared>, rows: Option<usize>) -> Result<Vec<String>, String> {
    let piece = Piece { file: 0, from: 0, until: None };
    let columns = &prepared.visible;
    let mut records = match rows {
        None => Records::open(prepared, piece, columns, &meter()),
        Some(rows) => Records::open_few(prepared, piece, columns, rows, &meter()),
    }
    .unwrap();
    let mut found = Vec::new();
    while let Some(batch) = records.next().map_err(|fault| fault.public().to_owned())? {
        for row in 0..batch.num_rows() {
            let row = crate::table::row(&batch, row).unwrap();
            found.push(serde_json::to_string(&row).unwrap());
        }
    }
    Ok(found)
}

/// What a cell or a member may be written as: mostly what its column is.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,3}",
        2 => "-?[0-9]{0,2}\\.[0-9]{1,2}",
        1 => "[a-zä ]{0,5}",
        1 => Just("2026-11-26".to_owned()),
        1 => Just("2026-11-26T01:02:03.5+02:00".to_owned()),
        1 => Just("TRUE".to_owned()),
        1 => Just(String::new()),
        1 => "[\"',\r1-]{1,4}",
    ]
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => cell().prop_map(|cell| serde_json::to_string(&cell).unwrap()),
        3 => "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,2})?(e[0-9])?",
        1 => "[0-9+.eE-]{1,4}",
        1 => "true|false|null|\\[1\\]|\\{\\}|nul",
    ]
}

const TYPES: [&str; 6] = ["text", "integer", "number", "boolean", "date", "timestamp"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn plain_lines_of_a_delimited_text_are_what_the_general_decoder_gives(
        records in prop::collection::vec(prop::collection::vec(cell(), 2..4), 1..12),
        ends in prop::collection::vec(prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")], 12),
        types in (0..TYPES.len(), 0..TYPES.len(), 0..TYPES.len()),
        short_records: bool,
    ) {
        let space = Workspace::new();
        let mut text = "a,b,c\n".to_owned();
        for (record, end) in records.iter().zip(ends) {
            text.push_str(&record.join(","));
            text.push_str(end);
        }
        let options: SourceOptions = serde_json::from_value(serde_json::json!({
            "format": "csv", "delimiter": ",", "header": true, "short_records": short_records,
            "types": {"a": TYPES[types.0], "b": TYPES[types.1], "c": TYPES[types.2]},
        })).unwrap();
        let source = space.file("a.csv", &text).source_with("a.csv", options);
        if let Ok(prepared) = prepare(&source, &Limits::default(), &meter()) {
            let prepared = Arc::new(prepared);
            prop_assert_eq!(outcome(&prepared, None), outcome(&prepared, Some(8192)), "{:?}", text);
        }
    }

    #[test]
    fn plain_lines_of_json_are_what_the_general_decoder_gives(
        records in prop::collection::vec(prop::collection::vec(
            ("[abcd]", prop_oneof![3 => Just(":"), 1 => Just(" : ")], member(), prop_oneof![3 => Just(","), 1 => Just(", ")]),
            0..4,
        ), 1..12),
        is_sorted: bool,
        ends in prop::collection::vec(prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")], 12),
        types in (0..TYPES.len(), 0..TYPES.len(), 0..TYPES.len()),
    ) {
        let space = Workspace::new();
        let mut text = "{\"a\":null,\"b\":null,\"c\":null}\n".to_owned();
        for (record, end) in records.iter().zip(ends) {
            let mut record = record.clone();
            if is_sorted {
                record.sort_by(|one, two| one.0.cmp(&two.0));
                record.dedup_by(|one, two| one.0 == two.0);
            }
            let members: Vec<String> = record
                .iter()
                .map(|(name, colon, value, comma)| format!("\"{name}\"{colon}{value}{comma}"))
                .collect();
            let members = members.concat();
            let members = members.trim_end_matches([',', ' ']);
            write!(text, "{{{members}}}{end}").unwrap();
        }
        let options: SourceOptions = serde_json::from_value(serde_json::json!({
            "format": "jsonl",
            "types": {"a": TYPES[types.0], "b": TYPES[types.1], "c": TYPES[types.2]},
        })).unwrap();
        let source = space.file("a.jsonl", &text).source_with("a.jsonl", options);
        if let Ok(prepared) = prepare(&source, &Limits::default(), &meter()) {
            let prepared = Arc::new(prepared);
            prop_assert_eq!(outcome(&prepared, None), outcome(&prepared, Some(8192)), "{:?}", text);
        }
    }
}

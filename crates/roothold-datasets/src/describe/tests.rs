use serde_json::json;

use crate::testing::{Workspace, budget, engine, wait};
use crate::{Description, Source};

fn describe(source: &Source, rows: usize) -> Description {
    wait(engine().describe(source, rows, &budget())).unwrap()
}

#[test]
fn a_source_is_described_without_reading_all_of_it() {
    let space = Workspace::new();
    let text = format!("id;note\n{}", "7;\"some text\"\n".repeat(400_000));
    let source = space.file("a.csv", &text).source("a.csv");
    let described = describe(&source, 2);
    assert_eq!(
        json!(described.columns),
        json!([
            {"name": "id", "type": "integer"}, {"name": "note", "type": "text"}
        ])
    );
    assert_eq!(json!(described.sample.rows), json!([[7, "some text"], [7, "some text"]]));
    assert_eq!((described.delimiter, described.header), (Some(';'), Some(true)));
    assert_eq!(described.bytes, text.len() as u64);
    let estimate = described.rows.unwrap();
    assert!((300_000..500_000).contains(&estimate), "{estimate}");
    assert!(!described.rows_exact);
    assert_eq!(json!(described.format), "csv");
    assert_eq!(described.files[0].path, "/data/a.csv");
    assert_eq!(described.files[0].encoding, Some("utf-8"));
}

#[test]
fn what_is_compressed_has_no_estimate_and_long_cells_are_cut() {
    let space = Workspace::new();
    let text = format!("{{\"a\":\"{}\",\"odd\":1}}\n{{\"odd\":{{}}}}\n", "é".repeat(1000));
    let packed = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let source = space.file("a.jsonl.zst", packed).source("a.jsonl.zst");
    let described = describe(&source, 1);
    assert_eq!(described.rows, None);
    assert_eq!(described.files[0].compression, "zstd");
    assert_eq!(described.sample.rows[0][0], json!("é".repeat(200) + "…"));
    assert_eq!(described.notes.len(), 1, "{:?}", described.notes);
    assert_eq!(describe(&source, 0).sample.rows.len(), 0);
}

#[test]
fn hidden_columns_are_not_described() {
    let space = Workspace::new();
    space.file("a.csv", "id,ssn\n1,111\n");
    let source = Source::new(
        vec![space.open("a.csv")],
        crate::SourceOptions::default(),
        vec!["SSN".to_owned()],
    );
    let described = describe(&source.unwrap(), 5);
    let all = serde_json::to_string(&described).unwrap();
    assert!(!all.contains("ssn") && !all.contains("111"), "{all}");
}

#[test]
fn records_that_are_no_rows_do_not_say_what_columns_hold() {
    let space = Workspace::new();
    let source = space.file("a.csv", "id,n\n1,2\n2\nx,y,z\n3,4\n").source("a.csv");
    let columns = |source: &Source| json!(describe(source, 0).columns);
    let integers = json!([{"name": "id", "type": "integer"}, {"name": "n", "type": "integer"}]);
    assert_eq!(columns(&source), integers);
    let short = crate::SourceOptions { short_records: true, ..crate::SourceOptions::default() };
    space.file("b.csv", "id,n\n1,2\nx\n");
    let source = Source::new(vec![space.open("b.csv")], short, Vec::new()).unwrap();
    assert_eq!(columns(&source)[0]["type"], "text");
}

/// An object of which parts are now this, now that, beside a hidden member that is, too.
const MIXED: &str = concat!(
    "{\"k\":1,\"a\":{\"b\":1,\"c\":[1,{\"d\":1}]},\"l\":[{\"x\":1,\"y\":{}}],\"m\":1,\"ssn\":1}\n",
    "{\"k\":2,\"m\":{\"b\":1},\"ssn\":[]}\n"
);
const LEFT_OUT: [&str; 3] = [
    "left out `a.c`: it is now a value, now a list or an object",
    "left out `l[].y`: its objects have no member of one type",
    "left out `m`: it is now a value, now a list or an object",
];

#[test]
fn what_has_no_column_is_said_wherever_it_is_missing() {
    let space = Workspace::new();
    space.file("a.jsonl", MIXED);
    let hidden = vec!["ssn".to_owned()];
    let source =
        Source::new(vec![space.open("a.jsonl")], crate::SourceOptions::default(), hidden).unwrap();
    assert_eq!(describe(&source, 5).notes, LEFT_OUT);
    let asked = crate::testing::query("SELECT k FROM t", &[("t", &source)]);
    let answer = wait(engine().query(&asked, &budget())).unwrap();
    assert_eq!(answer.notes, LEFT_OUT);
    let make = Box::new(|| Ok(Box::new(std::io::sink()) as Box<dyn std::io::Write + Send>));
    let (engine, budget) = (engine(), budget());
    let exported = engine.export(&asked, crate::ExportFormat::Csv, true, make, &budget);
    assert_eq!(wait(exported).unwrap().notes, LEFT_OUT);
}

#[test]
fn of_many_parts_that_have_no_column_the_first_are_told() {
    let space = Workspace::new();
    let members = |value: &str| {
        let members: Vec<String> = (0..20).map(|at| format!("\"m{at}\":{value}")).collect();
        format!("{{\"k\":1,{}}}\n", members.join(","))
    };
    let source = space.file("a.jsonl", members("1") + &members("[]")).source("a.jsonl");
    let notes = describe(&source, 0).notes;
    assert_eq!((notes.len(), notes[8].as_str()), (9, "left out 12 more in the same way"));
}

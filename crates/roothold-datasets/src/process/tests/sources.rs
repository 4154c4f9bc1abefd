//! Processes over real files, through the engine.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use roothold_core::{Fault, FaultKind};
use serde_json::{Value, json};

use super::super::convert::Output;
use super::super::{Operation, Process, ProcessLimits, Step};
use crate::testing::{Workspace, budget, engine, wait};
use crate::{Engine, Source, SourceOptions};

fn limits(bytes: usize) -> ProcessLimits {
    ProcessLimits { chunk_bytes: bytes, ..ProcessLimits::default() }
}

fn asked(operation: &Value) -> Operation {
    serde_json::from_value(operation.clone()).unwrap()
}

/// The report, and how many bytes every step had behind it.
async fn run(source: &Source, operation: &Value, bytes: usize) -> Result<(Value, Vec<u64>), Fault> {
    let engine = engine();
    let mut process =
        Process::open(&engine, source, &asked(operation), limits(bytes), None, &budget()).await?;
    let mut done = Vec::new();
    loop {
        match process.step(&budget()).await? {
            Step::Chunk(chunk) => {
                assert_eq!(chunk.progress.bytes_total, source.bytes());
                done.push(chunk.progress.bytes_done);
            }
            Step::Done(report) => {
                assert_eq!(report.progress.bytes_done, source.bytes());
                return Ok((report.value, done));
            }
        }
    }
}

fn rows() -> String {
    "id,name,score\n".to_owned()
        + &(0..3000).map(|row| format!("{row},é{},{}.5\n", row % 5, row % 100)).collect::<String>()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Memory that a conversion writes into.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Output for Kept {
    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.0.lock().unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap().extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn parquet(engine: &Engine, source: &Source) -> Vec<u8> {
    let (kept, operation) =
        (Kept::default(), asked(&json!({"operation": "convert", "format": "parquet"})));
    let output: Option<Box<dyn Output>> = Some(Box::new(kept.clone()));
    let mut process =
        Process::open(engine, source, &operation, limits(9_000), output, &budget()).await.unwrap();
    while let Step::Chunk(_) = process.step(&budget()).await.unwrap() {}
    kept.0.lock().unwrap().clone()
}

const SUMS: &str = r#"{"operation":"aggregate","group_by":["name"],"aggregates":[
    {"function":"count"},{"function":"sum","column":"id"},{"function":"avg","column":"score"}]}"#;

#[test]
fn every_form_of_the_same_rows_has_the_same_groups() {
    let sums: Value = serde_json::from_str(SUMS).unwrap();
    let text = rows();
    let marked = "\u{feff}".to_owned() + &text;
    let wide: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let workspace = Workspace::new();
    workspace
        .file("plain.csv", &text)
        .file("marked.csv", &marked)
        .file("wide.csv", wide)
        .file("packed.csv.gz", gzip(marked.as_bytes()))
        .file("tabs.tsv", text.replace(',', "\t"))
        .file("windows.csv", text.replace('\n', "\r\n"));
    let file = wait(async { parquet(&engine(), &workspace.source("plain.csv")).await });
    workspace.file("columns.parquet", file);
    let expected = wait(run(&workspace.source("plain.csv"), &sums, 1 << 20)).unwrap().0;
    assert_eq!(expected["result"].as_array().unwrap().len(), 5);
    assert_eq!(expected["result"][1], json!(["é1", 600, 899_100, 48.5 + 0.5]));
    for name in [
        "plain.csv",
        "marked.csv",
        "wide.csv",
        "packed.csv.gz",
        "tabs.tsv",
        "windows.csv",
        "columns.parquet",
    ] {
        let (value, done) = wait(run(&workspace.source(name), &sums, 5_000)).unwrap();
        assert_eq!(value["result"], expected["result"], "{name}");
        assert!(done.len() > 2 && done.is_sorted(), "{name}: {done:?}");
    }
}

#[test]
fn several_files_are_one_table() {
    let workspace = Workspace::new();
    workspace.file("a.csv", "i,t\n1,x\n2,y\n").file("b.csv", "i,t\n3,x\nbad\n");
    let files = vec![workspace.open("a.csv"), workspace.open("b.csv")];
    let source = Source::new(files, SourceOptions::default(), Vec::new()).unwrap();
    let (value, _) = wait(run(&source, &json!({"operation": "profile"}), 1000)).unwrap();
    assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&value["bad"][0]["file"], &value["bad"][0]["line"]),
        (&json!("/data/b.csv"), &json!(3))
    );
}

#[test]
fn a_process_goes_on_with_another_engine_and_not_with_another_file() {
    let workspace = Workspace::new();
    workspace.file("a.csv.gz", gzip(rows().as_bytes()));
    let operation = asked(&json!({"operation": "profile"}));
    wait(async {
        let whole = run(&workspace.source("a.csv.gz"), &json!({"operation": "profile"}), 4_000)
            .await
            .unwrap()
            .0;
        let first = engine();
        let source = workspace.source("a.csv.gz");
        let mut process =
            Process::open(&first, &source, &operation, limits(4_000), None, &budget())
                .await
                .unwrap();
        let mut last = None;
        for _ in 0..4 {
            let Step::Chunk(chunk) = process.step(&budget()).await.unwrap() else {
                panic!("a chunk")
            };
            last = Some((process.state().unwrap(), chunk.next));
        }
        drop((process, first, source));
        let (engine, source) = (engine(), workspace.source("a.csv.gz"));
        let mut process =
            Process::resume(&engine, &source, &operation, last.clone().unwrap(), None, &budget())
                .await
                .unwrap();
        while let Step::Chunk(_) = process.step(&budget()).await.unwrap() {}
        assert_eq!(process.partial().unwrap(), whole);
        workspace.file("a.csv.gz", gzip(b"id,name,score\n1,x,1.5\n"));
        let source = workspace.source("a.csv.gz");
        let again =
            Process::resume(&engine, &source, &operation, last.unwrap(), None, &budget()).await;
        assert_eq!(again.err().unwrap().kind(), FaultKind::Conflict);
    });
}

#[test]
fn a_file_that_becomes_shorter_ends_the_process() {
    let workspace = Workspace::new();
    workspace.file("a.csv", rows());
    wait(async {
        let (engine, source) = (engine(), workspace.source("a.csv"));
        let operation = asked(&json!({"operation": "profile"}));
        let mut process = Process::open(&engine, &source, &operation, limits(500), None, &budget())
            .await
            .unwrap();
        workspace.file("a.csv", "id,name,score\n");
        let fault = loop {
            match process.step(&budget()).await {
                Err(fault) => break fault,
                Ok(Step::Chunk(_)) => {}
                Ok(Step::Done(report)) => panic!("{}", report.value),
            }
        };
        assert_eq!(fault.kind(), FaultKind::Conflict);
    });
}

#[test]
fn hidden_columns_are_not_there() {
    let workspace = Workspace::new();
    workspace.file("a.csv", "i,secret,t\n1,hush,x\n2,hush,hush\nx,hush,y\n");
    let source = Source::new(
        vec![workspace.open("a.csv")],
        SourceOptions::default(),
        vec!["secret".to_owned()],
    )
    .unwrap();
    for operation in [
        json!({"operation": "profile"}),
        json!({"operation": "sample"}),
        json!({"operation": "validate", "columns": [{"name": "i", "type": "integer"}, {"name": "secret"}]}),
        json!({"operation": "search", "pattern": "hush", "columns": ["t", "i"]}),
    ] {
        let (value, _) = wait(run(&source, &operation, 1000)).unwrap();
        let told = value.to_string().replace("column `secret` is missing", "");
        assert!(!told.contains("secret") && told.matches("hush").count() <= 2, "{told}");
    }
    let by_line = wait(run(&source, &json!({"operation": "search", "pattern": "hush"}), 1000));
    assert_eq!(by_line.unwrap_err().kind(), FaultKind::Invalid);
}

#[test]
fn a_query_is_a_process_that_begins_again() {
    let workspace = Workspace::new();
    workspace.file("a.csv", rows());
    let operation = json!({"operation": "sql", "sql": "SELECT name, count(*) AS n FROM data WHERE id < $1 GROUP BY name ORDER BY name", "parameters": [10]});
    let (value, _) = wait(run(&workspace.source("a.csv"), &operation, 1000)).unwrap();
    assert_eq!(value["result"][0], json!(["é0", 2]));
    assert_eq!((&value["truncated"], &value["stable"]), (&json!(false), &json!(true)));
    wait(async {
        let (engine, source, operation) = (engine(), workspace.source("a.csv"), asked(&operation));
        let mut process =
            Process::open(&engine, &source, &operation, limits(1000), None, &budget())
                .await
                .unwrap();
        let state = process.state().unwrap();
        let mut again = Process::resume(&engine, &source, &operation, (state, 0), None, &budget())
            .await
            .unwrap();
        while let Step::Chunk(_) = again.step(&budget()).await.unwrap() {}
        assert_eq!(again.partial().unwrap(), value);
        let write = asked(&json!({"operation": "sql", "sql": "COPY data TO 'x'"}));
        let mut refused =
            Process::open(&engine, &source, &write, limits(1000), None, &budget()).await.unwrap();
        assert_eq!(refused.step(&budget()).await.unwrap_err().kind(), FaultKind::Invalid);
    });
}

#[test]
fn a_text_that_parquet_holds_once_is_read_few_rows_at_a_time() {
    wait(async {
        let dir = Workspace::new();
        // Two thousand of these are longer than an array of texts can be.
        let file = crate::query::one_text(1_100_000, 3000);
        let source = dir.file("a.parquet", file).source("a.parquet");
        for (operation, member, expected) in [
            (json!({"operation": "profile"}), "rows", json!(3000)),
            (json!({"operation": "validate"}), "bad_rows", json!(0)),
            (json!({"operation": "sample", "rows": 2}), "rows", json!(3000)),
            (json!({"operation": "search", "pattern": "xy"}), "rows", json!(3000)),
        ] {
            let (value, _) = run(&source, &operation, 1 << 20).await.unwrap();
            assert_eq!(value[member], expected, "{operation}");
        }
    });
}

#[test]
fn what_has_no_column_is_said_in_each_report() {
    let space = Workspace::new();
    let text = "{\"a\":1,\"k\":1}\n{\"a\":{\"b\":1},\"k\":2}\n";
    let source = space.file("a.jsonl", text).source("a.jsonl");
    let note = json!(["left out `a`: it is now a value, now a list or an object"]);
    for operation in [
        json!({"operation": "profile"}),
        json!({"operation": "aggregate"}),
        json!({"operation": "validate"}),
        json!({"operation": "sql", "sql": "SELECT * FROM data"}),
    ] {
        let (value, _) = wait(run(&source, &operation, 1000)).unwrap();
        assert_eq!(value["notes"], note, "{operation}");
    }
}

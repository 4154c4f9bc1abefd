//! Conversions: what comes out, also when they were broken off after any chunk.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::metadata::ParquetMetaDataReader;
use roothold_core::{Fault, FaultKind};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::super::convert::Output;
use super::super::input::ShapeFormat;
use super::super::start::Start;
use super::super::testing::{CSV, Memory, budget, chunks_of, pool, wait};
use super::super::{Operation, Process, Step};
use super::COLUMNS;

/// A file that forgets what was not made durable when who writes it goes away.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn crash(&self) {
        let mut disk = self.0.lock().unwrap();
        let durable = disk.1;
        disk.0.truncate(durable);
        // And what was not durable may have become so all the same.
        disk.0.extend(b"rubbish");
    }

    fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }
}

impl Output for Disk {
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let length = usize::try_from(length).unwrap();
        if disk.0.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk.0.truncate(length);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().0.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.1 = disk.0.len();
        Ok(())
    }
}

/// Converts, and breaks off after each of the chunks of `breaks`.
async fn convert(
    input: &Memory,
    options: &Value,
    bytes: usize,
    breaks: &[u64],
) -> Result<(Vec<u8>, Value), Fault> {
    let mut asked = options.clone();
    asked["operation"] = "convert".into();
    let operation: Operation = serde_json::from_value(asked).unwrap();
    let (disk, input) = (Disk::default(), Arc::new(input.clone()));
    let output = || Some(Box::new(disk.clone()) as Box<dyn Output>);
    let start = Start::new(input.clone(), &operation, chunks_of(bytes))?.into_output(output());
    let mut process = Process::bare(start.run(Handle::current(), pool())?);
    loop {
        match process.step(&budget()).await? {
            Step::Done(report) => return Ok((disk.content(), report.value)),
            Step::Chunk(chunk) if breaks.contains(&chunk.next) => {
                let state = process.state()?;
                // The next chunk is written, and lost.
                let _ = process.step(&budget()).await?;
                disk.crash();
                let start = Start::after(input.clone(), &operation, &state, chunk.next)?
                    .into_output(output());
                process = Process::bare(start.run(Handle::current(), pool())?);
            }
            Step::Chunk(_) => {}
        }
    }
}

fn input() -> Memory {
    let rows: String = (0..500)
        .map(|row| format!("{row},{}.5,{}\n", row * 2, ["=1+1", "\"a,\"\"é\n\"", ""][row % 3]))
        .collect();
    Memory::new(
        CSV,
        &COLUMNS,
        &[("i,n,t\n".to_owned() + &rows).as_bytes(), b"i,n,t\nx,1,bad\n-1,,-x\n"],
    )
}

#[test]
fn parquet_of_many_chunks_is_one_file_that_others_can_read() {
    for breaks in [&[][..], &[1, 2, 5, 9]] {
        let (file, report) =
            wait(convert(&input(), &json!({"format": "parquet"}), 700, breaks)).unwrap();
        assert_eq!((&report["rows"], &report["bad_rows"]), (&json!(501), &json!(1)));
        assert_eq!(report["bytes_written"], file.len());
        let file = Bytes::from(file);
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
        assert!(metadata.num_row_groups() > 10);
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
        let table = concat_batches(&batches[0].schema(), &batches).unwrap();
        let numbers = table.column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        assert_eq!(numbers.values().to_vec(), (0..500).chain([-1]).collect::<Vec<_>>());
        assert_eq!(table.column(2).as_string::<i32>().value(1), "a,\"é\n");
        assert!(table.column(1).is_null(500));
    }
}

#[test]
fn what_was_broken_off_becomes_the_same_file() {
    for format in ["csv", "jsonl", "parquet"] {
        let options = json!({"format": format});
        let whole = wait(convert(&input(), &options, 700, &[])).unwrap();
        let every: Vec<u64> = (1..30).collect();
        assert!(wait(convert(&input(), &options, 700, &every)).unwrap() == whole, "{format}");
    }
}

#[test]
fn csv_comes_out_as_it_went_in_but_for_what_a_spreadsheet_would_run() {
    let (file, _) = wait(convert(&input(), &json!({"format": "csv"}), 700, &[])).unwrap();
    let text = String::from_utf8(file).unwrap();
    assert!(
        text.starts_with("i,n,t\n0,0.5,'=1+1\n1,2.5,\"a,\"\"é\n\"\n2,4.5,\n3,"),
        "{}",
        &text[..60]
    );
    assert!(text.ends_with("\n-1,,'-x\n"));
    let plain = json!({"format": "csv", "guard_formulas": false, "columns": ["t"]});
    let (file, _) = wait(convert(&input(), &plain, 700, &[])).unwrap();
    assert!(file.starts_with(b"t\n=1+1\n"));
}

#[test]
fn json_lines_are_converted_back_and_forth() {
    let (file, _) = wait(convert(&input(), &json!({"format": "jsonl"}), 700, &[])).unwrap();
    assert!(file.starts_with(b"{\"i\":0,\"n\":0.5,\"t\":\"=1+1\"}\n"));
    let lines = Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[&file]);
    let (again, report) = wait(convert(&lines, &json!({"format": "jsonl"}), 999, &[3])).unwrap();
    assert_eq!(again, file);
    assert_eq!(report["bad_rows"], 0);
}

#[test]
fn nothing_to_convert_is_a_whole_file_too() {
    let empty = Memory::new(CSV, &COLUMNS, &[b""]);
    for (format, expected) in [("csv", Some("i,n,t\n")), ("jsonl", Some("")), ("parquet", None)] {
        let (file, _) = wait(convert(&empty, &json!({"format": format}), 9, &[])).unwrap();
        match expected {
            Some(expected) => assert_eq!(file, expected.as_bytes()),
            None => assert_eq!(
                ParquetMetaDataReader::new()
                    .parse_and_finish(&Bytes::from(file))
                    .unwrap()
                    .num_row_groups(),
                0
            ),
        }
    }
}

#[test]
fn an_output_that_lost_bytes_is_not_gone_on_with() {
    wait(async {
        let operation: Operation =
            serde_json::from_str(r#"{"operation":"convert","format":"csv"}"#).unwrap();
        let disk = Disk::default();
        let start = Start::new(Arc::new(input()), &operation, chunks_of(700)).unwrap();
        let mut process = Process::bare(
            start.into_output(Some(Box::new(disk.clone()))).run(Handle::current(), pool()).unwrap(),
        );
        let Step::Chunk(chunk) = process.step(&budget()).await.unwrap() else { panic!("a chunk") };
        let state = process.state().unwrap();
        let start = Start::after(Arc::new(input()), &operation, &state, chunk.next).unwrap();
        let lost =
            start.into_output(Some(Box::new(Disk::default()))).run(Handle::current(), pool());
        assert_eq!(lost.err().unwrap().kind(), FaultKind::Unavailable);
        let start = Start::new(Arc::new(input()), &operation, chunks_of(700)).unwrap();
        assert_eq!(start.run(Handle::current(), pool()).err().unwrap().kind(), FaultKind::Invalid);
    });
}

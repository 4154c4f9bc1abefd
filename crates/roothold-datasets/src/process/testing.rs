//! Inputs in memory, for tests.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use roothold_core::{Budget, Fault};
use serde_json::Value;
use tokio::runtime::Handle;

use super::input::{Batches, FileSize, GroupSize, Input, Shape, ShapeFormat, TextRead};
use super::runner::Running;
use super::start::Start;
use super::{Operation, Process, ProcessLimits, Step};

/// Files in memory.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) files: Vec<Vec<u8>>,
    pub(super) shape: Shape,
    pub(super) revision: String,
}

pub(super) const CSV: ShapeFormat =
    ShapeFormat::Csv { delimiter: b',', quote: b'"', escape: None, header: true, short: false };

impl Memory {
    /// Files of a format with columns of these types.
    pub(super) fn new(format: ShapeFormat, columns: &[(&str, DataType)], files: &[&[u8]]) -> Self {
        let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let visible = (0..columns.len()).collect();
        let shape = Shape { format, visible, schema, lax: Vec::new(), hidden: Vec::new() };
        Self {
            files: files.iter().map(|file| file.to_vec()).collect(),
            shape,
            revision: "1".to_owned(),
        }
    }

    /// A file of lines.
    pub(super) fn text(text: &[u8]) -> Self {
        Self::new(
            ShapeFormat::Text,
            &[("number", DataType::UInt64), ("line", DataType::Utf8)],
            &[text],
        )
    }
}

struct Slow(io::Cursor<Vec<u8>>, u64);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Short reads are what a decompressor gives.
        let most = buffer.len().min(777);
        self.0.read(&mut buffer[..most])
    }
}

impl TextRead for Slow {
    fn start(&self) -> u64 {
        self.1
    }

    fn consumed(&self) -> Option<u64> {
        None
    }
}

impl Input for Memory {
    fn files(&self) -> Vec<FileSize> {
        let named = self.files.iter().enumerate();
        named
            .map(|(index, file)| FileSize {
                name: format!("/data/{index}"),
                bytes: file.len() as u64,
            })
            .collect()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn revision(&self) -> String {
        self.revision.clone()
    }

    fn text(&self, file: usize, offset: u64) -> Result<Box<dyn TextRead>, Fault> {
        let marked = offset == 0 && self.files[file].starts_with("\u{feff}".as_bytes());
        let start = if marked { 3 } else { offset };
        let mut cursor = io::Cursor::new(self.files[file].clone());
        cursor.set_position(start);
        Ok(Box::new(Slow(cursor, start)))
    }

    fn row_groups(&self, _: usize) -> Result<Vec<GroupSize>, Fault> {
        Ok(Vec::new())
    }

    fn row_group(&self, _: usize, _: usize, _: &[usize]) -> Result<Batches, Fault> {
        Ok(Box::new(std::iter::empty()))
    }
}

/// Chunks of about `bytes`.
pub(super) fn chunks_of(bytes: usize) -> ProcessLimits {
    ProcessLimits { chunk_bytes: bytes, ..ProcessLimits::default() }
}

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) value: Value,
    pub(super) parts: Vec<Value>,
    pub(super) chunks: u64,
}

pub(super) fn budget() -> Budget {
    Budget::new(1 << 20, 1000, Duration::from_mins(1))
}

/// Memory without an end.
pub(super) fn pool() -> Arc<dyn MemoryPool> {
    Arc::new(UnboundedMemoryPool::default())
}

/// A process at its beginning.
pub(super) fn begin(
    input: &Memory,
    operation: &Value,
    limits: &ProcessLimits,
) -> Result<(Process, Operation), Fault> {
    let operation: Operation = serde_json::from_value(operation.clone()).unwrap();
    let start = Start::new(Arc::new(input.clone()), &operation, limits.clone())?;
    Ok((Process::bare(start.run(Handle::current(), pool())?), operation))
}

/// A process behind its first chunks.
pub(super) fn go_on(
    input: &Memory,
    operation: &Operation,
    state: &[u8],
    next: u64,
) -> Result<Process, Fault> {
    let start = Start::after(Arc::new(input.clone()), operation, state, next)?;
    Ok(Process::bare(start.run(Handle::current(), pool())?))
}

/// Runs to the end; with `resume`, on a new process after every chunk.
pub(super) async fn run_as(
    input: &Memory,
    operation: &Value,
    limits: &ProcessLimits,
    resume: bool,
) -> Result<Outcome, Fault> {
    let (mut process, operation) = begin(input, operation, limits)?;
    let (mut parts, mut chunks) = (Vec::new(), 0);
    loop {
        match process.step(&budget()).await? {
            Step::Done(report) => return Ok(Outcome { value: report.value, parts, chunks }),
            Step::Chunk(chunk) => {
                assert_eq!(chunk.next, chunks + 1);
                assert!(chunk.message.starts_with("Processed: "), "{}", chunk.message);
                chunks = chunk.next;
                parts.extend(chunk.part);
                if resume {
                    let state = process.state()?;
                    process = go_on(input, &operation, &state, chunks)?;
                    assert_eq!(process.state()?, state, "a checkpoint is a fixed point");
                }
            }
        }
    }
}

/// Runs to the end in chunks of about `bytes`.
pub(super) async fn run(input: &Memory, operation: &Value, bytes: usize) -> Result<Outcome, Fault> {
    run_as(input, operation, &chunks_of(bytes), false).await
}

/// Waits for a run, on a runtime of its own.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(future)
}

impl Process {
    /// A process that has no engine.
    pub(super) fn bare(running: Box<dyn Running>) -> Self {
        Self { running, _room: None, _engine: None }
    }
}

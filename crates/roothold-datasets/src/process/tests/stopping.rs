//! Cancelling, resuming what must not be resumed, and what stands in the way of a chunk.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::{Budget, Fault, FaultKind};
use serde_json::json;
use tokio::runtime::Handle;

use super::super::input::{Batches, FileSize, GroupSize, Input, Shape, TextRead};
use super::super::start::Start;
use super::super::testing::{self, CSV, Memory, begin, budget, chunks_of, wait};
use super::super::{Operation, Process, ProcessLimits, Step};
use super::COLUMNS;

const TEXT: &[u8] = b"i,n,t\n1,1,a\n2,2,b\n3,3,c\n4,4,d\n";

fn input() -> Memory {
    Memory::new(CSV, &COLUMNS, &[TEXT])
}

/// A checkpoint after the first chunk.
async fn checkpoint(input: &Memory) -> Vec<u8> {
    let (mut process, _) = begin(input, &json!({"operation": "profile"}), &chunks_of(12)).unwrap();
    assert!(matches!(process.step(&budget()).await.unwrap(), Step::Chunk(_)));
    process.state().unwrap()
}

fn go_on(input: &Memory, operation: &str, state: &[u8], next: u64) -> Result<Process, Fault> {
    testing::go_on(input, &serde_json::from_str(operation).unwrap(), state, next)
}

const PROFILE: &str = r#"{"operation":"profile"}"#;

#[test]
fn only_the_same_work_on_the_same_content_goes_on() {
    wait(async {
        let state = checkpoint(&input()).await;
        assert!(go_on(&input(), PROFILE, &state, 1).is_ok());
        let mut other = input();
        other.revision = "2".to_owned();
        assert_eq!(go_on(&other, PROFILE, &state, 1).err().unwrap().kind(), FaultKind::Conflict);
        let named = r#"{"operation":"profile","columns":["i"]}"#;
        for (operation, state, next) in [
            (PROFILE, &state[..], 2),
            (named, &state, 1),
            (r#"{"operation":"sample"}"#, &state, 1),
            (PROFILE, &state[..state.len() - 1], 1),
            (PROFILE, b"", 1),
        ] {
            assert_eq!(
                go_on(&input(), operation, state, next).err().unwrap().kind(),
                FaultKind::Internal
            );
        }
    });
}

#[test]
fn the_limits_of_a_process_are_those_that_it_began_with() {
    wait(async {
        let state = checkpoint(&input()).await;
        let mut process = go_on(&input(), PROFILE, &state, 1).unwrap();
        let mut chunks = 1;
        while let Step::Chunk(chunk) = process.step(&budget()).await.unwrap() {
            chunks = chunk.next;
        }
        let (mut whole, _) =
            begin(&input(), &json!({"operation": "profile"}), &chunks_of(12)).unwrap();
        let mut uninterrupted = 0;
        while let Step::Chunk(chunk) = whole.step(&budget()).await.unwrap() {
            uninterrupted = chunk.next;
        }
        assert_eq!(chunks, uninterrupted);
        assert_eq!(process.partial().unwrap(), whole.partial().unwrap());
    });
}

/// Reads that never end, until they are told to.
struct Stuck(Shape, std::sync::atomic::AtomicBool);

struct StuckText(Arc<Stuck>);

impl Read for StuckText {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        while !self.0.1.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(std::io::Error::other("stopped"))
    }
}

impl TextRead for StuckText {
    fn start(&self) -> u64 {
        0
    }

    fn consumed(&self) -> Option<u64> {
        None
    }
}

struct Shared(Arc<Stuck>);

impl Input for Shared {
    fn files(&self) -> Vec<FileSize> {
        vec![FileSize { name: "/data".to_owned(), bytes: 9 }]
    }

    fn shape(&self) -> &Shape {
        &self.0.0
    }

    fn revision(&self) -> String {
        String::new()
    }

    fn text(&self, _: usize, _: u64) -> Result<Box<dyn TextRead>, Fault> {
        Ok(Box::new(StuckText(self.0.clone())))
    }

    fn stop(&self) {
        self.0.1.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn row_groups(&self, _: usize) -> Result<Vec<GroupSize>, Fault> {
        Ok(Vec::new())
    }

    fn row_group(&self, _: usize, _: usize, _: &[usize]) -> Result<Batches, Fault> {
        Ok(Box::new(std::iter::empty()))
    }
}

#[test]
fn a_step_ends_although_its_reading_does_not() {
    wait(async {
        let stuck = Arc::new(Stuck(input().shape, false.into()));
        let operation: Operation = serde_json::from_str(PROFILE).unwrap();
        let shared = Arc::new(Shared(stuck.clone()));
        let limits = ProcessLimits::default();
        let mut process = Process::bare(
            Start::new(shared, &operation, limits)
                .unwrap()
                .run(Handle::current(), testing::pool())
                .unwrap(),
        );
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        let cancel = budget.clone();
        let (step, ()) = tokio::join!(process.step(&budget), async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            cancel.cancel();
        });
        assert_eq!(step.unwrap_err().kind(), FaultKind::Cancelled);
        assert!(stuck.1.load(std::sync::atomic::Ordering::Relaxed), "the reading was told");
        let overdue = Budget::new(1, 1, Duration::ZERO);
        assert_eq!(process.step(&overdue).await.unwrap_err().kind(), FaultKind::Timeout);
    });
}

#[test]
fn a_step_that_nobody_waits_for_loses_no_chunk() {
    wait(async {
        let (mut process, _) =
            begin(&input(), &json!({"operation": "profile"}), &chunks_of(12)).unwrap();
        let mut done = None;
        while done.is_none() {
            // Given up at once, again and again, wherever it is.
            let budget = budget();
            let step = tokio::time::timeout(Duration::from_micros(50), process.step(&budget));
            if let Ok(Step::Done(report)) = step.await.unwrap_or(Err(Fault::invalid("given up"))) {
                done = Some(report);
            }
        }
        assert_eq!(done.unwrap().value["rows"], 4);
    });
}

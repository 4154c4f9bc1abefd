//! What groups hold is reserved, and given back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::error::Result as Reserved;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation, UnboundedMemoryPool,
};
use roothold_core::{Budget, Fault, FaultKind};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::super::start::Start;
use super::super::testing::{CSV, Memory, budget, chunks_of, wait};
use super::super::{Operation, Process, ProcessLimits, Step};
use super::COLUMNS;
use crate::testing::Workspace;

const GROUPS: usize = 40_000;
/// A key, and what is kept of a group, in a table.
const GROUP_BYTES: usize = 30;

/// Each row is a group of its own.
fn input() -> Memory {
    let rows: String = (0..GROUPS).map(|row| format!("{row},1,key {row:016}\n")).collect();
    Memory::new(CSV, &COLUMNS, &[("i,n,t\n".to_owned() + &rows).as_bytes()])
}

fn asked(function: &str) -> Operation {
    let aggregates =
        json!([{"function": "count"}, {"function": function, "column": "n", "name": "x"}]);
    let asked = json!({"operation": "aggregate", "group_by": ["t"], "aggregates": aggregates,
        "order_by": "count", "limit": 3});
    serde_json::from_value(asked).unwrap()
}

fn begin(function: &str, pool: &Arc<dyn MemoryPool>) -> Process {
    let limits = chunks_of(200 * 1024);
    let start = Start::new(Arc::new(input()), &asked(function), limits).unwrap();
    Process::bare(start.run(Handle::current(), Arc::clone(pool)).unwrap())
}

/// Steps to the end; after each chunk does what `between` says.
async fn to_the_end(
    mut process: Process,
    mut between: impl FnMut(&mut Process) -> Result<(), Fault>,
) -> Result<Value, Fault> {
    loop {
        match process.step(&budget()).await? {
            Step::Done(report) => return Ok(report.value),
            Step::Chunk(_) => between(&mut process)?,
        }
    }
}

/// Knows the most that was ever reserved.
#[derive(Debug, Default)]
struct Watched {
    all: UnboundedMemoryPool,
    peak: AtomicUsize,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

impl MemoryPool for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.all.grow(reservation, additional);
        self.peak.fetch_max(self.all.reserved(), Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Reserved<()> {
        self.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.all.reserved()
    }
}

/// The most that a run reserved, and its result.
async fn watched(
    function: &str,
    between: impl FnMut(&mut Process) -> Result<(), Fault>,
) -> (usize, Value) {
    let watched = Arc::new(Watched::default());
    let pool: Arc<dyn MemoryPool> = watched.clone();
    let value = to_the_end(begin(function, &pool), between).await.unwrap();
    assert_eq!(pool.reserved(), 0, "all of it is given back");
    (watched.peak.load(Ordering::Relaxed), value)
}

#[test]
fn what_groups_and_their_copies_hold_is_reserved() {
    wait(async {
        for function in ["sum", "approx_median", "approx_distinct", "max"] {
            let (alone, value) = watched(function, |_| Ok(())).await;
            assert_eq!(value["groups"], GROUPS, "{value}");
            assert!(alone > GROUPS * GROUP_BYTES, "{function}: {alone}");
            let told = |process: &mut Process| process.partial().map(drop);
            let (told, same) = watched(function, told).await;
            assert_eq!(same, value, "{function}");
            assert!(told > alone, "{function}: {told} with reports, {alone} without");
            let saved = |process: &mut Process| process.state().map(drop);
            let (saved, same) = watched(function, saved).await;
            assert_eq!(same, value, "{function}");
            assert!(saved > alone, "{function}: {saved} with checkpoints, {alone} without");
        }
    });
}

#[test]
fn without_memory_it_says_so_and_gives_all_back() {
    wait(async {
        for function in ["sum", "approx_median"] {
            let (peak, value) = watched(function, |_| Ok(())).await;
            for bytes in [0, peak / 20, peak / 4, peak / 2, peak - peak / 50] {
                let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
                let fault = match to_the_end(begin(function, &pool), |_| Ok(())).await {
                    // How chunks overlap differs: another run may hold a little less at its peak.
                    Ok(same) if bytes > peak / 2 => {
                        assert_eq!(same, value);
                        until_free(&pool).await;
                        continue;
                    }
                    ended => ended.unwrap_err(),
                };
                assert_eq!(fault.kind(), FaultKind::Limit, "{fault:?}");
                assert!(fault.public().contains("memory for datasets is used up"), "{fault:?}");
                until_free(&pool).await;
            }
        }
    });
}

/// Chunks that were at work end on threads of their own.
async fn until_free(pool: &Arc<dyn MemoryPool>) {
    for _ in 0..3_000 {
        if pool.reserved() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} bytes are not given back", pool.reserved());
}

#[test]
fn several_at_once_hold_no_more_than_there_is() {
    wait(async {
        let (peak, value) = watched("sum", |_| Ok(())).await;
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(2 * peak));
        let each = (0..6).map(|_| to_the_end(begin("sum", &pool), |_| Ok(())));
        let outcomes = futures::future::join_all(each).await;
        for outcome in &outcomes {
            match outcome {
                Ok(same) => assert_eq!(*same, value),
                Err(fault) => assert_eq!(fault.kind(), FaultKind::Limit, "{fault:?}"),
            }
        }
        assert!(outcomes.iter().any(Result::is_err), "six were held by a pool for two");
        until_free(&pool).await;
        assert_eq!(to_the_end(begin("sum", &pool), |_| Ok(())).await.unwrap(), value);
    });
}

#[test]
fn a_checkpoint_needs_memory_to_be_gone_on_from() {
    wait(async {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let mut process = begin("sum", &pool);
        let mut next = 0;
        while next < 4 {
            let Step::Chunk(chunk) = process.step(&budget()).await.unwrap() else { break };
            next = chunk.next;
        }
        let state = process.state().unwrap();
        let go_on = |bytes| {
            let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
            let start = Start::after(Arc::new(input()), &asked("sum"), &state, next).unwrap();
            start.run(Handle::current(), pool)
        };
        assert!(go_on(64 << 20).is_ok());
        assert_eq!(go_on(1 << 10).err().unwrap().kind(), FaultKind::Limit);
    });
}

#[test]
fn a_process_waits_for_memory_until_its_budget_ends() {
    let engine = crate::testing::engine();
    let dir = Workspace::new();
    let source = dir.file("a.csv", "i\n1\n2\n").source("a.csv");
    let operation: Operation = serde_json::from_value(json!({"operation": "profile"})).unwrap();
    let begin = |budget: Budget| {
        let (engine, source, operation) = (&engine, &source, &operation);
        async move {
            let limits = ProcessLimits::default();
            Process::open(engine, source, operation, limits, None, &budget).await
        }
    };
    wait(async {
        let all = MemoryConsumer::new("a query").register(&engine.memory());
        all.grow(engine.figures().memory_bytes_max);
        let soon = Budget::new(1, 1, Duration::from_millis(100));
        assert_eq!(begin(soon).await.err().unwrap().kind(), FaultKind::Timeout);
        let (process, ()) = tokio::join!(begin(budget()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(all);
        });
        let process = process.unwrap();
        assert!(engine.figures().memory_bytes > 0, "its chunks count");
        assert_eq!(to_the_end(process, |_| Ok(())).await.unwrap()["rows"], 2);
        assert_eq!(engine.figures().memory_bytes, 0);
    });
}

#[test]
fn more_at_once_than_there_is_memory_for_take_turns() {
    let engine = crate::testing::engine();
    let dir = Workspace::new();
    let source = dir.file("a.csv", "i\n1\n2\n").source("a.csv");
    let operation: Operation = serde_json::from_value(json!({"operation": "profile"})).unwrap();
    wait(async {
        let each = (0..40).map(|_| async {
            let limits = ProcessLimits::default();
            let budget = budget();
            let process = Process::open(&engine, &source, &operation, limits, None, &budget);
            let value = to_the_end(process.await?, |_| Ok(())).await?;
            let figures = engine.figures();
            assert!(figures.memory_bytes <= figures.memory_bytes_max, "{figures:?}");
            Ok::<_, Fault>(value["rows"] == json!(2))
        });
        let all = futures::future::try_join_all(each).await.unwrap();
        assert!(all.into_iter().all(|is_right| is_right));
    });
}

#[test]
fn the_engine_tells_what_they_hold() {
    let engine = crate::testing::engine();
    let other = MemoryConsumer::new("a query").register(&engine.memory());
    other.grow(7);
    assert_eq!(engine.figures().memory_bytes, 7);
    drop(other);
    assert_eq!(engine.figures().memory_bytes, 0);
}

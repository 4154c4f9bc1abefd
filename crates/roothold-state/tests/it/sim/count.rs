//! Work whose every chunk can be seen in the result: each adds its value to a total, and its number
//! to the parts.

use std::sync::Arc;
use std::time::Duration;

use roothold_core::{Fault, FaultKind};
use roothold_state::Claimed;
use roothold_state::Progress;
use roothold_state::worker::{Chunk, Running, Step, Timer as _, Work};
use tokio_util::sync::CancellationToken;

use super::clockwork::{Chance, Signals, World};

/// How a job behaves, from its input: chunks, then a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It works.
    Good,
    /// Now and then it says that it cannot just now.
    Flaky,
    /// It finds something wrong in its middle chunk.
    Failing,
    /// Its middle chunk ends the process that runs it.
    Poison,
}

impl Manner {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Good => 'g',
            Self::Flaky => 'f',
            Self::Failing => 'x',
            Self::Poison => 'p',
        }
    }
}

/// The value of a chunk: no sum of others gives the same total by chance.
pub(crate) fn value(chunk: u64) -> u64 {
    Chance::new(chunk).next() >> 16
}

/// What a process can work on.
pub(crate) struct Count {
    pub(crate) world: World,
    pub(crate) chance: Arc<std::sync::Mutex<Chance>>,
    /// The process in which it runs, for work that ends it.
    pub(crate) process: Signals,
    pub(crate) deaths: Arc<std::sync::atomic::AtomicU64>,
}

impl Work for Count {
    type Running = Counting;

    async fn open(&self, claimed: &Claimed, _: &CancellationToken) -> Result<Counting, Fault> {
        let input = std::str::from_utf8(&claimed.input).unwrap();
        let (chunks, manner) = input.split_at(input.len() - 1);
        let (mut next, mut total) = (0, 0);
        if let Some(at) = &claimed.checkpoint {
            next = at.next;
            total = u64::from_le_bytes(at.state.as_slice().try_into().unwrap());
        }
        let seed = self.chance.lock().unwrap().next();
        Ok(Counting {
            chunks: chunks.parse().unwrap(),
            manner: manner.to_owned(),
            next,
            total,
            world: self.world.clone(),
            chance: Chance::new(seed),
            process: self.process.clone(),
            deaths: Arc::clone(&self.deaths),
        })
    }
}

pub(crate) struct Counting {
    chunks: u64,
    manner: String,
    next: u64,
    total: u64,
    world: World,
    chance: Chance,
    process: Signals,
    deaths: Arc<std::sync::atomic::AtomicU64>,
}

impl Running for Counting {
    async fn step(&mut self, cancel: &CancellationToken) -> Result<Step, Fault> {
        if self.next == self.chunks {
            return Ok(Step::Done(self.total.to_string().into_bytes()));
        }
        // Some take longer than a lease lasts.
        let most = if self.chance.percent(5) { 30 } else { 2 };
        let takes = self.chance.upto(Duration::from_secs(most));
        let deaf = self.chance.percent(5);
        tokio::select! {
            biased;
            () = cancel.cancelled(), if !deaf => return Err(Fault::new(FaultKind::Cancelled, "cancelled")),
            () = self.world.sleep(takes) => {}
        }
        let middle = self.next == self.chunks / 2;
        match self.manner.as_str() {
            "f" if self.chance.percent(10) => return Err(Fault::new(FaultKind::Busy, "not now")),
            "x" if middle => return Err(Fault::invalid("the middle chunk is wrong")),
            "p" if middle => {
                self.deaths.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.process.kill();
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        self.total += value(self.next);
        let part = self.next.to_string().into_bytes();
        self.next += 1;
        Ok(Step::Chunk(Chunk {
            next: self.next,
            state: self.total.to_le_bytes().to_vec(),
            progress: Progress {
                bytes_done: self.next,
                bytes_total: Some(self.chunks),
                rows: self.total,
            },
            message: Some(format!("Processed: chunk {}", self.next)),
            partial: None,
            part: Some(part),
        }))
    }
}

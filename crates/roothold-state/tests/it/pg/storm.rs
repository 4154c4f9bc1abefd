//! Workers over a real server, killed and cut off in the middle of what they do.

use std::sync::Arc;
use std::time::Duration;

use roothold_core::Fault;
use roothold_state::worker::{Chunk, Running, Step, Work, Worker, WorkerOptions};
use roothold_state::{
    Claimed, Content, JobId, JobState, Limits, NewJob, PgStore, StateStore as _, Whose,
};
use roothold_testing::Postgres;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Pg;
use crate::contract::{Fixture as _, LEASE, new_job};
use crate::sim::clockwork::Chance;

const CHUNKS: u64 = 200;

/// How many chunks one life begins at most.
const LIFE: u64 = 8;

/// Adds up the numbers below [`CHUNKS`], one a chunk, as many as it is let.
struct Sum {
    left: Arc<Semaphore>,
}

struct Summing {
    left: Arc<Semaphore>,
    next: u64,
    total: u64,
}

impl Work for Sum {
    type Running = Summing;

    async fn open(&self, claimed: &Claimed, _: &CancellationToken) -> Result<Summing, Fault> {
        let mut summing = Summing { left: Arc::clone(&self.left), next: 0, total: 0 };
        if let Some(at) = &claimed.checkpoint {
            summing.next = at.next;
            summing.total = u64::from_le_bytes(at.state.as_slice().try_into().unwrap());
        }
        Ok(summing)
    }
}

impl Running for Summing {
    async fn step(&mut self, _: &CancellationToken) -> Result<Step, Fault> {
        if self.next == CHUNKS {
            return Ok(Step::Done(self.total.to_string().into_bytes()));
        }
        self.left.acquire().await.unwrap().forget();
        let part = self.next.to_string().into_bytes();
        self.total += self.next;
        self.next += 1;
        let state = self.total.to_le_bytes().to_vec();
        Ok(Step::Chunk(Chunk { next: self.next, state, part: Some(part), ..Chunk::default() }))
    }
}

async fn is_live(store: &PgStore, id: JobId) -> bool {
    loop {
        match store.get(id, Whose::Anyone).await {
            Ok(job) => return job.state.is_live(),
            Err(error) => assert!(error.is_outage(), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_chunk_counts_once_whenever_workers_die() {
    let pg = Pg::start_with(Limits::default()).await;
    let (store, options, skew) = (Arc::new(pg.store), pg.options, pg.skew);
    let job = NewJob { attempts_max: 1000, deadline: Duration::from_hours(7200), ..new_job("ann") };
    let id = job.id;
    store.submit(job).await.unwrap();
    let mut chance = Chance::new(4);
    for life in 0_u32.. {
        let manner = WorkerOptions {
            name: format!("life {life}"),
            kinds: vec!["count"],
            lease: LEASE,
            // Its predecessor's lease is over only once the clock jumps.
            poll: Duration::from_millis(5),
            ..WorkerOptions::default()
        };
        let chunks = chance.below(LIFE);
        let left = Arc::new(Semaphore::new(usize::try_from(chunks).unwrap()));
        let work = Arc::new(Sum { left: Arc::clone(&left) });
        let worker = Worker::new(Arc::clone(&store), work, manner);
        let process = tokio::spawn(async move { worker.run(CancellationToken::new()).await });
        // Until the last chunk is begun, or the job has ended; then it dies in whatever it does.
        let begun = async {
            while left.available_permits() > 0 && is_live(&store, id).await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), begun).await.expect("it gets on");
        tokio::time::sleep(chance.upto(Duration::from_millis(6))).await;
        if chance.percent(20) {
            // The server loses all connections of the store, in the middle of whatever they do.
            let cut = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
                 WHERE relnamespace = '{}'::regnamespace",
                options.schema
            );
            Postgres::shared().say("postgres", &cut).await;
            tokio::time::sleep(chance.upto(Duration::from_millis(30))).await;
        }
        process.abort();
        let _ = process.await;
        super::jump(Postgres::shared(), &options.schema, &skew, 11).await;
        if !is_live(&store, id).await {
            break;
        }
        assert!(life < 2000, "it does not get on");
    }
    let job = store.get(id, Whose::Anyone).await.unwrap();
    println!("{CHUNKS} chunks by {} claims", job.epoch);
    assert_eq!(
        (job.state, job.chunks, job.parts),
        (JobState::Completed, CHUNKS, CHUNKS),
        "{job:?}"
    );
    let mut parts = Vec::new();
    while parts.len() < 200 {
        let from = parts.len() as u64;
        let page = store.parts(id, Whose::Anyone, from, 90).await.unwrap();
        assert!(!page.is_empty() && page[0].number == from);
        parts.extend(page.into_iter().map(|part| String::from_utf8(part.content).unwrap()));
    }
    assert!(parts.iter().map(|part| part.parse::<u64>().unwrap()).eq(0..CHUNKS));
    let result = store.content(id, Whose::Anyone, Content::Result).await.unwrap().unwrap();
    assert_eq!(result, (CHUNKS * (CHUNKS - 1) / 2).to_string().into_bytes());
}

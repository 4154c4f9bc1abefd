//! Jobs of `process_large_dataset` while the replica that works on them is killed, put to sleep or
//! drained at any moment: they finish, and come to what an uninterrupted run comes to.
//!
//! A job of aggregation has a total that a chunk which counted twice, or not, would change; one of
//! conversion has every row in its file. With `ROOTHOLD_TEST_FULL=1` there are 100 moments over 2,000 chunks.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use roothold_testing::Postgres;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::jobs::{begin, eventually};
use crate::processing::{left, process, spec, table};
use crate::support::{Dirs, Server, Spec, full};

/// How many moments, over how many chunks of 4 KiB.
fn extent() -> (u64, usize) {
    if full() { (100, 2000) } else { (6, 80) }
}

const JOBS: &str = "[jobs]\nlease_seconds = 2\nrunning_max = 1\nattempts_max = 1000\n";
/// Of who only looks.
const WATCHER: &str = "[jobs]\nlease_seconds = 2\nrunning_max = 0\nattempts_max = 1000\n";
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Waits for the end of a job of many chunks.
fn ended(server: &Server, id: &str) -> Value {
    let until = Instant::now() + Duration::from_mins(20);
    loop {
        match look(server, id) {
            Some(job) if job["job"]["ended_at"].is_string() => return job,
            job => assert!(Instant::now() < until, "the job does not end: {job:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A job, unless the store does not answer just now: a process that sleeps may hold its lock.
fn look(server: &Server, id: &str) -> Option<Value> {
    let of = json!({"job_id": id, "max_bytes": 100_000});
    let mut reply = server.call("get_job", &of).result();
    if reply["isError"] != true {
        return Some(reply["structuredContent"].take());
    }
    let kind = &reply["_meta"]["io.roothold/error"]["kind"];
    assert!(["timeout", "unavailable", "busy"].contains(&kind.as_str().unwrap()), "{reply}");
    None
}

/// What chance chose, in a way that can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// Replicas that come and go, and one that only looks.
struct Fleet<'a> {
    start: Box<dyn Fn(&'static str, &'static str) -> Spec<'a> + 'a>,
    watcher: Server,
    replicas: Vec<Replica>,
    done: [u64; 3],
}

struct Replica {
    name: &'static str,
    server: Server,
    /// Until when it sleeps.
    asleep: Option<Instant>,
}

impl<'a> Fleet<'a> {
    fn new(start: impl Fn(&'static str, &'static str) -> Spec<'a> + 'a) -> Self {
        let replica = |name| Replica { name, server: start(name, JOBS).start(), asleep: None };
        let replicas = NAMES.into_iter().map(replica).collect();
        let watcher = start("watcher", WATCHER).start();
        Self { start: Box::new(start), watcher, replicas, done: [0; 3] }
    }

    /// Wakes those whose time has come.
    fn wake(&mut self, all: bool) {
        for replica in &mut self.replicas {
            if replica.asleep.is_some_and(|until| all || Instant::now() >= until) {
                replica.server.signal(Signal::CONT);
                replica.asleep = None;
            }
        }
    }

    /// Takes away whoever works, in one of three ways; nobody, if no one works just now.
    fn strike(&mut self, chance: &mut Chance) -> bool {
        let works = |replica: &&mut Replica| {
            replica.asleep.is_none() && replica.server.gauge("roothold_jobs_running") > 0.5
        };
        let Some(replica) = self.replicas.iter_mut().find(works) else { return false };
        // At any moment within a chunk.
        std::thread::sleep(Duration::from_micros(chance.below(40_000)));
        let how = usize::try_from(chance.below(3)).unwrap();
        self.done[how] += 1;
        match how {
            0 => replica.server.signal(Signal::KILL),
            1 => replica.server.signal(Signal::TERM),
            _ => {
                replica.server.signal(Signal::STOP);
                // It may wake before its lease is over, or long after.
                let pause = Duration::from_millis(200 + chance.below(6000));
                replica.asleep = Some(Instant::now() + pause);
                return true;
            }
        }
        let name = replica.name;
        // One that sleeps may hold the lock of a file: for longer than another may take to end, and so
        // long none starts.
        let sleeps = self.replicas.iter().any(|replica| replica.asleep.is_some());
        let ended = eventually("it ends", || {
            self.wake(false);
            self.named(name).server.wait(Duration::from_millis(1))
        });
        let log = self.named(name).server.log();
        assert!(how == 0 || ended.success() || sleeps, "{log}");
        let server = eventually("a server starts", || {
            self.wake(false);
            let start = || (self.start)(name, JOBS).start();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)).ok()
        });
        self.named(name).server = server;
        true
    }

    fn named(&mut self, name: &str) -> &mut Replica {
        self.replicas.iter_mut().find(|replica| replica.name == name).expect("it is there")
    }

    fn chunks(&self, id: &str) -> Option<(u64, bool)> {
        let job = look(&self.watcher, id)?["job"].take();
        Some((job["progress"]["chunks"].as_u64().unwrap(), job["ended_at"].is_string()))
    }

    /// Strikes at `moments` that are spread over the chunks of a job, and returns what became of it.
    fn storm(&mut self, id: &str, moments: u64, chunks: u64, chance: &mut Chance) -> Value {
        for moment in 0..moments {
            let from = moment * chunks / (moments + 1);
            let at = from + chance.below((chunks / (moments + 1)).max(1));
            eventually("the job goes on", || {
                self.wake(false);
                let (done, ended) = self.chunks(id)?;
                if done < at && !ended {
                    return None;
                }
                (ended || self.strike(chance)).then_some(())
            });
        }
        self.wake(true);
        ended(&self.watcher, id)
    }
}

/// A job of each kind in a storm.
fn comes_to_the_same<'a>(
    dirs: &'a Dirs,
    seed: u64,
    start: impl Fn(&'static str, &'static str) -> Spec<'a> + 'a,
) -> String {
    let (moments, chunks) = extent();
    let mut chance = Chance(seed);
    dirs.write("work/table.csv", table(chunks * 106));
    let mut fleet = Fleet::new(start);
    let aggregates = json!([{"function": "count"}, {"function": "sum", "column": "id"}, {"function": "sum", "column": "amount"}]);
    let of = json!({"group_by": ["city"], "aggregates": aggregates});
    let aggregate = process(dirs, "aggregate", of);
    let convert = |name: &str| process(dirs, "convert", json!({"output": dirs.fill_in(name)}));
    let background = |request: &crate::support::Request| {
        request.clone().edit(|body| body["params"]["arguments"]["background"] = true.into())
    };
    let whole = |request: &crate::support::Request| {
        let id = begin(&fleet.watcher, &background(request));
        let job = ended(&fleet.watcher, &id);
        assert_eq!(job["job"]["status"], "completed", "{job}");
        (job["result"].clone(), job["job"]["progress"]["chunks"].as_u64().unwrap())
    };
    let began = Instant::now();
    let (wanted, all) = whole(&aggregate);
    let (file, steps) = whole(&convert("$ROOT/whole.csv"));
    let mut said = format!("{all} chunks; both jobs uninterrupted in {:?}", began.elapsed());
    assert!(all >= chunks as u64 * 9 / 10, "{all}");

    let began = Instant::now();
    let id = begin(&fleet.watcher, &background(&aggregate));
    let job = fleet.storm(&id, moments, all, &mut chance);
    assert_eq!(job["job"]["status"], "completed", "{job}");
    assert_eq!(job["result"], wanted, "each chunk counts once");
    assert_eq!(job["job"]["progress"]["chunks"], all);
    let _ = write!(said, "; aggregate: {:?} kill, term, stop in {:?}", fleet.done, began.elapsed());

    let began = Instant::now();
    let id = begin(&fleet.watcher, &background(&convert("$ROOT/stormy.csv")));
    let job = fleet.storm(&id, moments, steps, &mut chance);
    assert_eq!(job["job"]["status"], "completed", "{job}");
    assert_eq!(job["result"]["rows"], file["rows"]);
    let read = |name: &str| std::fs::read(dirs.work().join(name)).unwrap();
    assert!(read("whole.csv") == read("stormy.csv"), "each row is there once, in order");
    let _ = write!(said, "; with convert: {:?}, that in {:?}", fleet.done, began.elapsed());
    assert!(fleet.done.iter().sum::<u64>() >= moments / 2, "{:?}", fleet.done);
    eventually("no file is left", || left(&dirs.work()).is_empty().then_some(()));
    said
}

#[test]
fn jobs_in_one_file_come_to_the_same_whoever_is_taken_away() {
    let dirs = Dirs::with_fixture();
    println!("{}", comes_to_the_same(&dirs, 1, |name, jobs| spec(&dirs, name, jobs)));
}

/// 32 bytes that all replicas have.
const KEYS: &str = "[handles]\nkeys = [\"k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]\n";

#[test]
fn jobs_in_a_database_come_to_the_same_whoever_is_taken_away() {
    let (database, dirs) = (Postgres::start(), Dirs::with_fixture());
    let url = database.url("postgres:a-password", "postgres");
    let said = comes_to_the_same(&dirs, 2, |name, jobs| {
        let mut spec = spec(&dirs, name, "");
        let at = spec.config.find("[state]").unwrap();
        spec.config.truncate(at);
        let _ = write!(spec.config, "{jobs}{KEYS}[state]\npostgres = \"${{JOBS_URL}}\"\n");
        spec.env.push(("JOBS_URL", url.as_str()));
        spec
    });
    println!("{said}");
}

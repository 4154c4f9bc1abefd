//! An audit log that goes on in another file, since one has grown or failed, under load, by servers that are
//! killed while it does: what was answered is on record, every file is whole, and none contradicts another.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roothold_core::audit::{self, BrokenReason};
use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Request, Server, Spec, full};

/// How many servers are killed, and how many of them live at a time.
const KILLS: u64 = 20;
const KILLS_FULL: u64 = 100;
const AT_ONCE: u64 = 8;
const CLIENTS: usize = 2;
/// The longest that a file may take to grow or to fail, and another to begin.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn logs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect()
}

/// Calls again and again until the server is gone, and returns the ids of the calls that were answered.
fn ask_until_it_ends(server: &Server, request: &[u8]) -> HashSet<String> {
    let mut answered = HashSet::new();
    let mut conn = Conn::open(server.address);
    loop {
        conn.write_if_open(request);
        let Some(reply) = conn.read() else { return answered };
        let result = reply.json()["result"].clone();
        if result["isError"] != true && result["content"].is_array() {
            answered.insert(reply.header("x-request-id").unwrap().to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the log goes on in a second file, or for some time, and kills the server then.
fn kill(server: &Server, audit: &Path, round: u64) {
    let until = Instant::now() + PATIENCE;
    // One in four is killed whenever it comes, the others as another file has begun, or just after.
    let any_time = Duration::from_micros(round.wrapping_mul(7919 * 131) % 5_000_000);
    let began = Instant::now();
    while logs(audit).len() < 2 && !(round % 4 == 3 && began.elapsed() > any_time) {
        assert!(Instant::now() < until, "no other file begins: {}", server.log());
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(Duration::from_micros(round % 4 * 150));
    server.signal(rustix::process::Signal::KILL);
}

/// The ids of the requests that have an intent and its outcome, in the same file.
pub(crate) fn recorded(audit: &Path) -> HashSet<String> {
    let mut ids = HashSet::new();
    for log in logs(audit) {
        let text = std::fs::read_to_string(log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut open = HashMap::new();
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["kind"] == "intent" {
                open.insert(line["call"].clone().to_string(), line["request_id"].clone());
            } else if line["kind"] == "outcome" {
                let id = open.remove(&line["call"].to_string()).expect("an intent before it");
                assert!(ids.insert(id.as_str().unwrap().to_owned()), "{id} is there twice");
            }
        }
    }
    ids
}

/// Whether a log may be what a kill left: whole, without a line, or, where the kernel was in the middle of writing
/// several, cut off within the last; that one was not answered.
fn what_a_kill_may_leave(log: &Path) -> Result<(), String> {
    let bytes = std::fs::read(log).unwrap();
    match audit::verify(bytes.as_slice()) {
        Ok(_) => Ok(()),
        Err(_) if bytes.is_empty() => Ok(()),
        Err(bad) if matches!(bad.reason, BrokenReason::TruncatedLastLine) => {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            audit::verify(&bytes[..whole]).map(drop).map_err(|bad| bad.to_string())
        }
        Err(bad) => Err(bad.to_string()),
    }
}

/// One server: how many files its log had, and how many calls were answered.
fn round(number: u64) -> (usize, usize) {
    let dirs = Dirs::with_fixture();
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    let (fails, queued) = (number % 5 == 4, number % 5 == 3);
    spec.small_files = fails;
    let reads = if queued { "queued" } else { "written" };
    spec.env =
        vec![("ROOTHOLD_AUDIT__FILE_BYTES_MAX", "1048576"), ("ROOTHOLD_AUDIT__READS", reads)];
    let audit = spec.audit.clone();
    let server = spec.start();
    let request = if fails {
        let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
        Request::call("read_text_file", &read).bytes()
    } else {
        // Names that make a long line, so that the file grows soon.
        let missing = |at: usize| dirs.fill_in(&format!("$ROOT/{at}/{}", "n".repeat(200)));
        let mut paths: Vec<_> = (0..40).map(missing).collect();
        paths.push(dirs.fill_in("$ROOT/hello.txt"));
        Request::call("read_multiple_files", &json!({"paths": paths})).bytes()
    };
    let answered = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| ask_until_it_ends(&server, &request))).collect();
        kill(&server, &audit, number);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<HashSet<_>>()
    });
    drop(server);
    let recorded = recorded(&audit);
    let lost: Vec<_> = answered.difference(&recorded).cloned().collect();
    // What is queued is in memory for a moment, and lost with the process.
    assert!(queued || lost.is_empty(), "round {number}: answered and not on record: {lost:?}");
    for log in logs(&audit) {
        what_a_kill_may_leave(&log).unwrap_or_else(|bad| panic!("round {number}: {bad}"));
    }
    let mut verify = Command::new(env!("CARGO_BIN_EXE_roothold"));
    let done = verify.args(["audit", "verify"]).arg(&audit).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() || said.contains("the last line is cut off"), "{number}: {said}");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(!said.contains("nothing of it is here"), "{number}: {said}");
    (logs(&audit).len(), answered.len())
}

#[test]
fn a_kill_while_the_log_goes_on_in_another_file_loses_nothing_that_was_answered() {
    let kills = if full() { KILLS_FULL } else { KILLS };
    let (next, files, calls) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(kills) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= kills {
                        return;
                    }
                    let (of_round, answered) = round(number);
                    files.fetch_add(of_round as u64, Ordering::Relaxed);
                    calls.fetch_add(answered as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let (files, calls) = (files.into_inner(), calls.into_inner());
    println!("{kills} kills: {files} files of logs, {calls} calls answered");
    assert!(files > kills, "no log went on in another file");
    assert!(calls > kills, "nothing was answered");
}

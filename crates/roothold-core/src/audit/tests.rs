//! Tests of the audit log.

#![expect(clippy::disallowed_methods, reason = "the tests look at the log's own files")]

mod chain;
mod links;
mod writing;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::chain::{Chain, Head};
use super::links::{Absent, Link, Series};
use super::log::{AuditError, AuditLog, AuditOptions, Reads};
use super::record::{
    Action, AuthFailure, CallId, Decision, Entry, Intent, LINE_BYTES_MAX, Outcome,
};
use super::sink::Sink;
use super::verify::{Broken, BrokenReason, Summary, verify, verify_against};
use super::{Checkpoint, CheckpointKey, Event, records};

const ACTIONS: &[Action<'_>] = &[Action {
    verb: "read",
    target: "file:///workspace/mcp-demo/README.md",
    denied: None,
    temp: None,
    statement: None,
}];

fn intent(call: CallId) -> Intent<'static> {
    Intent {
        call,
        principal: "alice",
        tool: "read_text_file",
        actions: ACTIONS,
        decision: Decision::Allow,
        rule: "policy.read[0]",
        request_id: "req-1",
    }
}

fn outcome(call: CallId) -> Outcome<'static> {
    let duration = Duration::from_micros(812);
    Outcome { call, fault: None, rule: None, bytes_out: 1_234, duration }
}

fn options(reads: Reads) -> AuditOptions {
    AuditOptions { reads, ..AuditOptions::default() }
}

/// A file in memory that fails as it is told.
#[derive(Default)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    syncs: AtomicU64,
    writes: AtomicU64,
    /// The most bytes one write takes; 0 is no limit.
    write_max: AtomicUsize,
    /// The size at which the disk is full; 0 is no limit.
    room: AtomicUsize,
    sync_fails: AtomicBool,
    panics: AtomicBool,
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Sink for Arc<Memory> {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.panics.load(Ordering::Relaxed), "as it is told");
        let mut held = self.bytes.lock().unwrap();
        let limit = |n: &AtomicUsize| match n.load(Ordering::Relaxed) {
            0 => usize::MAX,
            n => n,
        };
        let count = bytes.len().min(limit(&self.write_max));
        let count = count.min(limit(&self.room).saturating_sub(held.len()));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        held.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Relaxed), "as it is told");
        if self.sync_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("device error"));
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn cut_back(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}

fn log_in_memory(options: AuditOptions) -> (AuditLog, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let sink = Box::new(Arc::clone(&memory));
    let log = AuditLog::start(sink, PathBuf::from("memory"), options, ("b00t", 0), None).unwrap();
    (log, memory)
}

/// Waits until `done`, for at most ten seconds.
fn eventually(done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "it did not happen in ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

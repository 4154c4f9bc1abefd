//! Files that begin, are held by calls, and end.

#![expect(clippy::disallowed_methods, reason = "looks at what it wrote to a temporary directory")]

use std::collections::HashMap;
use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roothold_core::audit::{
    AuthFailure, CallId, Decision, Event, Intent, Outcome, Reads, Series, records, verify,
};

use super::*;

fn failure() -> AuthFailure<'static> {
    AuthFailure { class: "missing", remote: None, request_id: "r" }
}

fn begun(dir: &Path) -> Audit {
    let audit = Audit::ahead(dir.to_owned(), AuditOptions::default());
    audit.begin().unwrap();
    audit
}

#[test]
fn before_it_begins_there_is_no_file_and_nothing_can_be_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::ahead(dir.path().join("audit"), AuditOptions::default());
    assert!(audit.current().is_err() && !audit.is_healthy());
    assert!(audit.renew().is_err());
    audit.close().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let audit = begun(&dir.path().join("audit"));
    audit.begin().unwrap();
    assert!(audit.is_healthy());
    assert_eq!(fs::read_dir(dir.path().join("audit")).unwrap().count(), 1);
}

#[test]
fn a_log_that_is_well_or_closed_begins_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let audit = begun(dir.path());
    assert_eq!(audit.renew().unwrap(), None);
    audit.current().unwrap().auth_failure(&failure()).unwrap();
    audit.close().unwrap();
    assert!(!audit.is_healthy());
    assert_eq!(audit.renew().unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(audit.figures().1, 0);
}

#[test]
fn another_file_begins_when_one_has_ended_and_its_calls_keep_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let audit = begun(dir.path());
    let first = audit.current().unwrap();
    first.auth_failure(&failure()).unwrap();
    // One that was closed by itself is as one that failed: it takes nothing any more.
    first.close().unwrap();
    assert!(!audit.is_healthy());
    assert_eq!(audit.figures().1, 1);
    assert_eq!(audit.renew().unwrap(), Some(Why::Failed));
    assert!(audit.is_healthy() && !first.is_healthy());
    assert!(first.auth_failure(&failure()).is_err());
    audit.current().unwrap().auth_failure(&failure()).unwrap();
    let (figures, failed) = audit.figures();
    assert_eq!((figures.lines, failed), (5, 1));
    audit.close().unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let summary = verify(bytes.as_slice()).unwrap();
        assert_eq!((summary.auth_failures, summary.stopped), (1, true));
        // The second one has a line on the first one's end.
        assert_eq!(summary.lines, 3 + summary.before.len().saturating_sub(1) as u64);
    }
    assert_eq!(kept(dir.path()).0, 2);
}

#[test]
fn files_that_fail_again_and_again_end() {
    let dir = tempfile::tempdir().unwrap();
    let audit = begun(dir.path());
    let mut calls = Vec::new();
    for _ in 0..HELD_MAX {
        calls.push(audit.current().unwrap());
        audit.current().unwrap().close().unwrap();
        assert_eq!(audit.renew().unwrap(), Some(Why::Failed));
    }
    audit.current().unwrap().close().unwrap();
    assert!(audit.renew().unwrap_err().to_string().contains("restart"));
    assert_eq!(audit.figures().1, HELD_MAX as u64 + 1);
    // As soon as one of these calls has ended, another may begin.
    calls.pop();
    assert_eq!(audit.renew().unwrap(), Some(Why::Failed));
    assert_eq!(audit.figures().1, HELD_MAX as u64 + 1);
}

#[test]
fn files_whose_calls_have_ended_are_no_limit_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let audit = begun(dir.path());
    let files = 3 * HELD_MAX as u64;
    for _ in 0..files {
        audit.current().unwrap().close().unwrap();
        assert_eq!(audit.renew().unwrap(), Some(Why::Failed));
    }
    let (figures, failed) = audit.figures();
    assert_eq!(failed, files);
    // Each has its first line, its last, and one on the end of the one before; the first has no such one, and
    // the newest no last.
    assert_eq!(figures.lines, 3 * files + 1);
}

fn grows(dir: &Path, reads: Reads) -> Audit {
    // Room for everything: how far the log's thread falls behind is not what these ask.
    let queue_bytes_max = 64 * 1024 * 1024;
    let options = AuditOptions { reads, queue_bytes_max, ..AuditOptions::default() };
    let audit = Audit::ahead(dir.to_owned(), AuditOptions { file_bytes_max: 16 * 1024, ..options });
    audit.begin().unwrap();
    audit
}

/// A call between its two records.
struct Open(Arc<AuditLog>, CallId);

impl Open {
    fn begin(audit: &Audit, id: &str, changes: bool) -> Self {
        let log = audit.current().unwrap();
        let call = log.next_call();
        let intent = Intent {
            call,
            principal: "anna",
            tool: "read_text_file",
            actions: &[],
            decision: Decision::Allow,
            rule: "policy",
            request_id: id,
        };
        let intent_of = if changes { AuditLog::intent_write } else { AuditLog::intent_read };
        intent_of(&log, &intent).unwrap();
        Self(log, call)
    }

    fn end(self) {
        let Self(log, call) = self;
        let duration = Duration::ZERO;
        log.outcome(&Outcome { call, fault: None, rule: None, bytes_out: 0, duration }).unwrap();
    }
}

/// Calls until the file has grown.
fn grow(audit: &Audit) {
    let log = audit.current().unwrap();
    while !log.is_grown() {
        Open::begin(audit, "grow", false).end();
        log.flush().unwrap();
    }
}

/// How many files there are, all whole and none missing, and how often each request has both its records, in
/// one file.
fn kept(dir: &Path) -> (usize, HashMap<String, u32>) {
    let mut logs: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    let (mut series, mut calls) = (Series::default(), HashMap::new());
    for log in logs.iter().rev() {
        let open = || BufReader::new(fs::File::open(log).unwrap());
        let summary = series.verify(log.file_name().unwrap().to_str().unwrap(), open()).unwrap();
        assert_eq!((summary.unfinished, summary.unannounced), (0, 0), "{}", log.display());
        let mut begun = HashMap::new();
        for record in records(open()) {
            match record.unwrap().event {
                Event::Intent { call, request_id, .. } => {
                    assert!(begun.insert(call, request_id).is_none(), "a call has one intent");
                }
                Event::Outcome { call, .. } => {
                    let id = begun.remove(&call).expect("an intent before it");
                    *calls.entry(id).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(series.absent().count(), 0);
    (logs.len(), calls)
}

#[test]
fn every_call_of_many_threads_has_both_records_once_and_in_one_file() {
    const THREADS: usize = 8;
    const CALLS: usize = 500;
    for reads in [Reads::Written, Reads::Queued] {
        let dir = tempfile::tempdir().unwrap();
        let audit = grows(dir.path(), reads);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let calls = |thread: usize| {
                let audit = &audit;
                move || {
                    for at in 0..CALLS {
                        let call = Open::begin(audit, &format!("{thread}-{at}"), at % 50 == thread);
                        if at % 16 == thread {
                            // Others go on in another file meanwhile.
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        call.end();
                    }
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(calls(thread))).collect();
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    audit.renew().unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            let ended = threads.into_iter().all(|thread| thread.join().is_ok());
            over.store(true, Ordering::Relaxed);
            assert!(ended);
        });
        audit.close().unwrap();
        let (files, calls) = kept(dir.path());
        assert!(files > 5, "{files} files");
        assert_eq!(calls.len(), THREADS * CALLS);
        assert!(calls.values().all(|times| *times == 1), "a call was recorded twice");
        assert_eq!(audit.figures().1, 0);
    }
}

#[test]
fn a_file_that_has_grown_is_closed_when_its_last_call_has_ended() {
    for reads in [Reads::Written, Reads::Queued] {
        let dir = tempfile::tempdir().unwrap();
        let audit = grows(dir.path(), reads);
        let call = Open::begin(&audit, "long", true);
        grow(&audit);
        assert!(audit.wants_care());
        assert_eq!(audit.renew().unwrap(), Some(Why::Grown));
        let (first, second) = (call.0.path().to_owned(), audit.current().unwrap());
        assert_ne!(first, second.path());
        let stopped = || verify(&fs::read(&first).unwrap()[..]).unwrap().stopped;
        // Nothing is to be done as long as the call runs, nor does it count as one that a crash cut off.
        assert!(!audit.wants_care() && audit.renew().unwrap().is_none() && !stopped());
        assert!(second.left_by_others().is_empty());
        call.end();
        assert!(audit.wants_care());
        assert_eq!(audit.renew().unwrap(), None);
        assert!(!audit.wants_care() && stopped() && audit.is_healthy());
        let next = verify(&fs::read(&first).unwrap()[..]).unwrap().next;
        assert_eq!(next, Some(second.name()));
        drop(second);
        audit.close().unwrap();
        assert_eq!(kept(dir.path()).0, 2);
        assert_eq!(audit.figures().1, 0);
    }
}

#[test]
fn where_no_other_file_can_be_begun_it_goes_on_in_the_one_there_is() {
    for reads in [Reads::Written, Reads::Queued] {
        let parent = tempfile::tempdir().unwrap();
        let (dir, away) = (parent.path().join("audit"), parent.path().join("away"));
        let audit = grows(&dir, reads);
        grow(&audit);
        fs::rename(&dir, &away).unwrap();
        fs::write(&dir, "no directory").unwrap();
        for turn in 0..3 {
            assert!(matches!(audit.renew(), Err(RenewError::Log(_))));
            assert!(audit.is_healthy() && audit.wants_care());
            Open::begin(&audit, &format!("call {turn}"), true).end();
        }
        fs::remove_file(&dir).unwrap();
        fs::rename(&away, &dir).unwrap();
        assert_eq!(audit.renew().unwrap(), Some(Why::Grown));
        Open::begin(&audit, "call 3", true).end();
        audit.close().unwrap();
        let (files, calls) = kept(&dir);
        assert_eq!(files, 2);
        assert!((0..4).all(|turn| calls[&format!("call {turn}")] == 1));
    }
}

#[test]
fn calls_that_do_not_end_keep_the_log_in_the_last_file() {
    let dir = tempfile::tempdir().unwrap();
    let audit = grows(dir.path(), Reads::Written);
    let mut calls = Vec::new();
    for at in 0..HELD_MAX {
        calls.push(Open::begin(&audit, &format!("long {at}"), false));
        grow(&audit);
        assert_eq!(audit.renew().unwrap(), Some(Why::Grown));
    }
    grow(&audit);
    assert!(matches!(audit.renew(), Err(RenewError::Held)));
    Open::begin(&audit, "more", true).end();
    calls.pop().unwrap().end();
    assert_eq!(audit.renew().unwrap(), Some(Why::Grown));
    calls.into_iter().for_each(Open::end);
    audit.close().unwrap();
    let (files, calls) = kept(dir.path());
    assert_eq!((files, calls["more"]), (HELD_MAX + 2, 1));
}

#[test]
fn a_file_that_fails_while_calls_hold_it_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let audit = grows(dir.path(), Reads::Written);
    let call = Open::begin(&audit, "long", false);
    grow(&audit);
    assert_eq!(audit.renew().unwrap(), Some(Why::Grown));
    call.0.close().unwrap();
    assert_eq!(audit.figures().1, 1);
    drop(call);
    assert_eq!(audit.renew().unwrap(), None);
    assert_eq!(audit.figures().1, 1);
    assert!(audit.is_healthy());
}

#[tokio::test]
async fn whoever_waits_is_told_by_the_next_call() {
    let dir = tempfile::tempdir().unwrap();
    let audit = grows(dir.path(), Reads::Written);
    grow(&audit);
    audit.current().unwrap();
    tokio::time::timeout(Duration::from_secs(10), audit.grown()).await.unwrap();
}

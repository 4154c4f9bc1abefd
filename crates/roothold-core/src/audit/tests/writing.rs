//! When lines reach the file, and what happens when they cannot.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn lines(memory: &Memory) -> usize {
    memory.text().lines().count()
}

#[test]
fn the_file_is_new_private_and_begins_with_a_boot_line() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("var/audit");
    let replica = "web-1".to_owned();
    let log = AuditLog::open(&dir, AuditOptions { replica, ..options(Reads::Written) }).unwrap();
    let other = AuditLog::open(&dir, options(Reads::Queued)).unwrap();
    assert_ne!(log.path(), other.path());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(dir.as_path()), 0o700);
    assert_eq!(mode(log.path()), 0o600);
    let name = log.path().file_name().unwrap().to_str().unwrap().to_owned();
    let stem = name.strip_suffix(".jsonl").unwrap();
    assert!(
        stem.starts_with("audit-20")
            && stem.len() == "audit-20261122T110405.123456Z-01234567".len()
    );
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(text.contains(r#""kind":"boot","version":""#), "{text}");
    assert!(text.contains(r#""replica":"web-1","prev":null,"#), "{text}");
    assert_eq!(log.head().seq, 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_without_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = AuditLog::open(&file.path().join("audit"), options(Reads::Written)).unwrap_err();
    assert!(matches!(error, AuditError::Open(_)));
    assert!(!error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}

#[test]
fn written_lines_are_in_the_file_before_the_outcome_returns() {
    let (log, memory) = log_in_memory(options(Reads::Written));
    for at in 0..20 {
        let call = log.next_call();
        log.intent_read(&intent(call)).unwrap();
        log.outcome(&outcome(call)).unwrap();
        assert_eq!(lines(&memory), 1 + 2 * (at + 1));
    }
    let failure = AuthFailure { class: "missing", remote: None, request_id: "r" };
    log.auth_failure(&failure).unwrap();
    assert_eq!(lines(&memory), 42);
}

#[test]
fn the_intent_of_a_read_that_still_runs_reaches_the_file_and_the_disk() {
    for reads in [Reads::Written, Reads::Queued] {
        let fsync_interval = Duration::from_millis(300);
        let (log, memory) = log_in_memory(AuditOptions { fsync_interval, ..options(reads) });
        // The thread sleeps for good now, and must be woken.
        std::thread::sleep(Duration::from_millis(150));
        let syncs = memory.syncs.load(Ordering::Relaxed);
        log.intent_read(&intent(log.next_call())).unwrap();
        eventually(|| lines(&memory) == 2);
        eventually(|| memory.syncs.load(Ordering::Relaxed) > syncs);
        assert_eq!(log.head().seq, 2);
    }
}

#[test]
fn the_intent_of_a_write_is_synced_before_it_returns() {
    for reads in [Reads::Written, Reads::Queued] {
        let (log, memory) = log_in_memory(options(reads));
        let before = memory.syncs.load(Ordering::Relaxed);
        log.intent_write(&intent(log.next_call())).unwrap();
        assert_eq!(lines(&memory), 2);
        assert!(memory.syncs.load(Ordering::Relaxed) > before);
        assert_eq!(log.head().seq, 2);
    }
}

#[test]
fn a_full_queue_refuses_intents_and_never_outcomes() {
    let queue_bytes_max = 2_000;
    let (log, memory) = log_in_memory(AuditOptions { queue_bytes_max, ..options(Reads::Queued) });
    let mut taken = Vec::new();
    let refused = loop {
        let call = log.next_call();
        match log.intent_read(&intent(call)) {
            Ok(()) => taken.push(call),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AuditError::Full), "{refused}");
    assert!((1..50).contains(&taken.len()), "{}", taken.len());
    for call in &taken {
        log.outcome(&outcome(*call)).unwrap();
    }
    log.flush().unwrap();
    log.intent_read(&intent(log.next_call())).unwrap();
    log.close().unwrap();
    let summary = verify(memory.text().as_bytes()).unwrap();
    assert_eq!(summary.intents, taken.len() as u64 + 1);
    assert_eq!(summary.outcomes, taken.len() as u64);
}

#[test]
fn many_threads_make_one_whole_chain() {
    for reads in [Reads::Written, Reads::Queued] {
        let dir = tempfile::tempdir().unwrap();
        // Room for everything: how far the thread falls behind is not what this asks.
        let queue_bytes_max = 64 * 1024 * 1024;
        let options = AuditOptions { queue_bytes_max, ..options(reads) };
        let log = AuditLog::open(dir.path(), options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let log = &log;
                scope.spawn(move || {
                    for at in 0..1_000 {
                        let call = log.next_call();
                        if thread == 0 && at % 100 == 0 {
                            log.intent_write(&intent(call)).unwrap();
                        } else {
                            log.intent_read(&intent(call)).unwrap();
                        }
                        log.outcome(&outcome(call)).unwrap();
                    }
                });
            }
        });
        log.close().unwrap();
        let file = fs::read(log.path()).unwrap();
        let summary = verify_against(&file[..], &[log.head()]).unwrap();
        assert_eq!((summary.intents, summary.outcomes), (8_000, 8_000));
        assert_eq!((summary.unfinished, summary.unannounced, summary.stopped), (0, 0, true));
        assert_eq!(summary.lines, 16_002);
    }
}

#[test]
fn short_writes_are_continued() {
    let (log, memory) = log_in_memory(options(Reads::Written));
    memory.write_max.store(7, Ordering::Relaxed);
    let call = log.next_call();
    log.intent_read(&intent(call)).unwrap();
    log.outcome(&outcome(call)).unwrap();
    log.close().unwrap();
    assert!(memory.writes.load(Ordering::Relaxed) > 50);
    assert_eq!(verify(memory.text().as_bytes()).unwrap().lines, 4);
}

#[test]
fn a_full_disk_latches_and_leaves_a_whole_chain() {
    for reads in [Reads::Written, Reads::Queued] {
        let (log, memory) = log_in_memory(options(reads));
        memory.room.store(5_000, Ordering::Relaxed);
        let mut stored = 0;
        let error = loop {
            let call = log.next_call();
            let result = log.intent_write(&intent(call)).and_then(|()| log.outcome(&outcome(call)));
            match result {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AuditError::Unavailable(_)), "{error}");
        assert!(stored > 1);
        // Room again: the log stays shut all the same, for lines are missing.
        memory.room.store(0, Ordering::Relaxed);
        assert!(!log.is_healthy());
        let call = log.next_call();
        for result in [
            log.intent_read(&intent(call)),
            log.intent_write(&intent(call)),
            log.outcome(&outcome(call)),
            log.flush(),
            log.close(),
        ] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("no call can be served"), "{error}");
        }
        let summary = verify(memory.text().as_bytes()).unwrap();
        assert!(summary.intents >= stored && !summary.stopped, "{summary:?}");
    }
}

#[test]
fn a_failed_sync_latches() {
    let (log, memory) = log_in_memory(options(Reads::Written));
    memory.sync_fails.store(true, Ordering::Relaxed);
    log.intent_write(&intent(log.next_call())).unwrap_err();
    memory.sync_fails.store(false, Ordering::Relaxed);
    assert!(!log.is_healthy());
    let error = log.intent_read(&intent(log.next_call())).unwrap_err();
    assert!(error.to_string().contains("syncing failed: device error"), "{error}");
}

#[test]
fn the_background_thread_latches_too() {
    let (log, memory) = log_in_memory(options(Reads::Queued));
    memory.room.store(1, Ordering::Relaxed);
    log.intent_read(&intent(log.next_call())).unwrap();
    eventually(|| !log.is_healthy());
}

#[test]
fn the_kernels_own_full_device_latches() {
    let file = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let path = PathBuf::from("full");
    let error = AuditLog::start(Box::new(file), path, options(Reads::Written), ("b00t", 0), None)
        .unwrap_err();
    assert!(error.to_string().contains("writing failed"), "{error}");
}

#[test]
fn closing_writes_the_stop_line_once_and_refuses_what_follows() {
    let (log, memory) = log_in_memory(options(Reads::Queued));
    let call = log.next_call();
    log.intent_read(&intent(call)).unwrap();
    log.outcome(&outcome(call)).unwrap();
    log.close().unwrap();
    log.close().unwrap();
    assert!(!log.is_healthy());
    let error = log.intent_read(&intent(call)).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    drop(log);
    let summary = verify(memory.text().as_bytes()).unwrap();
    assert!(summary.stopped);
    assert_eq!(summary.lines, 4);
}

#[test]
fn dropping_closes() {
    let (log, memory) = log_in_memory(options(Reads::Queued));
    log.intent_read(&intent(log.next_call())).unwrap();
    drop(log);
    assert!(verify(memory.text().as_bytes()).unwrap().stopped);
}

#[test]
fn a_checkpoint_pins_what_was_written() {
    let (log, memory) = log_in_memory(options(Reads::Queued));
    let key = CheckpointKey::from_seed(&[5; 32]);
    log.intent_read(&intent(log.next_call())).unwrap();
    let line = log.checkpoint(&key).unwrap();
    log.close().unwrap();
    let checkpoint = Checkpoint::open(line.as_bytes(), &[key.public()]).unwrap();
    assert_eq!((checkpoint.log.as_str(), checkpoint.head.seq), ("memory", 2));
    let kept = [checkpoint.head];
    let text = memory.text();
    assert_eq!(verify_against(text.as_bytes(), &kept).unwrap().boot, checkpoint.boot);
    let first = text.split_inclusive('\n').next().unwrap();
    let found = verify_against(first.as_bytes(), &kept).unwrap_err();
    assert!(matches!(found.reason, BrokenReason::HeadMissing(2)), "{found}");
    log.checkpoint(&key).unwrap_err();
}

/// Whether it writes or syncs, on the log's own thread or on a caller's: nobody may go on as if it were recorded.
#[test]
fn a_panic_of_whoever_writes_ends_the_log() {
    for reads in [Reads::Written, Reads::Queued] {
        let fsync_interval = Duration::from_millis(100);
        let (log, memory) = log_in_memory(AuditOptions { fsync_interval, ..options(reads) });
        let call = log.next_call();
        log.intent_read(&intent(call)).unwrap();
        // In written mode the line is in the file by then, and its sync is what panics.
        log.outcome(&outcome(call)).unwrap();
        memory.panics.store(true, Ordering::Relaxed);
        eventually(|| !log.is_healthy());
        memory.panics.store(false, Ordering::Relaxed);
        let refused = log.intent_read(&intent(log.next_call())).unwrap_err();
        assert!(matches!(refused, AuditError::Unavailable(_)), "{refused}");
        assert!(log.intent_write(&intent(log.next_call())).is_err());
        assert!(log.close().is_err(), "what was recorded is not known to be stored");
        verify(memory.text().as_bytes()).unwrap();
    }
    let (log, memory) = log_in_memory(options(Reads::Written));
    memory.panics.store(true, Ordering::Relaxed);
    let call = log.next_call();
    let announced = log.announce_write(&intent(call)).unwrap();
    let durable = || log.make_durable(&announced);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(durable)).is_err());
    memory.panics.store(false, Ordering::Relaxed);
    assert!(log.outcome(&outcome(call)).is_err());
    eventually(|| !log.is_healthy());
}

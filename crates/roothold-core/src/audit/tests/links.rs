//! Files that go on from each other, and what is noticed when somebody touches them.

use std::collections::BTreeMap;

use super::chain::split;
use super::*;

/// The files of a log by their names.
type Files = BTreeMap<String, Vec<u8>>;

fn record(log: &AuditLog, calls: u64) {
    for _ in 0..calls {
        let call = log.next_call();
        log.intent_read(&intent(call)).unwrap();
        log.outcome(&outcome(call)).unwrap();
    }
}

fn read_all(dir: &std::path::Path) -> Files {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Three files of one log, which calls kept to that began in them.
fn three(reads: Reads) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let first = AuditLog::open(dir.path(), options(reads)).unwrap();
    record(&first, 2);
    let second = first.next().unwrap();
    record(&first, 1);
    record(&second, 2);
    let third = second.next().unwrap();
    first.close().unwrap();
    third.note_closed(&first).unwrap();
    record(&third, 1);
    second.close().unwrap();
    third.note_closed(&second).unwrap();
    third.close().unwrap();
    read_all(dir.path())
}

/// What is wrong with which file, and what is not there.
fn check(files: &Files, kept: &[(String, Head)]) -> (Vec<(String, String)>, Vec<Absent>) {
    let mut series = Series::new(kept.to_vec());
    let mut broken = Vec::new();
    for (name, bytes) in files.iter().rev() {
        if let Err(found) = series.verify(name, &bytes[..]) {
            broken.push((name.clone(), found.to_string()));
        }
    }
    let absent = series.absent().collect();
    (broken, absent)
}

fn names(files: &Files) -> [String; 3] {
    files.keys().cloned().collect::<Vec<_>>().try_into().unwrap()
}

/// The first `count` lines, which are a whole chain.
fn cut(bytes: &[u8], count: usize) -> Vec<u8> {
    split(bytes)[..count].concat()
}

fn lines(bytes: &[u8]) -> usize {
    split(bytes).len()
}

#[test]
fn each_file_names_its_neighbours_and_sorts_behind_the_one_before() {
    for reads in [Reads::Written, Reads::Queued] {
        let files = three(reads);
        assert_eq!(check(&files, &[]), (vec![], vec![]));
        let names = names(&files);
        let summaries: Vec<_> = files.values().map(|bytes| verify(&bytes[..]).unwrap()).collect();
        let next: Vec<_> = summaries.iter().map(|summary| summary.next.clone()).collect();
        assert_eq!(next, [Some(names[1].clone()), Some(names[2].clone()), None]);
        let before = |at: usize| -> Vec<(u64, &str, u64)> {
            let links = summaries[at].before.iter();
            links.map(|(line, link)| (*line, link.log.as_str(), link.seq)).collect()
        };
        assert_eq!(before(0), []);
        assert_eq!(before(1), [(1, names[0].as_str(), 5)]);
        let closed =
            [(1, names[1].as_str(), 5), (2, names[0].as_str(), 8), (5, names[1].as_str(), 6)];
        assert_eq!(before(2), closed);
        assert!(summaries.iter().all(|summary| summary.stopped && summary.unfinished == 0));
    }
}

#[test]
fn files_that_were_moved_away_are_named_and_nothing_is_broken() {
    let files = three(Reads::Written);
    let names = names(&files);
    let absent = |log: &str, named_by: &str| Absent {
        log: log.to_owned(),
        named_by: named_by.to_owned(),
        is_contradicted: false,
    };
    let without = |gone: &[usize]| {
        let mut files = files.clone();
        for at in gone {
            files.remove(&names[*at]);
        }
        check(&files, &[])
    };
    assert_eq!(without(&[0]), (vec![], vec![absent(&names[0], &names[2])]));
    assert_eq!(without(&[1]), (vec![], vec![absent(&names[1], &names[2])]));
    assert_eq!(without(&[2]), (vec![], vec![absent(&names[2], &names[1])]));
    assert_eq!(without(&[1, 2]), (vec![], vec![absent(&names[1], &names[0])]));
}

#[test]
fn a_file_that_was_cut_off_or_put_in_the_place_of_another_is_broken() {
    let files = three(Reads::Written);
    let names = names(&files);
    let with = |at: usize, bytes: Vec<u8>| {
        let mut files = files.clone();
        files.insert(names[at].clone(), bytes);
        check(&files, &[]).0
    };
    // Wherever it is cut: what the files after it say covers the last line of it.
    for at in [0, 1] {
        let whole = &files[&names[at]];
        for count in 0..lines(whole) {
            let broken = with(at, cut(whole, count));
            assert_eq!(broken.len(), 1, "{at} cut to {count} lines: {broken:?}");
            assert_eq!(broken[0].0, names[at]);
        }
    }
    // Another log altogether, as whole as it may be.
    let other = three(Reads::Written);
    for (at, forged) in other.values().enumerate() {
        let broken = with(at, forged.clone());
        let whose = if at == 2 { 1 } else { at };
        assert!(broken.iter().any(|(name, _)| *name == names[whose]), "{at}: {broken:?}");
    }
    let swapped = with(0, files[&names[1]].clone());
    assert!(swapped.iter().any(|(name, _)| *name == names[0]), "{swapped:?}");
    // The newest one under the name of the first names itself, or what comes later.
    let later = with(0, files[&names[2]].clone());
    assert!(later.iter().any(|(name, _)| *name == names[0]), "{later:?}");
}

#[test]
fn heads_that_were_kept_elsewhere_hold_for_files_that_are_away() {
    let mut files = three(Reads::Queued);
    let names = names(&files);
    let away = files.remove(&names[0]).unwrap();
    let head = verify(&away[..]).unwrap().head;
    let (broken, absent) = check(&files, &[(names[0].clone(), head.clone())]);
    assert!(broken.is_empty() && absent.len() == 1 && !absent[0].is_contradicted);
    let other = Head { hash: "0".repeat(64), ..head };
    let (broken, absent) = check(&files, &[(names[0].clone(), other)]);
    assert!(broken.is_empty() && absent.len() == 1 && absent[0].is_contradicted);
}

#[test]
fn a_file_that_failed_is_named_by_what_was_synced_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(Memory::default());
    let sink = Box::new(Arc::clone(&memory));
    let path = dir.path().join("audit-0.jsonl");
    let first = AuditLog::start(sink, path, options(Reads::Written), ("b00t", 0), None).unwrap();
    record(&first, 1);
    first.flush().unwrap();
    memory.sync_fails.store(true, Ordering::Relaxed);
    first.intent_write(&intent(first.next_call())).unwrap_err();
    let next = first.next().unwrap();
    next.note_closed(&first).unwrap();
    next.close().unwrap();
    let mut files = read_all(dir.path());
    // The line that was written and not synced may be on the disk or not.
    let written = memory.text().into_bytes();
    assert_eq!(lines(&written), 4);
    for count in [3, 4] {
        files.insert("audit-0.jsonl".to_owned(), cut(&written, count));
        assert_eq!(check(&files, &[]), (vec![], vec![]));
    }
    files.insert("audit-0.jsonl".to_owned(), cut(&written, 2));
    assert_eq!(check(&files, &[]).0.len(), 1);
}

#[test]
fn a_file_that_cannot_be_begun_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, away) = (parent.path().join("audit"), parent.path().join("away"));
    let first = AuditLog::open(&dir, options(Reads::Written)).unwrap();
    fs::rename(&dir, &away).unwrap();
    fs::write(&dir, "no directory").unwrap();
    assert!(matches!(first.next(), Err(AuditError::Open(_))));
    record(&first, 1);
    fs::remove_file(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    let second = first.next().unwrap();
    first.close().unwrap();
    second.note_closed(&first).unwrap();
    second.close().unwrap();
    let files = read_all(&dir);
    assert_eq!(files.len(), 2);
    assert_eq!(check(&files, &[]), (vec![], vec![]));
}

#[test]
fn a_file_has_grown_at_its_limit() {
    let (log, memory) =
        log_in_memory(AuditOptions { file_bytes_max: 2_000, ..options(Reads::Written) });
    while !log.is_grown() {
        assert!(memory.text().len() < 2_000);
        record(&log, 1);
    }
    let bytes = memory.text().len();
    assert!(bytes >= 2_000 && log.figures().file_bytes == bytes as u64);
    record(&log, 1);
}

//! The form of the lines, and what `verify` says of a log that somebody touched.

use super::*;

fn link(seq: u64) -> Link {
    let log = "audit-20261122T100000.000000Z-89abcdef.jsonl".to_owned();
    Link { log, seq, head: "ab".repeat(32) }
}

/// A chain of one record of each kind at fixed times, as the golden lines below show it.
fn sample() -> Vec<u8> {
    let boot = Entry::Boot {
        version: "0.1.0",
        boot: "00112233445566778899aabbccddeeff",
        replica: "roothold-0",
        after: Some(&link(812)),
    };
    let denied = Intent {
        call: CallId::new(2),
        tool: "move_file",
        actions: &[
            Action {
                verb: "move",
                target: "file:///a\n\"b\"",
                denied: None,
                temp: None,
                statement: None,
            },
            Action {
                verb: "write",
                target: "file:///c\u{2028}",
                denied: Some("policy.exclude[0]"),
                temp: Some(".roothold-0123456789abcdef0123456789abcdef.tmp"),
                statement: None,
            },
        ],
        decision: Decision::Deny,
        rule: "policy.exclude[0]",
        ..intent(CallId::new(2))
    };
    let failed = Outcome {
        fault: Some("denied"),
        rule: Some("policy.exclude[0]"),
        bytes_out: 0,
        ..outcome(CallId::new(2))
    };
    let failure = AuthFailure {
        class: "expired",
        remote: Some("192.0.2.7".parse().unwrap()),
        request_id: "req-3",
    };
    let nobody = AuthFailure { class: "missing", remote: None, request_id: "req-4" };
    let mut chain = Chain::new();
    let mut lines = Vec::new();
    let entries = [
        boot,
        Entry::Intent(&intent(CallId::new(1))),
        Entry::Intent(&denied),
        Entry::Outcome(&outcome(CallId::new(1))),
        Entry::Outcome(&failed),
        Entry::AuthFailure(&failure),
        Entry::AuthFailure(&nobody),
        Entry::Closed(&link(814)),
        Entry::Stop { next: Some("audit-20261122T120000.000000Z-01234567.jsonl") },
    ];
    for (at, entry) in (0u64..).zip(&entries) {
        chain.append(&mut lines, 1_795_345_445_000_000 + at * 250_001, entry).unwrap();
    }
    lines
}

#[test]
fn golden_lines() {
    let text = String::from_utf8(sample()).unwrap();
    // A change of form breaks other people's readers: think twice before writing it anew.
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/tests/golden.jsonl");
        fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(text, include_str!("golden.jsonl"));
}

#[test]
fn logs_of_the_formats_before_are_still_verified() {
    for log in [&include_bytes!("golden-v1.jsonl")[..], include_bytes!("golden-v2.jsonl")] {
        let summary = verify(log).unwrap();
        assert_eq!((summary.lines, summary.stopped), (8, true));
        assert_eq!((summary.before, summary.next), (Vec::new(), None));
    }
}

#[test]
fn lines_read_back_as_records() {
    let read: Vec<_> = records(&sample()[..]).map(Result::unwrap).collect();
    assert_eq!(read.len(), 9);
    let Event::Intent { call, actions, decision, .. } = &read[2].event else {
        panic!("{:?}", read[2]);
    };
    assert_eq!((*call, decision.as_str()), (2, "deny"));
    assert_eq!(actions[0].target, "file:///a\n\"b\"");
    assert_eq!(actions[1].target, "file:///c\u{2028}");
    assert_eq!(actions[0].denied, None);
    assert_eq!(actions[0].temp, None);
    assert!(actions[1].temp.as_deref().is_some_and(|temp| temp.starts_with(".roothold-")));
    assert_eq!(actions[1].denied.as_deref(), Some("policy.exclude[0]"));
    assert_eq!(read[3].ts, "2026-11-22T11:04:05.750003Z");
    assert_eq!(read[7].event, Event::Closed { file: link(814) });
    assert!(
        matches!(&read[8].event, Event::Stop { next: Some(next) } if next.contains("01234567"))
    );
    let mut odd = sample();
    odd.splice(0..0, *b"nonsense\n");
    odd.pop();
    let kinds: Vec<_> = records(&odd[..]).map(|record| record.is_ok()).collect();
    assert_eq!(kinds, [false, true, true, true, true, true, true, true, true, false]);
}

#[test]
fn an_intact_log_is_summed_up() {
    let summary = verify(&sample()[..]).unwrap();
    assert_eq!(
        (summary.lines, summary.intents, summary.outcomes, summary.auth_failures),
        (9, 2, 2, 2)
    );
    assert_eq!((summary.unfinished, summary.unannounced, summary.stopped), (0, 0, true));
    assert_eq!(summary.first_ts, "2026-11-22T11:04:05.000000Z");
    assert_eq!(summary.last_ts, "2026-11-22T11:04:07.000008Z");
    assert_eq!(summary.head.seq, 9);
    assert_eq!(summary.before, [(1, link(812)), (8, link(814))]);
    assert!(summary.next.is_some_and(|next| next.contains("01234567")));
}

pub(super) fn split(log: &[u8]) -> Vec<Vec<u8>> {
    log.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn broken(log: &[u8]) -> Broken {
    verify(log).unwrap_err()
}

#[test]
fn every_single_changed_byte_is_named_with_its_line() {
    let log = sample();
    let mut line = 1;
    for at in 0..log.len() {
        let mut changed = log.clone();
        changed[at] ^= 1;
        let found = broken(&changed);
        assert_eq!(found.line, line, "byte {at}: {found}");
        line += u64::from(log[at] == b'\n');
    }
}

#[test]
fn an_edited_field_is_a_hash_mismatch() {
    let log = String::from_utf8(sample()).unwrap();
    for (from, to) in
        [("alice", "mallo"), ("\"deny\"", "\"allow\""), ("1234", "1235"), ("0.2.7", "0.2.8")]
    {
        let found = broken(log.replacen(from, to, 1).as_bytes());
        assert!(matches!(found.reason, BrokenReason::HashMismatch), "{from}: {found}");
    }
}

#[test]
fn deleted_swapped_and_repeated_lines_are_named() {
    let lines = split(&sample());
    let gap = |log: &[Vec<u8>], line: u64, expected: u64, found: u64| {
        let is = broken(&log.concat());
        let fits = matches!(is.reason, BrokenReason::SeqGap { expected: e, found: f } if (e, f) == (expected, found));
        assert!(is.line == line && fits, "{is}");
    };
    for at in 1..lines.len() - 1 {
        let mut log = lines.clone();
        log.remove(at);
        let line = at as u64 + 1;
        gap(&log, line, line, line + 1);
        let mut log = lines.clone();
        log.swap(at, at + 1);
        gap(&log, line, line, line + 1);
        let mut log = lines.clone();
        log.insert(at, lines[at].clone());
        gap(&log, line + 1, line + 1, line);
    }
    let found = broken(&lines[1..].concat());
    assert!(found.line == 1 && matches!(found.reason, BrokenReason::MissingBoot), "{found}");
    let found = broken(b"");
    assert!(found.line == 1 && matches!(found.reason, BrokenReason::MissingBoot), "{found}");
}

#[test]
fn a_log_that_was_cut_is_noticed_unless_at_a_line() {
    let log = sample();
    let lines = split(&log);
    for len in 1..log.len() {
        match verify(&log[..len]) {
            Ok(summary) => {
                assert_eq!(log[len - 1], b'\n', "cut to {len}");
                assert!(!summary.stopped);
            }
            Err(found) => {
                assert!(matches!(found.reason, BrokenReason::TruncatedLastLine), "{found}");
            }
        }
    }
    let unfinished = verify(&lines[..2].concat()[..]).unwrap();
    assert_eq!((unfinished.intents, unfinished.unfinished), (1, 1));
}

#[test]
fn a_head_that_was_kept_shows_removed_and_rewritten_ends() {
    let log = sample();
    let lines = split(&log);
    let head = verify(&log[..]).unwrap().head;
    assert!(verify_against(&log[..], std::slice::from_ref(&head)).is_ok());
    let cut = lines[..8].concat();
    let found = verify_against(&cut[..], std::slice::from_ref(&head)).unwrap_err();
    assert!(matches!(found.reason, BrokenReason::HeadMissing(9)), "{found}");
    let other = Head { seq: 4, hash: "0".repeat(64) };
    let right = verify(&lines[..4].concat()[..]).unwrap().head;
    // Also where another one of the same number is right, whichever is first.
    for heads in [vec![other.clone()], vec![right.clone(), other.clone()], vec![other, right]] {
        let found = verify_against(&log[..], &heads).unwrap_err();
        assert!(found.line == 4 && matches!(found.reason, BrokenReason::HeadMismatch), "{found}");
    }
}

/// A line with a right hash of its own, whatever it says.
fn forged(body: &str) -> Vec<u8> {
    let hash = super::super::chain::digest(body.as_bytes());
    let hash = std::str::from_utf8(&hash).unwrap();
    format!("{body},\"hash\":\"{hash}\"}}\n").into_bytes()
}

#[test]
fn forged_lines_are_refused() {
    let log = sample();
    let open = split(&log)[..8].concat();
    let head = verify(&open[..]).unwrap().head;
    let append = |log: &[u8], body: &str| broken(&[log, &forged(body)[..]].concat());
    let start = r#"{"v":3,"seq":9,"ts":"2026-11-22T11:04:09.000000Z","kind":"stop","prev":"#;

    let found = append(&open, &format!("{start}\"{}\"", "0".repeat(64)));
    assert!(found.line == 9 && matches!(found.reason, BrokenReason::PrevMismatch), "{found}");
    let found = append(&open, &format!("{start}null"));
    assert!(matches!(found.reason, BrokenReason::PrevMismatch), "{found}");
    let found = append(&open, "{\"v\":3,\"seq\":9");
    assert!(matches!(found.reason, BrokenReason::NotARecord(_)), "{found}");
    let found = append(&open, "not json");
    assert!(matches!(found.reason, BrokenReason::NotARecord(_)), "{found}");
    let found = broken(&[&open[..], b"\n"].concat());
    assert!(matches!(found.reason, BrokenReason::NotARecord(_)), "{found}");
    let newer = format!("{start}\"{}\"", head.hash).replace("\"v\":3", "\"v\":4");
    let found = append(&open, &newer);
    assert!(matches!(found.reason, BrokenReason::NotARecord(_)), "{found}");

    let last = verify(&log[..]).unwrap().head;
    let after = start.replace("\"seq\":9", "\"seq\":10");
    let found = append(&log, &format!("{after}\"{}\"", last.hash));
    assert!(found.line == 10 && matches!(found.reason, BrokenReason::AfterStop), "{found}");
    let boot = start
        .replace("\"kind\":\"stop\"", r#""kind":"boot","version":"0","boot":"0","replica":"0""#);
    let found = append(&open, &format!("{boot}\"{}\"", head.hash));
    assert!(matches!(found.reason, BrokenReason::SecondBoot), "{found}");
}

#[test]
fn an_endless_line_is_refused_without_being_kept() {
    let mut log = sample();
    log.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES_MAX));
    log.push(b'\n');
    let found = broken(&log);
    assert!(found.line == 10 && matches!(found.reason, BrokenReason::NotARecord(_)), "{found}");
}

#[test]
fn a_record_that_cannot_hold_everything_is_refused_and_leaves_the_chain_whole() {
    let target = "x".repeat(4_096);
    let action =
        Action { verb: "read", target: &target, denied: None, temp: None, statement: None };
    let actions = vec![action; 300];
    let (log, memory) = log_in_memory(options(Reads::Written));
    let call = log.next_call();
    let huge = Intent { actions: &actions, ..intent(call) };
    assert!(matches!(log.intent_read(&huge), Err(AuditError::TooLong)));
    assert!(log.is_healthy());
    let fits = Intent { actions: &actions[..250], ..intent(call) };
    log.intent_read(&fits).unwrap();
    log.outcome(&outcome(call)).unwrap();
    log.close().unwrap();
    let Summary { intents, outcomes, .. } = verify(memory.text().as_bytes()).unwrap();
    assert_eq!((intents, outcomes), (1, 1));
}

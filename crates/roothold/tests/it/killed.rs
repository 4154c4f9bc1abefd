//! Servers that are killed while they write. What they wrote to is the old file or the new one,
//! and nothing of theirs remains once the next one has started.

use std::path::Path;
use std::time::{Duration, Instant};

use roothold_core::audit::{Action, AuditLog, AuditOptions, Decision, Intent};
use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Request, Server, Spec, full};

/// How many servers are killed when the long form is not asked for.
const KILLS: u64 = 40;
/// The most time that a server has before it is killed: longer than a write takes.
const LIFE_MAX: Duration = Duration::from_millis(60);

fn start(dirs: &Dirs) -> Server {
    let mut spec = Spec::new(dirs.base(), dirs.config("body_bytes_max = 33554432\n"));
    spec.log = "info";
    spec.start()
}

/// Starts a server, asks it, kills it after a while, and does so again.
fn kill_again_and_again(
    dirs: &Dirs,
    kills: u64,
    mut ask: impl FnMut(u64) -> Request,
    mut check: impl FnMut(u64) -> Result<(), String>,
) -> Result<(), String> {
    for round in 0..kills {
        let server = start(dirs);
        check_swept(&dirs.work(), round)?;
        let mut conn = Conn::open(server.address);
        conn.write(&ask(round).bytes());
        // Spread over the time that a write takes, without a source of chance.
        let micros = u64::try_from(LIFE_MAX.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(round.wrapping_mul(7919 * 131) % micros));
        drop(server);
        check(round)?;
    }
    let _last = start(dirs);
    check_swept(&dirs.work(), kills)
}

pub(crate) fn temporary(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".roothold-") && *name != NEIGHBOURS)
        .collect()
}

/// A server looks for what was left while it answers already.
fn eventually(has_come: impl Fn() -> bool) -> bool {
    let patience = Instant::now() + Duration::from_secs(20);
    while !has_come() {
        if Instant::now() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

pub(crate) fn check_swept(dir: &Path, round: u64) -> Result<(), String> {
    if eventually(|| temporary(dir).is_empty()) {
        return Ok(());
    }
    Err(format!("{:?} remain after the start of round {round}", temporary(dir)))
}

/// The temporary file of a neighbour that lives through all of it.
const NEIGHBOURS: &str = ".roothold-0123456789abcdef0123456789abcdef.tmp";

/// A process that shares the audit directory and is in the middle of a write.
fn neighbour(dirs: &Dirs) -> AuditLog {
    let log = AuditLog::open(&dirs.base().join("audit"), AuditOptions::default()).unwrap();
    let target = dirs.fill_in("$ROOT/k.txt");
    let intent = Intent {
        call: log.next_call(),
        principal: "neighbour",
        tool: "write_file",
        actions: &[Action {
            verb: "write",
            target: &target,
            denied: None,
            temp: Some(NEIGHBOURS),
            statement: None,
        }],
        decision: Decision::Allow,
        rule: "policy",
        request_id: "r",
    };
    log.intent_write(&intent).unwrap();
    dirs.write(&format!("work/{NEIGHBOURS}"), "half of it");
    log
}

/// The battery's case: a large file is overwritten by servers that are killed.
pub(crate) fn battery(rounds: u64, dirs: &Dirs) -> Result<(), String> {
    let file = dirs.work().join("k.txt");
    let content = "b".repeat(4 << 20);
    let arguments = json!({"path": dirs.fill_in("$ROOT/k.txt"), "content": content});
    let rounds = if full() { rounds } else { rounds.min(8) };
    let check = |round| {
        let found = std::fs::read(&file).unwrap();
        let whole = |byte: u8| found.len() == 4 << 20 && found.iter().all(|b| *b == byte);
        if whole(b'a') || whole(b'b') {
            std::fs::write(&file, "a".repeat(4 << 20)).unwrap();
            return Ok(());
        }
        Err(format!("round {round} left {} bytes, mixed", found.len()))
    };
    kill_again_and_again(dirs, rounds, |_| Request::call("write_file", &arguments), check)
}

/// A version of a file: its number, and a letter again and again, so that a mixture would show.
fn version(round: u64) -> (String, String) {
    let letter = char::from(b'a' + u8::try_from(round % 26).unwrap());
    (format!("version {round}\n"), letter.to_string().repeat(200_000))
}

fn whole(round: u64) -> String {
    let (head, body) = version(round);
    head + &body
}

#[test]
fn what_a_kill_leaves_is_the_old_file_or_the_new_one() {
    let dirs = Dirs::with_fixture();
    let file = dirs.work().join("k.txt");
    std::fs::write(&file, whole(0)).unwrap();
    let neighbour = neighbour(&dirs);
    let known = std::cell::Cell::new(0);
    let path = dirs.fill_in("$ROOT/k.txt");
    let (mut olds, mut news) = (0, 0);
    let ask = |round: u64| {
        let (head, body) = version(round + 1);
        if round.is_multiple_of(2) {
            return Request::call("write_file", &json!({"path": path, "content": head + &body}));
        }
        let (old_head, old_body) = version(known.get());
        let edit = |old: String, new: String| json!({"oldText": old, "newText": new});
        let edits = json!([edit(old_head, head), edit(old_body, body)]);
        Request::call("edit_file", &json!({"path": path, "edits": edits}))
    };
    let check = |round: u64| {
        let found = std::fs::read_to_string(&file).unwrap();
        if found == whole(round + 1) {
            known.set(round + 1);
            news += 1;
            return Ok(());
        }
        olds += 1;
        let is_old = found == whole(known.get());
        if is_old { Ok(()) } else { Err(format!("round {round} left {} bytes", found.len())) }
    };
    let kills = if full() { 500 } else { KILLS };
    kill_again_and_again(&dirs, kills, ask, check).unwrap();
    println!("{kills} kills: {olds} left the old file, {news} the new one");
    assert!(
        olds > 0 && news > 0,
        "{olds} old, {news} new: the kills all came too early or too late"
    );
    let left = dirs.work().join(NEIGHBOURS);
    assert_eq!(std::fs::read(left).unwrap(), b"half of it", "a neighbour's file was touched");
    drop(neighbour);
    let _last = start(&dirs);
    let is_gone = || !dirs.work().join(NEIGHBOURS).exists();
    assert!(eventually(is_gone), "nobody holds it any more");
}

/// Whether every announced write has an outcome, in a log that ended in order.
pub(crate) fn every_intent_has_an_outcome(lines: &[Value]) -> bool {
    let calls = |kind: &str| {
        let mut calls: Vec<u64> = lines
            .iter()
            .filter(|line| line["kind"] == *kind)
            .map(|line| line["call"].as_u64().unwrap())
            .collect();
        calls.sort_unstable();
        calls
    };
    calls("intent") == calls("outcome")
}

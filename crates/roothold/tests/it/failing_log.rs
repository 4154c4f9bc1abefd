//! A disk of the audit log that fails under a server: it turns read-only, or does not confirm that a line is on
//! it. Calls are refused before they do anything, and served again without a restart once it is well.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roothold_core::audit;
use rustix::process::Signal;
use serde_json::json;

use crate::full_log::{PATIENCE, World, newest};
use crate::rotating::{logs, recorded};
use crate::support::{Conn, Request, Server, Strace, texts};

fn run(program: &str, arguments: &[&str], at: &Path) {
    let done = Command::new(program).args(arguments).arg(at).status();
    assert!(done.is_ok_and(|done| done.success()), "{program} {arguments:?} needs root");
}

/// A change is refused with the word that no call is served, and nothing of it is there.
fn refuses_a_change(world: &World) {
    let result = world.server.call("write_file", &world.write("new.txt")).result();
    assert_eq!(result["_meta"]["io.roothold/error"]["kind"], "unavailable", "{result}");
    assert!(texts(&result)[0].contains("no call is served"), "{result}");
    let mut names =
        std::fs::read_dir(world.dirs.work()).unwrap().map(|name| name.unwrap().file_name());
    assert!(
        !names.any(|name| name == "new.txt" || name.to_string_lossy().starts_with(".roothold-"))
    );
}

fn makes_a_change(world: &World) {
    let result = world.server.call("write_file", &world.write("new.txt")).result();
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!(std::fs::read(world.dirs.work().join("new.txt")).unwrap(), b"done");
}

/// Ends the server, looks whether its files are whole, and returns how many there are.
fn are_whole(world: World) -> usize {
    let World { mut server, audit, dirs: _dirs } = world;
    server.signal(Signal::TERM);
    assert!(server.wait(PATIENCE).is_some(), "{}", server.log());
    let logs = logs(&audit);
    for log in &logs {
        audit::verify(std::fs::read(log).unwrap().as_slice()).unwrap();
    }
    let mut verify = Command::new(env!("CARGO_BIN_EXE_roothold"));
    let done = verify.args(["audit", "verify"]).arg(&audit).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    logs.len()
}

#[test]
fn while_the_disk_of_the_log_is_read_only_calls_are_refused_and_then_served_again() {
    let mut world = World::new("4m");
    assert!(!world.is_refused());
    let file = newest(&world.audit);
    let trace = world.dirs.base().join("trace");
    // No file system turns read-only for a file that is open to be written, but one that has failed. So what the
    // kernel says of that file then is put in its mouth, and of new ones a mount above makes it say so.
    let failing = ["write:error=EROFS", "fdatasync:error=EROFS"];
    let strace = Strace::attach(world.server.pid(), &failing, Some(&file), trace);
    let (from, at) = (world.audit.to_str().unwrap(), world.audit.clone());
    run("mount", &["--bind", from], &at);
    world.dirs.mounts.push(at.clone());
    run("mount", &["-o", "remount,bind,ro"], &at);
    refuses_a_change(&world);
    assert!(world.is_refused() && !world.server.is_ready());
    let until = Instant::now() + PATIENCE;
    while !world.server.log().contains("so every call is refused") {
        assert!(Instant::now() < until, "nothing is said: {}", world.server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(world.server.log().contains("Read-only file system"), "{}", world.server.log());
    refuses_a_change(&world);
    assert!(!world.server.is_ready());
    assert_eq!(logs(&world.audit), [file]);
    run("umount", &[], &at);
    world.dirs.mounts.pop();
    strace.end();
    world.mended();
    makes_a_change(&world);
    assert_eq!(are_whole(world), 2);
}

#[test]
fn without_a_descriptor_for_its_directory_no_other_file_is_begun_and_none_left_empty() {
    let world = World::new("8m");
    let trace = world.dirs.base().join("trace");
    // The file itself still gets one.
    let failing = ["openat:error=EMFILE"];
    let strace = Strace::attach(world.server.pid(), &failing, Some(&world.audit), trace);
    let until = Instant::now() + PATIENCE;
    while !world.server.log().contains("no new file of the audit log can be begun") {
        assert!(Instant::now() < until, "nothing is said: {}", world.server.log());
        world.long();
    }
    assert!(!world.is_refused() && world.server.is_ready());
    makes_a_change(&world);
    assert_eq!(logs(&world.audit).len(), 1);
    assert!(strace.end().contains("EMFILE"), "it was not in the way");
    world.mended();
    assert_eq!(are_whole(world), 2);
}

/// Tells those who read to stop, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads again and again until told to stop, and returns the ids of the calls that were answered.
fn reads(server: &Server, request: &[u8], over: &AtomicBool) -> HashSet<String> {
    let mut answered = HashSet::new();
    let mut conn = Conn::open(server.address);
    while !over.load(Ordering::Relaxed) {
        conn.write(request);
        let reply = conn.read().expect("an answer");
        if reply.result()["isError"] != true {
            answered.insert(reply.header("x-request-id").unwrap().to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    answered
}

#[test]
fn a_sync_that_fails_is_not_tried_again_and_nothing_is_answered_that_is_not_on_record() {
    let world = World::new("16m");
    let file = newest(&world.audit);
    let hello = json!({"path": world.dirs.fill_in("$ROOT/hello.txt")});
    let request = Request::call("read_text_file", &hello).bytes();
    let over = AtomicBool::new(false);
    let trace = world.dirs.base().join("trace");
    let (answered, seen) = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..2).map(|_| scope.spawn(|| reads(&world.server, &request, &over))).collect();
        let reading = Over(&over);
        std::thread::sleep(Duration::from_millis(200));
        let failing = ["fdatasync:error=EIO"];
        let strace = Strace::attach(world.server.pid(), &failing, Some(&file), trace);
        // It is refused at its own sync, or since that of a read has failed.
        refuses_a_change(&world);
        assert!(world.is_refused() && !world.server.is_ready());
        world.mended();
        makes_a_change(&world);
        // What is in force for the file before still is.
        let seen = strace.end();
        drop(reading);
        let answered = clients.into_iter().flat_map(|client| client.join().unwrap());
        (answered.collect::<HashSet<_>>(), seen)
    });
    let syncs: Vec<_> = seen.lines().filter(|line| line.contains("fdatasync(")).collect();
    assert!(syncs.len() == 1 && syncs[0].contains("EIO"), "{syncs:?}");
    let recorded = recorded(&world.audit);
    let lost: Vec<_> = answered.difference(&recorded).collect();
    assert!(lost.is_empty(), "answered and not on record: {lost:?}");
    println!("{} reads were answered, all are on record", answered.len());
    assert!(!answered.is_empty());
    // Those reads may make a file grow until another is due.
    assert!(are_whole(world) >= 2);
}

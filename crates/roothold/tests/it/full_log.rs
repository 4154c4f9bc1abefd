//! A disk of the audit log that fills between the two records of a call, or when another file is due, and is
//! made larger: what was done is said to be done, and calls are served again without a restart.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use roothold_core::audit;
use serde_json::{Value, json};

use crate::support::{Dirs, Server, Spec, texts};

/// What a page of a file holds on a file system in memory.
const PAGE_BYTES: u64 = 4096;
/// Less than an outcome takes, and more than numbers that grow by a digit.
const SPARE_BYTES: u64 = 120;
/// The longest that it may take until calls are served again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

fn mount(options: &str, at: &Path) {
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).status();
    assert!(done.is_ok_and(|status| status.success()), "mounting a tmpfs needs root");
}

/// The file that is written now.
pub(crate) fn newest(audit: &Path) -> PathBuf {
    fs::read_dir(audit)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .max()
        .unwrap()
}

/// The bytes of each line of the newest file.
fn line_bytes(audit: &Path) -> Vec<u64> {
    let log = fs::read(newest(audit)).unwrap();
    log.split_inclusive(|byte| *byte == b'\n').map(|line| line.len() as u64).collect()
}

fn room_in_page(audit: &Path) -> u64 {
    PAGE_BYTES - fs::metadata(newest(audit)).unwrap().len() % PAGE_BYTES
}

fn fill(audit: &Path) {
    let filler = fs::File::create(audit.join("filler")).unwrap();
    while (&filler).write_all(&[0; 1024]).is_ok() {}
    while (&filler).write_all(&[0; 1]).is_ok() {}
}

/// A server whose audit log has a disk of its own.
pub(crate) struct World {
    pub(crate) dirs: Dirs,
    pub(crate) audit: PathBuf,
    pub(crate) server: Server,
}

impl World {
    pub(crate) fn new(size: &str) -> Self {
        let mut dirs = Dirs::with_fixture();
        let audit = dirs.base().join("tiny");
        fs::create_dir(&audit).unwrap();
        mount(&format!("size={size}"), &audit);
        dirs.mounts.push(audit.clone());
        let mut spec = Spec::new(dirs.base(), dirs.config(""));
        spec.audit.clone_from(&audit);
        spec.env = vec![("ROOTHOLD_AUDIT__FILE_BYTES_MAX", "1048576")];
        let server = spec.start();
        Self { dirs, audit, server }
    }

    pub(crate) fn write(&self, name: &str) -> Value {
        let path = self.dirs.fill_in(&format!("$ROOT/{name}"));
        json!({"path": path, "content": "done"})
    }

    /// Fills the disk so that the intents of a call find room, and no outcome does. `ask` makes a call that
    /// writes a file of some name; the answer is the one to the last call, and the name of its file.
    fn cut_off(&self, intents: usize, ask: impl Fn(&Self, &str) -> Value) -> (Value, String) {
        for turn in 1.. {
            assert!(turn < 300, "no name is as long as it should be");
            let before = line_bytes(&self.audit).len();
            let length = 1 + turn * 37 % 150;
            let result = ask(self, &"n".repeat(length));
            assert_ne!(result["isError"], true, "{result}");
            let lines = &line_bytes(&self.audit)[before..];
            assert_eq!(lines.len(), 2 * intents, "an intent and an outcome each");
            let usual = lines[..intents].iter().sum::<u64>() - length as u64;
            let room = room_in_page(&self.audit);
            if let Some(length @ 1..=200) = room.checked_sub(usual + SPARE_BYTES) {
                fill(&self.audit);
                let name = "l".repeat(usize::try_from(length).unwrap());
                return (ask(self, &name), name);
            }
        }
        unreachable!("it ends above")
    }

    pub(crate) fn is_refused(&self) -> bool {
        let hello = json!({"path": self.dirs.fill_in("$ROOT/hello.txt")});
        let result = self.server.call("read_text_file", &hello).result();
        let refused = result["_meta"]["io.roothold/error"]["kind"] == "unavailable";
        assert!(!refused || texts(&result)[0].contains("no call is served"), "{result}");
        refused
    }

    fn said_as_done(&self, (result, name): (Value, String)) {
        assert_eq!(result["_meta"]["io.roothold/error"]["kind"], "unavailable", "{result}");
        let text = &texts(&result)[0];
        assert!(text.contains("changed something") && text.contains("do not repeat"), "{text}");
        assert_eq!(fs::read(self.dirs.work().join(name)).unwrap(), b"done");
        assert!(self.is_refused() && !self.server.is_ready());
    }

    pub(crate) fn mended(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.server.is_ready() {
            assert!(Instant::now() < until, "it stays broken: {}", self.server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        // The file before is ended a moment later, which is a line of the new one.
        while !fs::read_to_string(newest(&self.audit)).unwrap().contains("\"kind\":\"closed\"") {
            assert!(Instant::now() < until, "the file before is not ended: {}", self.server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!self.is_refused());
    }

    /// A call that takes a long line, whatever comes of it.
    pub(crate) fn long(&self) -> Value {
        let name = |at: usize| self.dirs.fill_in(&format!("$ROOT/{at}/{}", "n".repeat(200)));
        let paths: Vec<_> = (0..40).map(name).collect();
        self.server.call("read_multiple_files", &json!({"paths": paths})).result()
    }
}

#[test]
fn a_log_that_has_grown_on_a_full_disk_goes_on_in_its_file_as_long_as_that_has_room() {
    // Less room than another file wants to begin, and more than some calls take.
    let world = World::new("1072k");
    let size = || fs::metadata(newest(&world.audit)).unwrap().len();
    while size() < 1 << 20 {
        world.long();
    }
    let until = Instant::now() + PATIENCE;
    while !world.server.log().contains("no new file of the audit log can be begun") {
        assert!(Instant::now() < until, "nothing is said: {}", world.server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!((0..5).all(|_| !world.is_refused()) && world.server.is_ready());
    assert_eq!(fs::read_dir(&world.audit).unwrap().count(), 1);
    let refused = |result: &Value| result["_meta"]["io.roothold/error"]["kind"] == "unavailable";
    assert!((0..20).any(|_| refused(&world.long())), "{} bytes", size());
    assert!(world.is_refused() && !world.server.is_ready());
    mount("remount,size=4m", &world.audit);
    world.mended();
    drop(world.server);
    let verify = ["audit", "verify", world.audit.to_str().unwrap()];
    let done = Command::new(env!("CARGO_BIN_EXE_roothold")).args(verify).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.lines().count() == 2 && !said.contains("nothing of it is here"), "{said}");
}

#[test]
fn what_was_done_as_the_disk_filled_is_said_and_a_larger_disk_needs_no_restart() {
    let world = World::new("256k");
    let one = world
        .cut_off(1, |world, name| world.server.call("write_file", &world.write(name)).result());
    world.said_as_done(one);
    // As large as a disk for one small log may be; its operator takes a while.
    std::thread::sleep(Duration::from_secs(8));
    mount("remount,size=384k", &world.audit);
    world.mended();
    // A batch is a call with calls in it: the intent of each is before its outcome.
    fs::remove_file(world.audit.join("filler")).unwrap();
    let batch = world.cut_off(2, |world, name| {
        let calls = json!([{"tool": "write_file", "arguments": world.write(name)}]);
        world.server.call("batch", &json!({"calls": calls})).result()
    });
    world.said_as_done(batch);
    fs::remove_file(world.audit.join("filler")).unwrap();
    world.mended();
    drop(world.server);
    let mut logs = 0;
    for entry in fs::read_dir(&world.audit).unwrap() {
        let log = fs::read(entry.unwrap().path()).unwrap();
        audit::verify(log.as_slice()).unwrap();
        logs += 1;
    }
    assert_eq!(logs, 3);
}

//! Servers that are killed at each step of a write: before each system call that touches a file, of each
//! kind, the first time, the second time, and so on, until the write is answered.
//!
//! What is left is the old file or the new one, never anything that no intent tells of; the next start
//! takes away what is left of it, and the log has the write as unfinished.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use roothold_core::audit::{self, Summary};
use serde_json::{Value, json};

use crate::full_log::newest;
use crate::killed::{check_swept, temporary};
use crate::support::{Audit, Conn, Dirs, Request, Server, Spec, Strace};

/// What a write does to files, from its intent to its answer, and the answer. Those with `?` are not there on every
/// architecture.
const STEPS: [&str; 12] = [
    "openat",
    "openat2",
    "flock",
    "write",
    "fchmod",
    "fsync",
    "fdatasync",
    "?renameat",
    "renameat2",
    "unlinkat",
    "sendto",
    "writev",
];
/// No thread makes one of these calls more often within a write.
const TIMES_MAX: usize = 60;

/// A write, and what its file holds before it and after it; nothing, if it is made by it.
struct Write {
    name: &'static str,
    tool: &'static str,
    old: Option<String>,
    new: String,
}

impl Write {
    fn request(&self, dirs: &Dirs) -> Request {
        let path = dirs.fill_in(&format!("$ROOT/{}", self.name));
        let arguments = match (&self.old, self.tool) {
            (Some(old), "edit_file") => {
                json!({"path": path, "edits": [{"oldText": old, "newText": self.new}]})
            }
            _ => json!({"path": path, "content": self.new}),
        };
        Request::call(self.tool, &arguments)
    }
}

/// What the kills left.
#[derive(Debug, Default)]
struct Seen {
    /// How many servers were killed at which call.
    kills: BTreeMap<&'static str, usize>,
    /// Before anything was announced, and after: with a temporary file, and with the new content.
    unannounced: usize,
    temporary: usize,
    renamed: usize,
    unfinished: u64,
}

struct World {
    dirs: Dirs,
    audit: PathBuf,
    seen: Seen,
}

impl World {
    fn new() -> Self {
        let dirs = Dirs::with_fixture();
        let audit = dirs.base().join("audit");
        Self { dirs, audit, seen: Seen::default() }
    }

    /// Starts a server, which takes away what the one before left.
    fn start(&self) -> Server {
        let mut spec = Spec::new(self.dirs.base(), self.dirs.config(""));
        spec.log = "warn,roothold=info";
        let server = spec.start();
        check_swept(&self.dirs.work(), 0).unwrap();
        server
    }

    /// Kills a server as it makes a call for the nth time, and tells whether it came to that.
    fn is_killed(&mut self, write: &Write, step: &'static str, nth: usize) -> bool {
        let file = self.dirs.work().join(write.name);
        match &write.old {
            Some(old) => std::fs::write(&file, old).unwrap(),
            None => drop(std::fs::remove_file(&file)),
        }
        let mut server = self.start();
        // Open before anything is killed, which a call that the write does not make may do.
        let mut conn = Conn::open(server.address);
        let kill = format!("{step}:signal=KILL:when={nth}");
        let strace = Strace::attach(server.pid(), &[&kill], None, self.dirs.base().join("trace"));
        conn.write_if_open(&write.request(&self.dirs).bytes());
        if let Some(reply) = conn.read() {
            assert_ne!(reply.result()["isError"], true, "{step} {nth}");
            strace.end();
            return false;
        }
        assert!(server.wait(Duration::from_secs(20)).is_some(), "{step} {nth}: it hung up");
        *self.seen.kills.entry(step).or_default() += 1;
        self.look(write, &format!("{} at {step} {nth}", write.tool));
        true
    }

    fn look(&mut self, write: &Write, what: &str) {
        let found = std::fs::read_to_string(self.dirs.work().join(write.name)).ok();
        let is_new = found.as_deref() == Some(&write.new);
        assert!(is_new || found == write.old, "{what}: neither the old file nor the new one");
        let log = std::fs::read(newest(&self.audit)).unwrap();
        let summary = audit::verify(log.as_slice()).unwrap();
        let Summary { intents, outcomes, unfinished, .. } = summary;
        assert!(intents <= 1 && intents == outcomes + unfinished, "{what}: {summary:?}");
        let left = temporary(&self.dirs.work());
        let announced: Vec<Value> = log
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .filter(|line: &Value| line["kind"] == "intent")
            .collect();
        for temp in &left {
            let names_it = |line: &Value| line["actions"][0]["temp"] == temp.as_str();
            assert!(announced.iter().any(names_it), "{what}: no intent names {temp}");
        }
        assert!(intents == 1 || !is_new, "{what}: made, and not announced");
        // One that ended is not unfinished, although its answer was cut off.
        assert!(outcomes == 0 || is_new, "{what}: said to be done");
        self.seen.unannounced += usize::from(intents == 0);
        self.seen.temporary += usize::from(!left.is_empty());
        self.seen.renamed += usize::from(is_new && unfinished == 1);
        self.seen.unfinished += unfinished;
    }
}

/// How many calls without an outcome `audit verify` counts, in all logs.
fn unfinished(audit: &PathBuf) -> u64 {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_roothold"));
    let done = verify.args(["audit", "verify"]).arg(audit).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let of_line = |line: &str| {
        let count = line.split(", ").find_map(|part| part.strip_suffix(" unfinished"));
        count.unwrap_or_else(|| panic!("{line}")).parse::<u64>().unwrap()
    };
    said.lines().map(of_line).sum()
}

#[test]
fn a_kill_before_any_system_call_of_a_write_leaves_the_old_file_or_the_new_one() {
    // Longer than a block, so that more than one write stands before the sync.
    let (old, new) = ("old ".repeat(80_000), "new ".repeat(80_000));
    let writes = [
        Write { name: "kept.txt", tool: "edit_file", old: Some(old), new: new.clone() },
        Write { name: "made.txt", tool: "write_file", old: None, new },
    ];
    let mut world = World::new();
    let mut rounds = 0;
    for write in &writes {
        for step in STEPS {
            let answered = (1..=TIMES_MAX).find(|nth| !world.is_killed(write, step, *nth));
            rounds += answered.unwrap_or_else(|| panic!("{step} is made again and again"));
        }
    }
    // Nothing is left behind the last one either, and a server that was not killed has finished.
    drop(world.start());
    let seen = &world.seen;
    println!("{rounds} servers: {seen:?}");
    assert!(seen.unannounced > 0 && seen.temporary > 0 && seen.renamed > 0, "{seen:?}");
    for step in ["openat", "openat2", "write", "fsync", "fdatasync"] {
        assert!(seen.kills.contains_key(step), "no server was killed at {step}: {seen:?}");
    }
    let renames = ["?renameat", "renameat2"].iter().filter_map(|step| seen.kills.get(step));
    assert!(renames.sum::<usize>() >= writes.len(), "{seen:?}");
    assert_eq!(unfinished(&world.audit), seen.unfinished);
    assert_eq!(
        Audit::read(&world.audit).counts().0 as u64,
        Audit::read(&world.audit).counts().1 as u64 + seen.unfinished
    );
}

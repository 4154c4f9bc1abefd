//! In which order a change reaches the disk, as the kernel sees it: the server runs under
//! `strace`, which tells of each call that writes, syncs or changes a name.
//!
//! The order is: the audit intent is written and synced; the new content is written to a temporary
//! file and that is synced; it is renamed; the directory is synced; the client is answered. What a
//! power cut leaves is then the old file or the new one, and an intent that names it.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Dirs, Stdio, texts};

/// What is traced: everything that changes files or names, and what makes it durable. Those with `?`
/// are not there on every architecture.
const TRACED: &str = "trace=write,writev,pwrite64,pwritev,sendfile,copy_file_range,ftruncate,\
    fallocate,fsync,fdatasync,sync_file_range,openat,openat2,?open,?creat,?rename,renameat,?renameat2,\
    ?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,?symlink,symlinkat";

/// A system call that has returned.
#[derive(Debug)]
struct Event {
    /// The lines of the trace where it begins and where it ends.
    begin: usize,
    end: usize,
    name: String,
    /// As `strace` shows them: a handle with its path, such as `7</tmp/a>`.
    arguments: String,
    result: String,
}

impl Event {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&&*self.name)
    }

    fn is_done(&self) -> bool {
        !self.result.starts_with('-')
    }

    /// Whether it is about an open handle of this path.
    fn on(&self, path: &str) -> bool {
        let handle = self.arguments.split(',').next().unwrap_or_default();
        handle.ends_with(&format!("<{path}>"))
    }

    fn syncs(&self, path: &str) -> bool {
        self.is(&["fsync", "fdatasync"]) && self.on(path) && self.is_done()
    }

    fn writes(&self) -> bool {
        self.is(&["write", "writev", "pwrite64", "pwritev", "sendfile", "copy_file_range"])
            || self.is(&["ftruncate", "fallocate"])
    }

    /// Whether it makes, takes away or changes a name below a directory.
    fn changes_names(&self, below: &str) -> bool {
        let makes = self.is(&["openat", "openat2", "open", "creat"])
            && (self.name == "creat" || self.arguments.contains("O_CREAT"));
        let renames = ["rename", "link", "unlink", "mkdir", "symlink"];
        let changes = renames.iter().any(|name| self.name.starts_with(name));
        (makes || changes) && self.arguments.contains(&format!("<{below}"))
    }
}

/// Reads a trace. Calls that others interrupt stand in two lines.
fn events(trace: &str) -> Vec<Event> {
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut events = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(part) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, (at, part.to_owned()));
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, end) = resumed.split_once(" resumed>").unwrap();
                let (begin, part) = unfinished.remove(pid).unwrap();
                (begin, part + end)
            }
            None => (at, rest.to_owned()),
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        // A written text may hold anything, but it is quoted, and the result is not.
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { continue };
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        let (name, result) = (name.to_owned(), result.to_owned());
        events.push(Event { begin, end: at, name, arguments, result });
    }
    events.sort_by_key(|event| event.begin);
    events
}

/// A server under `strace`, and what it did.
struct Traced {
    dirs: Dirs,
    server: Stdio,
}

impl Traced {
    fn start() -> Self {
        let dirs = Dirs::with_fixture();
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--decode-fds=path", "--string-limit=65536", "--quiet=all"]);
        strace.args(["--signal=none", "-e", TRACED, "--output"]).arg(dirs.base().join("trace"));
        strace.arg("--").arg(env!("CARGO_BIN_EXE_roothold"));
        let found = Command::new("strace").arg("--version").output();
        assert!(found.is_ok_and(|found| found.status.success()), "this test needs strace");
        let audit = dirs.base().join("audit");
        let server = Stdio::start_by(strace, dirs.base(), &dirs.config(""), &audit);
        Self { dirs, server }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = self.server.request("tools/call", &params).0;
        assert_ne!(answer["result"]["isError"], true, "{tool}: {:?}", texts(&answer["result"]));
        answer
    }

    fn end(self) -> Vec<Event> {
        assert!(self.server.end().success());
        events(&std::fs::read_to_string(self.dirs.base().join("trace")).unwrap())
    }
}

/// The events of one call, from its intent to its answer.
struct Steps<'a> {
    what: &'a str,
    events: &'a [Event],
    /// Behind this line of the trace the next step begins.
    after: usize,
}

impl<'a> Steps<'a> {
    /// Begins with the intent of the call whose target this is. Since `from`, nothing below `work` may
    /// be changed before that is on the disk.
    fn of(call: &'a Made, events: &'a [Event], work: &str, from: usize) -> Self {
        let what = &*call.target;
        let target = format!("\\\"target\\\":\\\"{what}\\\"");
        let intent = events.iter().find(|event| {
            let line = &event.arguments;
            event.writes() && line.contains("\\\"intent\\\"") && line.contains(&target)
        });
        let intent = intent.unwrap_or_else(|| panic!("{what}: there is no intent"));
        let log = intent.arguments.split(['<', '>']).nth(1).unwrap();
        assert!(log.contains("/audit/audit-"), "{log}");
        let mut steps = Self { what, events, after: intent.end };
        let synced = steps.next("the intent is synced", |event| event.syncs(log));
        let is_change = |event: &&Event| event.begin > from && event.changes_names(work);
        let change = events.iter().find(is_change);
        let change = change.unwrap_or_else(|| panic!("{what}: nothing was changed"));
        assert!(change.begin > synced.end, "{what}: changed before the intent was synced");
        steps
    }

    /// The first event behind the steps so far that is such a one.
    fn next(&mut self, step: &str, is: impl Fn(&Event) -> bool) -> &'a Event {
        let mut behind = self.events.iter().filter(|event| event.begin > self.after);
        let found = behind.find(|event| is(event) && event.is_done());
        let found = found.unwrap_or_else(|| panic!("{}: not so: {step}", self.what));
        self.after = found.end;
        found
    }

    /// A file is put in place of a name in a directory, by way of a temporary file.
    fn replaced(&mut self, directory: &str, name: &str) {
        let made = self.next("a temporary file is made", |event| {
            event.changes_names(directory) && event.arguments.contains("O_EXCL")
        });
        let temp = made.arguments.split('"').nth(1).unwrap();
        assert!(temp.starts_with(".roothold-"), "{temp}");
        let path = format!("{directory}/{temp}");
        let writes = |event: &Event| event.writes() && event.on(&path);
        self.next("the content is written", writes);
        let last = self.events.iter().rfind(|event| writes(event));
        self.after = self.after.max(last.unwrap().end);
        self.next("the temporary file is synced", |event| event.syncs(&path));
        self.named("rename", directory, &[temp, name]);
        self.synced(directory);
    }

    fn synced(&mut self, directory: &str) {
        self.next("the directory is synced", |event| event.syncs(directory));
    }

    /// A call that changes these names.
    fn named(&mut self, call: &str, directory: &str, names: &[&str]) {
        self.next(&format!("{call} of {names:?}"), |event| {
            let has = |name: &&str| event.arguments.contains(&format!("\"{name}\""));
            let is_call = event.name.starts_with(call) && event.changes_names(directory);
            is_call && names.iter().all(has)
        });
    }

    /// Ends with the answer, behind all steps, and tells where that is.
    fn answered(mut self, answer: &Value) -> usize {
        let id = format!("\\\"id\\\":{},", answer["id"]);
        let is_answer = |event: &Event| {
            let to_client = event.writes() && event.arguments.contains("<pipe:");
            to_client && event.arguments.contains(&id)
        };
        let first = self.events.iter().find(|event| is_answer(event)).unwrap();
        assert!(first.begin > self.after, "{}: answered before it was durable", self.what);
        self.next("the answer", is_answer).end
    }
}

/// A call that was made.
struct Made {
    tool: &'static str,
    /// What its intent names.
    target: String,
    answer: Value,
}

/// The files that [`call_all`] works with.
fn prepare(dirs: &Dirs) {
    for (name, text) in
        [("from.txt", "PUBLIC"), ("gone.txt", "PUBLIC"), ("table.csv", "a,b\n1,2\n")]
    {
        dirs.write(&format!("work/{name}"), text);
    }
}

/// Calls every tool that changes files, in turn.
fn call_all(traced: &mut Traced) -> Vec<Made> {
    let path = |name: &str| traced.dirs.work().join(name).to_str().unwrap().to_owned();
    // More than one block, so that more than one write stands before the sync.
    let long = "x".repeat(600_000);
    let edits = json!([{"oldText": "PUBLIC", "newText": "CHANGED"}]);
    let nested = json!({"path": path("batch.txt"), "content": "new"});
    let mut calls = vec![
        ("new.txt", "write_file", json!({"path": path("new.txt"), "content": long})),
        ("sub/s.txt", "write_file", json!({"path": path("sub/s.txt"), "content": "new"})),
        ("a/b/f.txt", "write_file", json!({"path": path("a/b/f.txt"), "content": "new"})),
        ("hello.txt", "edit_file", json!({"path": path("hello.txt"), "edits": edits})),
        ("c/d", "create_directory", json!({"path": path("c/d")})),
        (
            "sub/moved.txt",
            "move_file",
            json!({"source": path("from.txt"), "destination": path("sub/moved.txt")}),
        ),
        ("gone.txt", "delete_file", json!({"path": path("gone.txt")})),
        ("batch.txt", "batch", json!({"calls": [{"tool": "write_file", "arguments": nested}]})),
    ];
    if cfg!(feature = "datasets") {
        let source = path("table.csv");
        let output = |name: &str| json!({"data_source": source, "output": path(name)});
        let with = |mut call: Value, key: &str, value: &str| {
            call[key] = json!(value);
            call
        };
        calls.extend([
            ("rows.csv", "query_dataset", with(output("rows.csv"), "sql", "SELECT * FROM data")),
            (
                "converted.jsonl",
                "process_large_dataset",
                with(output("converted.jsonl"), "operation", "convert"),
            ),
        ]);
    }
    let targets: Vec<String> = calls.iter().map(|(target, ..)| path(target)).collect();
    let call = |(target, (_, tool, arguments)): (String, (_, &'static str, Value))| {
        let answer = traced.call(tool, &arguments);
        Made { tool, target, answer }
    };
    targets.into_iter().zip(calls).map(call).collect()
}

#[test]
fn every_change_is_announced_made_and_answered_in_an_order_that_outlives_a_power_cut() {
    let mut traced = Traced::start();
    prepare(&traced.dirs);
    let made = call_all(&mut traced);
    assert_eq!(std::fs::read(traced.dirs.work().join("batch.txt")).unwrap(), b"new");
    let work = traced.dirs.work().canonicalize().unwrap().to_str().unwrap().to_owned();
    let [sub, a, b, c] = ["sub", "a", "a/b", "c"].map(|name| format!("{work}/{name}"));
    let events = traced.end();
    let mut from = 0;
    for call in &made {
        let mut steps = Steps::of(call, &events, &work, from);
        match &call.target[call.target.find("/work/").unwrap() + 6..] {
            "sub/s.txt" => steps.replaced(&sub, "s.txt"),
            "a/b/f.txt" => {
                steps.named("mkdir", &work, &["a"]);
                steps.synced(&work);
                steps.named("mkdir", &a, &["b"]);
                steps.synced(&a);
                steps.replaced(&b, "f.txt");
            }
            "c/d" => {
                steps.named("mkdir", &work, &["c"]);
                steps.synced(&work);
                steps.named("mkdir", &c, &["d"]);
                steps.synced(&c);
            }
            "sub/moved.txt" => {
                steps.named("rename", &work, &["from.txt", "moved.txt"]);
                steps.synced(&sub);
                steps.synced(&work);
            }
            "gone.txt" => {
                steps.named("unlink", &work, &["gone.txt"]);
                steps.synced(&work);
            }
            name => steps.replaced(&work, name),
        }
        from = steps.answered(&call.answer);
    }
}

/// The names of the tools that a client is shown.
fn shown(server: &mut Stdio) -> BTreeSet<String> {
    let list = server.request("tools/list", &json!({})).0;
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_tool_that_changes_files_is_left_out() {
    let dirs = Dirs::with_fixture();
    let mut traced = Traced::start();
    prepare(&traced.dirs);
    let called: BTreeSet<String> =
        call_all(&mut traced).iter().map(|made| made.tool.to_owned()).collect();
    // They are shown only where something can be changed.
    let read_only = dirs.config("").replace("access = \"rw\"", "access = \"ro\"");
    let mut reading = Stdio::start(dirs.base(), &read_only);
    let writing: BTreeSet<_> = &shown(&mut traced.server) - &shown(&mut reading);
    assert!(writing.is_subset(&called) && writing.len() >= 5, "{writing:?} {called:?}");
}

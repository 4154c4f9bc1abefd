//! What the server does when it is given bad credentials, a broken audit log, or a signal while
//! a client is at its stdin.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use roothold_edge::auth::KeysFile;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Audit, Conn, Dirs, Request, Server, Spec, custom_tool_binary};

#[test]
fn a_server_whose_audit_log_is_broken_is_not_ready() {
    let dirs = Dirs::with_fixture();
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    spec.small_files = true;
    let server = spec.start();
    assert!(server.is_ready());
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let refused = (0..1000).find(|_| {
        let result = server.call("read_text_file", &read).result();
        result["_meta"]["io.roothold/error"]["kind"] == "unavailable"
    });
    assert!(refused.is_some(), "the log takes more than the limit");
    assert!(!server.is_ready(), "calls are refused, so none should be sent here");
    assert_eq!(Conn::open(server.address).send(&Request::get("/health")).status, 200);
}

/// A server with a file of keys, and one of its keys.
fn keyed(dirs: &Dirs, more: &str) -> (Server, String) {
    let keys = dirs.base().join("keys");
    let file = KeysFile::open(&keys).unwrap();
    let key = file.new_key("anna", &["files:read".to_owned()], None).unwrap().1;
    let more = format!("{more}\n[auth]\nkeys_file = \"{}\"\n", keys.display());
    (Spec::new(dirs.base(), dirs.config(&more)).start(), key.reveal().to_owned())
}

#[test]
fn who_guesses_is_slowed() {
    let dirs = Dirs::with_fixture();
    let (server, key) = keyed(&dirs, "auth_failures_per_second = 0.001\nauth_failures_burst = 5");
    let ask = Request::modern("tools/list", &json!({}));
    assert_eq!(server.send(&ask.clone().bearer(&key)).status, 200);
    let wrong = ask.bearer("wrong");
    let answers: Vec<u16> = (0..8).map(|_| server.send(&wrong).status).collect();
    let refused = answers.iter().filter(|status| **status == 401).count();
    assert!(refused == 4 || refused == 5, "{answers:?}");
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
    let reply = server.send(&wrong);
    assert!(reply.header("retry-after").is_some());
    let lines = server.audit().of_kind("auth_failure").count();
    assert_eq!(lines, refused, "what was not looked at is not recorded");
}

#[test]
fn a_flood_of_bad_credentials_does_not_fill_the_log_and_locks_nobody_out() {
    const FLOOD: usize = 150;
    let dirs = Dirs::with_fixture();
    // With https a proxy stands before the server, and all clients have its address.
    let (server, key) = keyed(&dirs, "[server]\npublic_url = \"https://mcp.example.com/mcp\"");
    let ask = Request::modern("tools/list", &json!({}));
    let wrong = ask.clone().bearer("wrong");
    let begun = Instant::now();
    let first = server.send(&wrong);
    for _ in 1..FLOOD {
        assert_eq!(server.send(&wrong).status, 401);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert_eq!(server.send(&ask.bearer(&key)).status, 200);
    let audit = server.audit();
    let recorded: Vec<&Value> = audit.of_kind("auth_failure").collect();
    assert!((20..=20 * seconds).contains(&recorded.len()), "{} lines", recorded.len());
    assert_eq!(recorded[0]["request_id"], first.header("x-request-id").unwrap());
    let unrecorded = server.gauge("roothold_auth_failures_unrecorded_total");
    assert_eq!(unrecorded.to_string(), (FLOOD - recorded.len()).to_string());
}

/// A server over stdin and stdout, without the handshake; killed when dropped.
struct Piped {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Piped {
    fn start(binary: &Path, dirs: &Dirs) -> Self {
        let file = dirs.base().join("roothold.toml");
        std::fs::write(&file, dirs.config("")).unwrap();
        let mut child = Command::new(binary)
            .args(["stdio", "--log", "debug", "--log-format", "json", "--config"])
            .arg(&file)
            .arg("--audit-dir")
            .arg(dirs.base().join("audit"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving MCP") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served");
        }
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn write(&mut self, messages: &[Value]) {
        let input = self.child.stdin.as_mut().unwrap();
        for message in messages {
            writeln!(input, "{message}").unwrap();
        }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    fn ends_with(&mut self, code: i32) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(code), "{status}");
                return;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hello() -> [Value; 2] {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    });
    [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
    ]
}

fn slow_call(dirs: &Dirs) -> Value {
    let arguments = json!({"path": dirs.fill_in("$ROOT/hello.txt"), "pause_ms": 1500});
    let params = json!({"name": "count_words", "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

fn until_it_runs(dirs: &Dirs) {
    let until = Instant::now() + Duration::from_secs(10);
    while Audit::read(&dirs.base().join("audit")).counts().0 == 0 {
        assert!(Instant::now() < until, "the call does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stdio_ends_on_a_signal_before_the_handshake() {
    let dirs = Dirs::with_fixture();
    let mut server = Piped::start(Path::new(env!("CARGO_BIN_EXE_roothold")), &dirs);
    server.terminate();
    server.ends_with(0);
}

#[test]
fn stdio_answers_what_runs_before_it_ends() {
    // On a signal, and at the end of the input.
    for signal in [true, false] {
        let dirs = Dirs::with_fixture();
        let mut server = Piped::start(&custom_tool_binary(), &dirs);
        server.write(&hello());
        assert_eq!(server.read()["id"], 0);
        server.write(&[slow_call(&dirs)]);
        until_it_runs(&dirs);
        if signal {
            server.terminate();
        } else {
            server.child.stdin = None;
        }
        let answer = server.read();
        assert_eq!(answer["result"]["structuredContent"]["words"], 1, "{answer}");
        server.ends_with(0);
        let audit = Audit::read(&dirs.base().join("audit"));
        assert_eq!(audit.counts(), (1, 1));
        assert!(audit.of_kind("outcome").all(|outcome| outcome["fault"].is_null()));
    }
}

#[test]
fn a_second_signal_cuts_what_runs_over_stdio_and_says_so() {
    let dirs = Dirs::with_fixture();
    let mut server = Piped::start(&custom_tool_binary(), &dirs);
    server.write(&hello());
    server.read();
    server.write(&[slow_call(&dirs)]);
    until_it_runs(&dirs);
    server.terminate();
    std::thread::sleep(Duration::from_millis(200));
    server.terminate();
    server.ends_with(1);
    assert_eq!(Audit::read(&dirs.base().join("audit")).counts(), (1, 1));
}

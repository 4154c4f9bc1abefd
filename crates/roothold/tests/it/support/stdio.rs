//! The real binary over stdin and stdout.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio as Io};

use serde_json::{Value, json};

/// A server with one client; killed when dropped.
pub(crate) struct Stdio {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
    notified: VecDeque<Value>,
}

impl Stdio {
    /// Starts a server and shakes hands in revision 2025-11-25.
    pub(crate) fn start(base: &Path, config: &str) -> Self {
        Self::start_with_audit(base, config, &base.join("audit"))
    }

    /// The same with the audit log in a directory of the test's choice.
    pub(crate) fn start_with_audit(base: &Path, config: &str, audit: &Path) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_roothold")), base, config, audit)
    }

    /// The same with a client that can do something.
    pub(crate) fn start_able(base: &Path, config: &str, capabilities: &Value) -> Self {
        let by = Command::new(env!("CARGO_BIN_EXE_roothold"));
        Self::begin(by, base, config, &base.join("audit"), capabilities)
    }

    /// The same by a command that starts it in its own way.
    pub(crate) fn start_by(by: Command, base: &Path, config: &str, audit: &Path) -> Self {
        Self::begin(by, base, config, audit, &json!({}))
    }

    fn begin(
        mut by: Command,
        base: &Path,
        config: &str,
        audit: &Path,
        capabilities: &Value,
    ) -> Self {
        let file = base.join("roothold.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(base.join("stderr.log")).unwrap();
        let mut child = by
            .args(["stdio", "--log", "debug", "--config"])
            .arg(&file)
            .arg("--audit-dir")
            .arg(audit)
            .env("XDG_STATE_HOME", base.join("state-home"))
            .current_dir(base.join("outside"))
            .stdin(Io::piped())
            .stdout(Io::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut stdio = Self { child, input, output, next: 1, notified: VecDeque::new() };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "t", "version": "1"},
        });
        stdio.request("initialize", &hello);
        stdio.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        stdio
    }

    /// Sends a message.
    pub(crate) fn write(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Sends a line as it is and reads the next one.
    pub(crate) fn line(&mut self, line: &[u8]) -> Value {
        let input = self.input.as_mut().unwrap();
        input.write_all(&[line, b"\n"].concat()).unwrap();
        let mut answer = String::new();
        assert!(self.output.read_line(&mut answer).unwrap() > 0, "the server has ended");
        serde_json::from_str(&answer).expect("stdout carries messages only")
    }

    /// The next notification, which may have come before an answer.
    pub(crate) fn notification(&mut self) -> Value {
        if let Some(early) = self.notified.pop_front() {
            return early;
        }
        loop {
            let message = self.read().0;
            if message["id"].is_null() {
                return message;
            }
        }
    }

    /// The next message, whatever it is.
    pub(crate) fn message(&mut self) -> Value {
        self.read().0
    }

    fn read(&mut self) -> (Value, Vec<u8>) {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the server has ended");
        let message = serde_json::from_str(&line).expect("stdout carries messages only");
        (message, line.into_bytes())
    }

    /// Sends one request and reads its answer, whole and as the line it came in.
    pub(crate) fn request(&mut self, method: &str, params: &Value) -> (Value, Vec<u8>) {
        let id = self.next;
        self.next += 1;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let (message, line) = self.read();
            if message["id"] == id {
                return (message, line);
            }
            if message["id"].is_null() {
                self.notified.push_back(message);
            }
        }
    }

    /// Ends the input and waits for the server.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.input = None;
        self.child.wait().unwrap()
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

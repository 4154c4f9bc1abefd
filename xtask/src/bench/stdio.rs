//! A server on standard input and output, spoken to one call at a time.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

pub(super) struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next_id: u64,
    line: String,
}

impl Session {
    /// Starts a server and greets it in the older revision, which every server knows.
    pub(super) fn start<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let input = child.stdin.take().context("the child's input is a pipe")?;
        let output = BufReader::new(child.stdout.take().context("the child's output is a pipe")?);
        let mut session = Self { child, input, output, next_id: 0, line: String::new() };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        });
        session.request("initialize", &hello)?;
        session.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(session)
    }

    /// Calls a tool and returns how long the answer took. A refusal is an error.
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        let elapsed = started.elapsed();
        if answer["isError"] == json!(true) {
            bail!("{tool} failed: {answer}");
        }
        Ok(elapsed)
    }

    fn request(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            self.line.clear();
            if self.output.read_line(&mut self.line)? == 0 {
                bail!("the server ended before it answered {method}");
            }
            let mut message: Value = serde_json::from_str(&self.line)
                .with_context(|| format!("an answer to {method}"))?;
            // Notifications and the server's own requests may come first.
            if message["id"] == json!(id) && message.get("method").is_none() {
                match message.get_mut("result") {
                    Some(result) => return Ok(result.take()),
                    None => bail!("{method} failed: {message}"),
                }
            }
        }
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        self.input.write_all(&bytes)?;
        Ok(self.input.flush()?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to add to that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

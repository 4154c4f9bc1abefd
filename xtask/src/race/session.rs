//! A server on standard input and output with several requests under way at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// No answer may take longer, on a machine however busy: a server that takes longer hangs.
const ANSWER_MAX: Duration = Duration::from_secs(90);

pub(super) struct Session {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Session {
    /// Starts a server and greets it. Returns it with its capabilities.
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<(Self, Value)> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let input = child.stdin.take().context("the child's input is a pipe")?;
        let mut output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        // A thread of its own, so that a server that hangs does not hang the race. It ends with
        // the server's output, or with the session.
        let (sender, lines) = sync_channel(64);
        std::thread::spawn(move || {
            loop {
                let mut line = String::new();
                let read = output.read_line(&mut line);
                if !matches!(read, Ok(1..)) || sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut session = Self { child, input, lines };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "race", "version": "1"},
        });
        session.send(0, "initialize", &hello)?;
        let greeting: Value = serde_json::from_str(&session.line()?)?;
        session.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok((session, greeting["result"]["capabilities"].clone()))
    }

    /// The names of the tools.
    pub(super) fn tools(&mut self) -> anyhow::Result<Vec<String>> {
        self.send(0, "tools/list", &json!({}))?;
        let answer: Value = serde_json::from_str(&self.line()?)?;
        let tools = answer["result"]["tools"].as_array().context("a list of tools")?;
        Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
    }

    pub(super) fn send(&mut self, id: u64, method: &str, params: &Value) -> anyhow::Result<()> {
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    }

    fn write(&mut self, message: &Value) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        Ok(self.input.write_all(&bytes)?)
    }

    /// The next answer as it came, past notifications and requests of the server's own.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        loop {
            let line = self.lines.recv_timeout(ANSWER_MAX);
            let line = line.context("the server ended, or gave no answer in 90 s")?;
            if id_of(&line).is_some() {
                return Ok(line);
            }
        }
    }

    /// How many files the server has open.
    pub(super) fn open_files(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Its resident memory in MiB.
    pub(super) fn memory_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        crate::bench::memory_of(&status, "VmRSS:").context("the server's memory")
    }

    pub(super) fn is_alive(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "the server ended");
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to add to that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The id of an answer; nothing for a message that has a method.
pub(super) fn id_of(line: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Head {
        id: Option<u64>,
        method: Option<serde::de::IgnoredAny>,
    }
    let head: Head = serde_json::from_str(line).ok()?;
    head.id.filter(|_| head.method.is_none())
}

//! A server on standard input and output, spoken to as a client would.
//!
//! Invariant: no answer is waited for longer than [`ANSWER_MAX`].

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::family::Family;

/// The longest that one answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(10);
/// The most pages of one answer.
const PAGES_MAX: usize = 5_000;

/// A tool and its arguments.
#[derive(Debug, Clone)]
pub(super) struct Call {
    tool: &'static str,
    arguments: Value,
}

impl Call {
    pub(super) const fn new(tool: &'static str, arguments: Value) -> Self {
        Self { tool, arguments }
    }

    /// With one argument more.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.arguments[name] = value;
        self
    }

    fn params(&self) -> Value {
        json!({"name": self.tool, "arguments": self.arguments})
    }
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    /// All text blocks of all pages.
    pub(super) text: String,
    /// Bytes on the wire, of all pages.
    pub(super) bytes: usize,
    /// Bytes of the largest page.
    pub(super) page_bytes_max: usize,
}

impl Reply {
    fn add(&mut self, result: &Value, bytes: usize) {
        let blocks = result["content"].as_array().into_iter().flatten();
        for text in blocks.filter_map(|block| block["text"].as_str()) {
            self.text.push_str(text);
            self.text.push('\n');
        }
        self.bytes += bytes;
        self.page_bytes_max = self.page_bytes_max.max(bytes);
    }
}

pub(super) struct Session {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    next_id: u64,
}

impl Session {
    /// Starts a server and greets it in the older revision, which every server knows.
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let input = child.stdin.take().context("the child's input is a pipe")?;
        let mut output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        // A thread of its own, so that a server that hangs does not hang the bench. It ends with
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
        let mut session = Self { child, input, lines, next_id: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        });
        session.request("initialize", &hello)?;
        session.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(session)
    }

    /// The server's process and what it started.
    pub(super) fn family(&self) -> Family {
        Family::of(self.child.id())
    }

    /// Calls a tool, page after page until the answer is whole. A refusal is an error.
    pub(super) fn call(&mut self, call: &Call) -> anyhow::Result<Reply> {
        let mut params = call.params();
        let mut reply = Reply::default();
        for _ in 0..PAGES_MAX {
            let (result, bytes) = self.request("tools/call", &params)?;
            check(&result)?;
            let cursor = next_cursor(&result);
            reply.add(&result, bytes);
            match cursor {
                None => return Ok(reply),
                Some(cursor) => params["arguments"]["cursor"] = json!(cursor),
            }
        }
        bail!("{} had more than {PAGES_MAX} pages", call.tool)
    }

    /// Calls a tool and returns the structured form of its answer, of one page.
    pub(super) fn structured(&mut self, call: &Call) -> anyhow::Result<Value> {
        let (mut result, _) = self.request("tools/call", &call.params())?;
        check(&result)?;
        Ok(result["structuredContent"].take())
    }

    /// Asks for a tool and does not wait; the number of the request.
    pub(super) fn begin(&mut self, call: &Call, token: Option<&str>) -> anyhow::Result<u64> {
        let mut params = call.params();
        if let Some(token) = token {
            params["_meta"] = json!({"progressToken": token});
        }
        self.ask("tools/call", &params)
    }

    /// The next message, whatever it is.
    pub(super) fn message(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.recv_timeout(ANSWER_MAX).context("waiting for a message")?;
        serde_json::from_str(&line).context("a message")
    }

    /// Makes all calls with so many of them in flight, each answered in one page.
    pub(super) fn pipeline(&mut self, calls: &[Call], in_flight: usize) -> anyhow::Result<Reply> {
        let mut waiting = calls.iter();
        for call in waiting.by_ref().take(in_flight) {
            self.ask("tools/call", &call.params())?;
        }
        let mut reply = Reply::default();
        for _ in calls {
            let (message, bytes) = self.answer()?;
            ensure!(message["result"].is_object(), "a call failed: {message}");
            check(&message["result"])?;
            reply.add(&message["result"], bytes);
            if let Some(call) = waiting.next() {
                self.ask("tools/call", &call.params())?;
            }
        }
        Ok(reply)
    }

    /// `tools/list`, which all servers here answer in one page.
    pub(super) fn tools(&mut self) -> anyhow::Result<Reply> {
        let (result, bytes) = self.request("tools/list", &json!({}))?;
        ensure!(result["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "no tools");
        Ok(Reply { text: String::new(), bytes, page_bytes_max: bytes })
    }

    fn request(&mut self, method: &str, params: &Value) -> anyhow::Result<(Value, usize)> {
        let id = self.ask(method, params)?;
        loop {
            let (mut message, bytes) = self.answer()?;
            if message["id"] != json!(id) {
                continue;
            }
            match message.get_mut("result") {
                Some(result) => return Ok((result.take(), bytes)),
                None => bail!("{method} failed: {}", shortened(&message)),
            }
        }
    }

    fn ask(&mut self, method: &str, params: &Value) -> anyhow::Result<u64> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// The next answer and its bytes, past notifications and the server's own requests.
    fn answer(&mut self) -> anyhow::Result<(Value, usize)> {
        loop {
            let line = self.lines.recv_timeout(ANSWER_MAX).context("waiting for an answer")?;
            let message: Value = serde_json::from_str(&line).context("an answer")?;
            if message.get("method").is_none() {
                return Ok((message, line.len()));
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

fn check(result: &Value) -> anyhow::Result<()> {
    ensure!(result["isError"] != json!(true), "refused: {}", shortened(result));
    Ok(())
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

/// Where the next page begins: in the typed data or, of a text, in the line behind it.
fn next_cursor(result: &Value) -> Option<String> {
    if let Some(cursor) = result["structuredContent"]["next_cursor"].as_str() {
        return Some(cursor.to_owned());
    }
    let about = result["content"].as_array()?.get(1)?["text"].as_str()?;
    let (_, cursor) = about.split_once("truncated=true next_cursor=")?;
    cursor.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_found_in_both_places() {
        let typed = json!({"content": [], "structuredContent": {"next_cursor": "a"}});
        assert_eq!(next_cursor(&typed).as_deref(), Some("a"));
        let about = "hash=x truncated=true next_cursor=b";
        let text = json!({"content": [{"text": "x"}, {"text": about}]});
        assert_eq!(next_cursor(&text).as_deref(), Some("b"));
        assert_eq!(next_cursor(&json!({"content": [{"text": "next_cursor=c"}]})), None);
    }

    #[test]
    fn a_whole_exchange_works() {
        let answers = r#"read a; echo '{"id":1,"result":{}}'; read b; read c
            echo '{"method":"notifications/message"}'
            echo '{"id":2,"result":{"content":[{"text":"hello"}]}}'; read d"#;
        let mut session = Session::start(Command::new("sh").args(["-c", answers])).unwrap();
        let reply = session.call(&Call::new("x", json!({}))).unwrap();
        assert_eq!(reply.text, "hello\n");
    }
}

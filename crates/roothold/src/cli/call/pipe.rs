//! The wire of lines: a server that is started here and speaks over its stdin and stdout, or
//! one within this process.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rmcp::ServiceExt as _;
use serde_json::{Value, json};

use super::session::{Message, Wire};
use crate::builder::Roothold;

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How many lines may wait to be read.
const LINES_MAX: usize = 64;
/// How long a server may take to end after its input has ended.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A server at the other end of two pipes.
pub(super) struct Pipe {
    /// `None` once the input of the server was ended.
    writer: Option<Box<dyn Write>>,
    lines: Receiver<String>,
    timeout: Duration,
    server: Server,
}

enum Server {
    Child(Child),
    Thread(Option<JoinHandle<()>>),
}

impl Pipe {
    /// Starts a command; its stderr is this process's own.
    pub(super) fn start(
        program: &str,
        arguments: &[String],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{program}` cannot be started"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("the server has no stdin or stdout")?;
        let lines = lines_of(stdout);
        Ok(Self { writer: Some(Box::new(stdin)), lines, timeout, server: Server::Child(child) })
    }

    /// Serves within this process.
    pub(super) fn within(server: Roothold, timeout: Duration) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(stream) = tokio::net::UnixStream::from_std(theirs) else { return };
                if let Ok(service) = Box::pin(server.handler().serve(stream)).await {
                    let _ = service.waiting().await;
                }
            });
            let _ = server.engine.audit.close();
        })?;
        let lines = lines_of(ours.try_clone()?);
        let writer: Box<dyn Write> = Box::new(Ending(ours));
        Ok(Self { writer: Some(writer), lines, timeout, server: Server::Thread(Some(thread)) })
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        let writer = self.writer.as_mut().context("the conversation has ended")?;
        let sent = writeln!(writer, "{message}").and_then(|()| writer.flush());
        sent.context("the server does not read what it is sent")
    }
}

/// Ends the stream for the other end too, though a clone of it is still read.
struct Ending(UnixStream);

impl Write for Ending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// Reads lines on a thread of its own, since a pipe knows no timeout.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = String::new();
            let read = output.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
            if !read.is_ok_and(|bytes| bytes > 0) || sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Wire for Pipe {
    fn request(
        &mut self,
        message: &Message<'_>,
        notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value> {
        self.send(message.body)?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let line = match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => bail!("the server ended without an answer"),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no answer within {} s; see --timeout", self.timeout.as_secs())
                }
            };
            // What is not JSON is a stray print of the server.
            let Ok(received) = serde_json::from_str::<Value>(&line) else { continue };
            match (received.get("method"), received.get("id")) {
                (Some(method), Some(id)) => {
                    let reply = reply(method, id);
                    self.send(&reply)?;
                }
                (Some(_), None) => notified(&received),
                (None, Some(id)) if *id == message.body["id"] => return Ok(received),
                _ => {}
            }
        }
    }

    fn notify(&mut self, message: &Message<'_>) -> anyhow::Result<()> {
        self.send(message.body)
    }
}

/// The answer to a request of the server: this client declares nothing, so only `ping` is sound.
fn reply(method: &Value, id: &Value) -> Value {
    if method == "ping" {
        return json!({"jsonrpc": "2.0", "id": id, "result": {}});
    }
    let error = json!({"code": -32601, "message": "this client serves no requests"});
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

impl Drop for Pipe {
    /// Ends the input, which ends the server; one that stays is killed.
    fn drop(&mut self) {
        drop(self.writer.take());
        match &mut self.server {
            Server::Thread(thread) => {
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            Server::Child(child) => {
                let deadline = Instant::now() + END_TIMEOUT;
                while Instant::now() < deadline {
                    if !matches!(child.try_wait(), Ok(None)) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

//! Messages over stdin and stdout, one a line, under the same rules as over HTTP: what breaks one
//! is answered with its error, and the server lives on.
//!
//! Invariant: no line is kept beyond the limit of a body, and what is written is whole lines,
//! whoever stops waiting for it.

use std::io;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use roothold_edge::{CheckedLine, LongLine, RefusedLine, read_line};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Mutex;

use super::listening::Listening;
use super::pipes::{Input, Output};
use super::places::{self, Places};
use super::writer::Writer;

/// The transport of one client.
pub(super) struct Lines {
    input: BufReader<Input>,
    line: Vec<u8>,
    bytes_max: usize,
    /// The line is longer than it may be: it is passed for its id, and not kept.
    skipping: Option<LongLine>,
    output: Arc<Mutex<Writer>>,
    /// A refusal has its place in the output and may not be written yet.
    owes: bool,
    places: Places,
    listening: Listening,
}

/// What one look at the input brought.
enum Read {
    Line,
    TooLong(LongLine),
    End,
}

impl Lines {
    /// Over these two, with lines of at most `bytes_max` bytes.
    pub(super) fn new(
        input: Input,
        output: Output,
        bytes_max: usize,
        listening: Listening,
    ) -> Self {
        let writer = Writer::new(output);
        Self {
            input: BufReader::new(input),
            line: Vec::new(),
            bytes_max,
            skipping: None,
            output: Arc::new(Mutex::new(writer)),
            owes: false,
            places: Places::default(),
            listening,
        }
    }

    /// Reads up to the next end of a line. May be dropped while it waits: what came stays.
    async fn read(&mut self) -> io::Result<Read> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                return Ok(Read::End);
            }
            let end = memchr::memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            if self.skipping.is_none() && self.line.len() + part.len() > self.bytes_max {
                let mut long = LongLine::default();
                long.pass(&self.line);
                self.line = Vec::new();
                self.skipping = Some(long);
            }
            match &mut self.skipping {
                Some(long) => long.pass(part),
                None => self.line.extend_from_slice(part),
            }
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            if end.is_some() {
                return Ok(self.skipping.take().map_or(Read::Line, Read::TooLong));
            }
        }
    }

    fn too_long(&self) -> String {
        format!(
            "the message is longer than {} bytes, the most that limits.body_bytes_max allows here; \
             send less at once, or raise that limit in the configuration",
            self.bytes_max
        )
    }

    async fn refuse(&mut self, refused: &RefusedLine) -> io::Result<()> {
        let mut output = self.output.lock().await;
        output.put([refused.to_line()]);
        self.owes = true;
        output.flush().await?;
        self.owes = false;
        Ok(())
    }

    /// The next sound message; `None` at the end of the input.
    async fn next(&mut self) -> io::Result<Option<RxJsonRpcMessage<RoleServer>>> {
        if self.owes {
            self.output.lock().await.flush().await?;
            self.owes = false;
        }
        loop {
            let refused = match self.listening.asked().await {
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(refused)) => refused,
                None => match self.read().await? {
                    Read::End => return Ok(None),
                    Read::TooLong(long) => long.refused(self.too_long()),
                    Read::Line => match self.message_of_line() {
                        Ok(Some(message)) => return Ok(Some(message)),
                        Ok(None) => continue,
                        Err(refused) => refused,
                    },
                },
            };
            self.refuse(&refused).await?;
        }
    }

    /// The message of the line, if it has one that can be handed over at once.
    fn message_of_line(&mut self) -> Result<Option<RxJsonRpcMessage<RoleServer>>, RefusedLine> {
        let parsed = self.message();
        self.line.clear();
        match parsed? {
            Some((message, checked)) => self.listening.take(message, checked),
            None => Ok(None),
        }
    }

    /// The message of the line, if it has one.
    fn message(&self) -> Result<Option<(RxJsonRpcMessage<RoleServer>, CheckedLine)>, RefusedLine> {
        let line = self.line.trim_ascii();
        if line.is_empty() { Ok(None) } else { read_line(line).map(Some) }
    }
}

impl Transport<RoleServer> for Lines {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = Arc::clone(&self.output);
        let parts = self.places.left_for(&message);
        let tasks = self.listening.acknowledged(&message);
        async move {
            let mut line = places::line(&message, parts)?;
            if let Some(mut whole) = tasks.and_then(|tasks| tasks.acknowledge(&line.concat())) {
                whole.push(b'\n');
                line = vec![whole];
            }
            drop(message);
            let mut output = output.lock().await;
            output.put(line);
            output.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        match self.next().await {
            Ok(Some(mut message)) => {
                self.places.received(&mut message);
                Some(message)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "stdin or stdout failed");
                None
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::JsonRpcMessage;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn lines(bytes_max: usize) -> (Lines, DuplexStream, DuplexStream) {
        let (client, input) = duplex(64);
        let (output, answers) = duplex(64);
        let lines = Lines::new(Box::new(input), Box::new(output), bytes_max, Listening::default());
        (lines, client, answers)
    }

    async fn answer(answers: &mut BufReader<DuplexStream>) -> Value {
        let mut line = String::new();
        answers.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[tokio::test]
    async fn bad_lines_are_answered_and_good_ones_come_through() {
        let (mut lines, mut client, answers) = lines(1000);
        let long = format!("{{\"x\":\"{}\"}}\n", "x".repeat(5000));
        let sent = tokio::spawn(async move {
            let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n";
            for part in ["{oops\n", "\n", " \r\n", &long, "[]\n", ping, "{\"unfinished\""] {
                client.write_all(part.as_bytes()).await.unwrap();
            }
        });
        let read = tokio::spawn(async move {
            let mut answers = BufReader::new(answers);
            let mut codes = Vec::new();
            for _ in 0..3 {
                let answer = answer(&mut answers).await;
                assert_eq!(answer["id"], Value::Null);
                codes.push(answer["error"]["code"].as_i64().unwrap());
            }
            codes
        });
        assert!(matches!(lines.receive().await, Some(JsonRpcMessage::Request(_))));
        assert!(lines.line.capacity() <= 2000);
        assert!(lines.receive().await.is_none(), "half a line is no message");
        sent.await.unwrap();
        assert_eq!(read.await.unwrap(), [-32700, -32600, -32600]);
    }

    #[tokio::test]
    async fn a_request_that_is_too_long_is_answered_to_its_id_wherever_that_stands() {
        let (mut lines, mut client, answers) = lines(1000);
        let long = "\\\"x}".repeat(2000);
        let sent = tokio::spawn(async move {
            for message in [
                format!(r#"{{"id":1,"method":"x","params":{{"id":9,"a":"{long}"}}}}"#),
                format!(r#"{{"method":"x","params":{{"id":9,"a":["{long}"]}},"id":"two"}}"#),
                format!(r#"{{"id":3,"result":{{"a":"{long}"}}}}"#),
                format!(r#"[{{"id":4,"method":"x","params":{{"a":"{long}"}}}}]"#),
                r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#.to_owned(),
            ] {
                client.write_all(format!("{message}\n").as_bytes()).await.unwrap();
            }
            client
        });
        let read = tokio::spawn(async move {
            let mut answers = BufReader::new(answers);
            let mut ids = Vec::new();
            for _ in 0..4 {
                let answer = answer(&mut answers).await;
                assert_eq!(answer["error"]["code"], -32600);
                let said = answer["error"]["message"].as_str().unwrap();
                assert!(said.contains("1000 bytes") && said.contains("limits.body_bytes_max"));
                ids.push(answer["id"].clone());
            }
            ids
        });
        assert!(matches!(lines.receive().await, Some(JsonRpcMessage::Request(_))));
        let wanted = [json!(1), json!("two"), Value::Null, Value::Null];
        assert_eq!(read.await.unwrap(), wanted);
        drop(sent.await.unwrap());
    }

    /// The service drops `receive` whenever it has something to send.
    #[tokio::test]
    async fn nothing_is_lost_or_torn_when_waiting_is_given_up() {
        let (mut lines, mut client, answers) = lines(1000);
        let mut answers = BufReader::new(answers);
        client.write_all(b"{oops\n{\"jsonrpc\":\"2.0\",\"id\":1,").await.unwrap();
        // The answer does not fit into the pipe, so the refusal is given up halfway.
        for _ in 0..3 {
            assert!(futures::poll!(std::pin::pin!(lines.receive())).is_pending());
        }
        client.write_all(b"\"method\":\"ping\"}\n").await.unwrap();
        let message = json!({"jsonrpc": "2.0", "id": 9, "result": {}});
        let sending = lines.send(serde_json::from_value(message.clone()).unwrap());
        let reading = async {
            let refused = answer(&mut answers).await;
            assert_eq!(refused["error"]["code"], -32700);
            answer(&mut answers).await
        };
        let (sent, read) = tokio::join!(sending, reading);
        sent.unwrap();
        assert_eq!(read, message);
        assert!(lines.receive().await.is_some());
        drop(lines);
        let mut rest = Vec::new();
        answers.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }
}

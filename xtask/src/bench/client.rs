//! The load: keep-alive connections that each send one request after the other and check that
//! every answer is a result.
//!
//! Plain bytes over TCP, so that the client is much cheaper than what it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections of a load of many.
pub(super) const CONNECTIONS: usize = 32;
/// The longest that one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The two generations of the protocol on one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// 2026-07-28: everything stands in headers and `_meta`.
    Modern,
    /// 2025-11-25, without a session.
    Older,
}

impl Era {
    pub(super) const ALL: [Self; 2] = [Self::Modern, Self::Older];

    pub(super) const fn revision(self) -> &'static str {
        match self {
            Self::Modern => "2026-07-28",
            Self::Older => "2025-11-25",
        }
    }
}

/// A whole `tools/call` request as bytes. `arguments` is JSON.
pub(super) fn tools_call(era: Era, addr: SocketAddr, tool: &str, arguments: &str) -> Vec<u8> {
    let revision = era.revision();
    let (headers, meta) = match era {
        Era::Older => (String::new(), String::new()),
        Era::Modern => (
            format!("Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"),
            format!(
                r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{revision}","io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#
            ),
        ),
    };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{meta}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: {revision}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How a load went.
pub(super) struct Load {
    pub(super) elapsed: Duration,
    pub(super) latencies: Latencies,
}

/// How long each of many took, in order.
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(super) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency that `share` of the calls stayed below, in microseconds.
    pub(super) fn percentile_us(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into some thousand latencies"
        )]
        let at = (self.0.len() as f64 * share) as usize;
        let at = at.min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// Makes `calls` calls in all, over so many connections at once, with the requests in turn.
pub(super) async fn load(
    addr: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    calls: usize,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let requests = requests.to_vec();
        tasks.spawn(async move { connection(addr, &requests, calls / connections).await });
    }
    let mut latencies = Vec::with_capacity(calls);
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.context("a connection's task")??);
    }
    Ok(Load { elapsed: started.elapsed(), latencies: Latencies::of(latencies) })
}

/// Opens a connection, makes `calls` calls, and closes it.
pub(super) async fn connection(
    addr: SocketAddr,
    requests: &[Vec<u8>],
    calls: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(addr).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut latencies = Vec::with_capacity(calls);
    for request in requests.iter().cycle().take(calls) {
        let started = Instant::now();
        stream.write_all(request).await?;
        buffer.clear();
        let answer = tokio::time::timeout(ANSWER_MAX, answer(&mut stream, &mut buffer)).await;
        let body = answer.context("an answer took too long")??;
        check(&buffer, body)?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

/// Makes one call, and gives the body of its answer.
pub(super) async fn body(addr: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await.context("connecting")?;
    stream.write_all(request).await?;
    let mut buffer = Vec::new();
    let answer = tokio::time::timeout(ANSWER_MAX, answer(&mut stream, &mut buffer)).await;
    let body = answer.context("an answer took too long")??;
    check(&buffer, body)?;
    Ok(buffer.split_off(body))
}

/// Reads one whole answer and returns where its body begins.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<usize> {
    loop {
        if let Some((body, len)) = head(buffer)?
            && buffer.len() >= body + len
        {
            return Ok(body);
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the server hung up");
    }
}

/// Where the body begins and how long it is, once the whole head is there.
fn head(buffer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&buffer[..end]).context("an answer's head")?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let len = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok());
    Ok(Some((end + 4, len.with_context(|| format!("an answer without a length: {head}"))?)))
}

/// A load of refusals would be a fast one, so each answer must be a result.
fn check(buffer: &[u8], body: usize) -> anyhow::Result<()> {
    let has = |wanted: &str| buffer[body..].windows(wanted.len()).any(|w| w == wanted.as_bytes());
    let good = buffer.starts_with(b"HTTP/1.1 200 ") && has("\"result\"");
    if !good || has("\"isError\":true") {
        bail!("not a result: {}", String::from_utf8_lossy(buffer));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole() {
        let addr = "127.0.0.1:8000".parse().unwrap();
        for era in Era::ALL {
            let request = tools_call(era, addr, "list_allowed_directories", "{}");
            let (body, len) = head(&request).unwrap().unwrap();
            assert_eq!(request.len(), body + len);
            let body: serde_json::Value = serde_json::from_slice(&request[body..]).unwrap();
            assert_eq!(body["params"]["name"], "list_allowed_directories");
            assert_eq!(body["params"].get("_meta").is_some(), era == Era::Modern);
        }
    }

    #[test]
    fn only_results_count() {
        let verdict =
            |text: &str| check(text.as_bytes(), text.find("\r\n\r\n").unwrap() + 4).is_ok();
        assert!(verdict("HTTP/1.1 200 OK\r\n\r\n{\"result\":{}}"));
        assert!(!verdict("HTTP/1.1 200 OK\r\n\r\n{\"error\":{}}"));
        assert!(!verdict("HTTP/1.1 200 OK\r\n\r\n{\"result\":{\"isError\":true}}"));
        assert!(!verdict("HTTP/1.1 429 Too Many Requests\r\n\r\n{\"result\":{}}"));
    }

    #[test]
    fn percentiles_come_from_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_micros).collect();
        let latencies = Latencies::of(latencies);
        assert!((latencies.percentile_us(0.5) - 51.0).abs() < 0.01);
        assert!((latencies.percentile_us(1.0) - 100.0).abs() < 0.01);
    }
}

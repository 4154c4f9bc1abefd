//! Hostile clients: slow, greedy, many, or gone.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roothold_edge::EdgeConfig;
use roothold_edge::auth::RateLimit;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::client::{Conn, Request};
use crate::fixture::{Server, Setup};

fn ok() -> Request {
    Request::call("read_file", &json!({}))
}

fn impatient() -> EdgeConfig {
    EdgeConfig {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(900),
        write_timeout: Duration::from_millis(300),
        ..EdgeConfig::default()
    }
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused() {
    let server = Server::start().await;
    let mut announced = Conn::open(server.address).await;
    announced.write(&ok().head("Content-Length: 1073741824\r\n")).await;
    assert_eq!(announced.read().await.unwrap().status, 413);

    let conn = Conn::open(server.address).await;
    let (read, mut write) = conn.stream.into_inner().into_split();
    write.write_all(&ok().head("Transfer-Encoding: chunked\r\n")).await.unwrap();
    let sending = tokio::spawn(async move {
        let chunk = [&b"10000\r\n"[..], &vec![b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..1_024 {
            if write.write_all(&chunk).await.is_err() {
                break;
            }
        }
        write
    });
    let mut status = String::new();
    let mut reader = tokio::io::BufReader::new(read);
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut status).await.unwrap();
    assert!(status.starts_with("HTTP/1.1 413"), "{status}");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut() {
    let server = Server::configured(impatient()).await;
    let begun = Instant::now();
    let mut drips = Vec::new();
    for _ in 0..100 {
        let mut conn = Conn::open(server.address).await;
        conn.write(b"POST /mcp HTTP/1.1\r\nHost: loc").await;
        drips.push(conn);
    }
    let mut silent = Conn::open(server.address).await;
    assert_eq!(server.send(&ok()).await.status, 200);
    for conn in &mut drips {
        assert!(conn.closes_within(Duration::from_secs(5)).await);
    }
    assert!(silent.closes_within(Duration::from_secs(5)).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout() {
    let server = Server::configured(impatient()).await;
    let mut conn = Conn::open(server.address).await;
    assert_eq!(conn.send(&ok()).await.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(conn.send(&ok()).await.status, 200);
    assert!(!conn.closes_within(Duration::from_millis(500)).await);
    assert!(conn.closes_within(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_body_that_drips_in_is_cut() {
    let server = Server::configured(impatient()).await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&ok().head("Content-Length: 100\r\n")).await;
    conn.write(b"{").await;
    assert_eq!(conn.read().await.unwrap().status, 408);
    assert!(conn.closes_within(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let server = Server::configured(impatient()).await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&Request::call("big", &json!({"bytes": 64 << 20})).bytes()).await;
    let seen = std::sync::Arc::clone(&server.seen);
    for _ in 0..1_000 {
        if !seen.requests.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    let begun = Instant::now();
    server.shutdown.begin();
    // a connection that still held its answer would keep the drain waiting
    assert!(server.stop().await.is_clean());
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_configured_origin_may_call_from_a_browser() {
    let origin = "https://app.example.com";
    let config = EdgeConfig { allowed_origins: vec![origin.to_owned()], ..EdgeConfig::default() };
    let server = Server::configured(config).await;
    let preflight = Request::get("/mcp")
        .method("OPTIONS")
        .with("Origin", origin)
        .with("Access-Control-Request-Method", "POST");
    let asked = server.send(&preflight).await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), Some(origin));
    let called = server.send(&ok().with("Origin", origin)).await;
    assert_eq!(called.status, 200);
    assert_eq!(called.header("access-control-allow-origin"), Some(origin));
    assert_eq!(server.send(&ok().with("Origin", "https://evil.example")).await.status, 403);
}

#[tokio::test]
async fn a_head_over_its_limit_is_431() {
    let server = Server::start().await;
    let mut many = ok();
    for at in 0..1_000 {
        many.headers.push((format!("X-{at}"), "x".to_owned()));
    }
    for request in [many, ok().with("X-Long", &"x".repeat(1 << 20))] {
        let mut conn = Conn::open(server.address).await;
        conn.write_some(&request.bytes()).await;
        assert_eq!(conn.read().await.map(|answer| answer.status), Some(431));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    let mut bytes = Vec::new();
    for at in 0..100 {
        let request =
            Request::call("echo", &json!({"text": at})).edit(|body| body["id"] = at.into());
        bytes.extend_from_slice(&request.bytes());
    }
    let conn = Conn::open(server.address).await;
    let (read, mut write) = conn.stream.into_inner().into_split();
    let writing = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        write
    });
    let mut reader = tokio::io::BufReader::new(read);
    for at in 0..100 {
        let answer = read_one(&mut reader).await;
        assert_eq!(answer["id"], at);
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(text, format!("local says {at}"));
    }
    writing.await.unwrap();
}

async fn read_one(reader: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> serde_json::Value {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_half_closed_client_is_served_or_closed() {
    let server = Server::start().await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&ok().bytes()).await;
    conn.stream.get_mut().shutdown().await.unwrap();
    let answer = conn.read().await;
    assert!(answer.is_none_or(|answer| answer.status == 200));
    assert!(conn.closes_within(Duration::from_secs(5)).await);
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call() {
    let server = Server::start().await;
    let fast = Request::call("slow", &json!({"ms": 60_000}));
    let by_rmcp = fast.clone().edit(|body| body["params"]["_meta"]["progressToken"] = 1.into());
    for (at, request) in [fast, by_rmcp].into_iter().enumerate() {
        let mut conn = Conn::open(server.address).await;
        conn.write(&request.bytes()).await;
        server.until(|seen| seen.started.load(Ordering::SeqCst) == at + 1).await;
        drop(conn);
        server.until(|seen| seen.cancelled.load(Ordering::SeqCst) == at + 1).await;
        // told, not dropped: it ends by itself
        server.until(|seen| seen.ended.load(Ordering::SeqCst) == at + 1).await;
    }
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn a_storm_of_hang_ups_leaves_nothing() {
    let server = Server::start().await;
    for at in 0..500_u64 {
        let mut conn = Conn::open(server.address).await;
        conn.write(&Request::call("slow", &json!({"ms": 5_000})).bytes()).await;
        if at % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(at % 7)).await;
        }
    }
    server
        .until(|seen| {
            seen.started.load(Ordering::SeqCst) == seen.ended.load(Ordering::SeqCst)
                && seen.requests.lock().unwrap().len() >= seen.started.load(Ordering::SeqCst)
        })
        .await;
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn the_same_id_from_many_clients_never_crosses() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for at in 0..500 {
        let mut conn = Conn::open(server.address).await;
        let request = Request::call("echo", &json!({"text": format!("canary {at}")}));
        clients.push(tokio::spawn(async move {
            let answer = conn.send(&request).await.json();
            let expected = format!("local says \"canary {at}\"");
            assert_eq!(answer["result"]["content"][0]["text"], expected);
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn connections_are_capped() {
    for config in [
        EdgeConfig { connections_max: 3, ..EdgeConfig::default() },
        EdgeConfig { connections_per_ip_max: Some(3), ..EdgeConfig::default() },
    ] {
        let server = Server::configured(config).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut conn = Conn::open(server.address).await;
            assert_eq!(conn.send(&ok()).await.status, 200);
            held.push(conn);
        }
        let mut fourth = Conn::open(server.address).await;
        fourth.write_some(&ok().bytes()).await;
        assert!(fourth.read().await.is_none());
        held.pop();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(server.send(&ok()).await.status, 200);
    }
}

#[tokio::test]
async fn one_tenant_over_its_rate_leaves_the_others_alone() {
    let rate = Some(RateLimit::per_second(0.1, 2));
    let server = Server::with(Setup { keys: true, rate, ..Setup::default() }).await;
    let mut refused = None;
    for _ in 0..3 {
        refused = Some(server.send(&ok().bearer(&server.anna)).await);
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(server.send(&ok().bearer(&server.ben)).await.status, 200);
}

async fn h2(
    server: &Server,
) -> (h2::client::SendRequest<bytes::Bytes>, tokio::task::JoinHandle<bool>) {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    (client, tokio::spawn(async { connection.await.is_ok() }))
}

fn h2_request() -> http::Request<()> {
    let call = ok();
    let mut request = http::Request::post("http://localhost/mcp");
    for (name, value) in call.headers.iter().filter(|(name, _)| name != "Host") {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let server = Server::start().await;
    let (client, _connection) = h2(&server).await;
    let mut client = client.ready().await.unwrap();
    let (response, mut body) = client.send_request(h2_request(), false).unwrap();
    body.send_data(ok().body.into(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = response.into_body();
    let data = stream.data().await.unwrap().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "hello");
}

#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let server = Server::start().await;
    let mut conn = Conn::open(server.address).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, &[]));
    // POST /mcp on localhost in HPACK, without indexing
    let head = b"\x83\x86\x04\x04/mcp\x01\x09localhost";
    for stream in (1..400).step_by(2) {
        bytes.extend_from_slice(&frame(1, 4, stream, head));
        bytes.extend_from_slice(&frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    conn.write_some(&bytes).await;
    let mut sent = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut conn.stream, &mut sent);
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(ended.is_ok(), "the connection ends");
    assert!(has_goaway(&sent), "it ends with GOAWAY: {sent:?}");
    assert_eq!(server.send(&ok()).await.status, 200);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Whether the frames hold a `GOAWAY` with `ENHANCE_YOUR_CALM`.
fn has_goaway(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(payload) = rest.get(5..5 + length) else { break };
        if *kind == 7 && payload[4..8] == [0, 0, 0, 0xb] {
            return true;
        }
        bytes = &rest[5 + length..];
    }
    false
}

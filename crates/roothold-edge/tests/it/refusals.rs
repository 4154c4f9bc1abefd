//! What is refused early, and what the connection is good for afterwards.

use std::sync::atomic::Ordering;
use std::time::Duration;

use roothold_edge::EdgeConfig;
use roothold_edge::auth::RateLimit;
use serde_json::json;

use crate::client::{Conn, Request};
use crate::fixture::{Server, Setup};

fn ok() -> Request {
    Request::call("read_file", &json!({}))
}

#[tokio::test]
async fn a_refusal_before_the_body_closes_the_connection_and_says_so() {
    let server = Server::with(Setup { keys: true, ..Setup::default() }).await;
    let anna = |request: Request| request.bearer(&server.anna);
    for (status, request) in [
        (401, ok()),
        (403, anna(ok()).with("Host", "evil.example")),
        (403, anna(ok()).with("Origin", "https://evil.example")),
        (404, anna(ok()).target("/other")),
        (405, anna(ok()).method("PUT")),
        (406, anna(ok()).with("Accept", "text/html")),
        (415, anna(ok()).with("Content-Type", "text/plain")),
    ] {
        let mut conn = Conn::open(server.address).await;
        let answer = conn.send(&request).await;
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert!(conn.closes_within(Duration::from_secs(5)).await);
    }
}

#[tokio::test]
async fn a_rate_refusal_closes_and_an_answered_request_does_not() {
    let rate = Some(RateLimit::per_second(0.1, 2));
    let server = Server::with(Setup { keys: true, rate, ..Setup::default() }).await;
    let call = ok().bearer(&server.anna);
    let mut conn = Conn::open(server.address).await;
    assert_eq!(conn.send(&call).await.header("connection"), None);
    let malformed = conn.send(&call.clone().body("{")).await;
    assert_eq!(
        (malformed.status, malformed.header("connection")),
        (400, None),
        "its body was read"
    );
    let refused = conn.send(&call).await;
    assert_eq!((refused.status, refused.header("connection")), (429, Some("close")));

    // nothing is unread of a request without a body
    let mut conn = Conn::open(server.address).await;
    for _ in 0..2 {
        let refused = conn.send(&Request::get("/mcp")).await;
        assert_eq!((refused.status, refused.header("connection")), (405, None));
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    let config = EdgeConfig { answers_bytes_max: 40 << 20, ..EdgeConfig::default() };
    let server = Server::configured(config).await;
    let big = Request::call("big", &json!({"bytes": 30 << 20}));
    let mut greedy = Conn::open(server.address).await;
    greedy.write(&big.bytes()).await;
    assert_eq!(greedy.read_head().await.unwrap().status, 200);
    let refused = server.send(&big).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!((30 << 20..40 << 20).contains(&server.seen.held.load(Ordering::SeqCst)));
    assert_eq!(server.seen.no_room.load(Ordering::SeqCst), 1, "it is told");
    assert_eq!(server.send(&ok()).await.status, 200);
    drop(greedy);
    assert_eq!(server.send(&big).await.status, 200);
}

#[tokio::test]
async fn a_message_of_too_many_values_is_refused() {
    let server = Server::start().await;
    let many = vec![json!({"": 0}); 100_000];
    let answer = server.send(&Request::call("read_file", &json!({"a": many}))).await;
    assert_eq!((answer.status, answer.code()), (400, Some(-32600)));
}

//! Sessions of older revisions, where they are switched on.

use std::time::Duration;

use roothold_edge::{EdgeConfig, SessionLimits};
use serde_json::json;

use crate::client::{Conn, Request};
use crate::fixture::{Server, Setup};

const VERSION: &str = "2025-11-25";

async fn with_sessions(sessions_max: usize) -> Server {
    let limits = SessionLimits { sessions_max, ..SessionLimits::default() };
    let config = EdgeConfig { legacy_sessions: Some(limits), ..EdgeConfig::default() };
    Server::with(Setup { config, keys: true, ..Setup::default() }).await
}

async fn open(server: &Server, token: &str) -> String {
    let answer = server.send(&Request::initialize(VERSION).bearer(token)).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let initialized = Request::older("notifications/initialized", &json!({}))
        .edit(|body| drop(body.as_object_mut().unwrap().remove("id")));
    assert_eq!(server.send(&in_session(initialized, token, &id)).await.status, 202);
    id
}

fn in_session(request: Request, token: &str, id: &str) -> Request {
    request.bearer(token).with("Mcp-Session-Id", id).with("MCP-Protocol-Version", VERSION)
}

#[tokio::test]
async fn a_session_is_its_makers_alone() {
    let server = with_sessions(10).await;
    let (anna, ben) = (server.anna.clone(), server.ben.clone());
    let id = open(&server, &anna).await;
    let call = || Request::older("tools/call", &json!({"name": "read_file", "arguments": {}}));
    let hers = server.send(&in_session(call(), &anna, &id)).await;
    assert_eq!(hers.status, 200);
    let answer = hers.events().pop().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "hello");

    let stream = || Request::get("/mcp").with("Accept", "text/event-stream");
    let end = || Request::get("/mcp").method("DELETE");
    for request in [call(), stream(), end()] {
        let stolen = server.send(&in_session(request.clone(), &ben, &id)).await;
        assert_eq!(stolen.status, 404);
        let unknown = server.send(&in_session(request, &anna, "no-such-session")).await;
        assert_eq!((unknown.status, unknown.body), (404, stolen.body));
    }

    // `initialize` makes a session and enters none, whatever its header says
    let entered = server.send(&in_session(Request::initialize(VERSION), &ben, &id)).await;
    assert_eq!(entered.status, 200);
    assert_ne!(entered.header("mcp-session-id").unwrap(), id);

    let mut first = Conn::open(server.address).await;
    first.write(&in_session(stream(), &anna, &id).bytes()).await;
    assert_eq!(first.read_head().await.unwrap().status, 200);
    assert_eq!(server.send(&in_session(stream(), &anna, &id)).await.status, 409);

    let ended = server.send(&in_session(end(), &anna, &id)).await;
    assert!(matches!(ended.status, 200 | 202 | 204), "{}", ended.status);
    assert_eq!(server.send(&in_session(call(), &anna, &id)).await.status, 404);
}

#[tokio::test]
async fn sessions_are_capped() {
    let server = with_sessions(2).await;
    let (anna, ben) = (server.anna.clone(), server.ben.clone());
    let first = open(&server, &anna).await;
    // one of two is her share, and the other place is his
    let second = server.send(&Request::initialize(VERSION).bearer(&anna)).await;
    assert_eq!(second.status, 429);
    open(&server, &ben).await;
    let third = server.send(&Request::initialize(VERSION).bearer(&anna)).await;
    assert_eq!(third.status, 503);
    let end = Request::get("/mcp").method("DELETE");
    server.send(&in_session(end, &anna, &first)).await;
    open(&server, &anna).await;
}

#[tokio::test]
async fn an_idle_session_ends() {
    let limits = SessionLimits { sessions_max: 1, idle_timeout: Duration::from_millis(200) };
    let config = EdgeConfig { legacy_sessions: Some(limits), ..EdgeConfig::default() };
    let server = Server::with(Setup { config, keys: true, ..Setup::default() }).await;
    let anna = server.anna.clone();
    let id = open(&server, &anna).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let list = Request::older("tools/list", &json!({}));
    assert_eq!(server.send(&in_session(list, &anna, &id)).await.status, 404);
    // its place is free again
    open(&server, &anna).await;
}

#[tokio::test]
async fn without_a_session_they_are_served_as_ever() {
    let server = with_sessions(2).await;
    let call = Request::older("tools/call", &json!({"name": "read_file", "arguments": {}}));
    let answer = server.send(&call.bearer(&server.anna)).await;
    assert_eq!(answer.json()["result"]["content"][0]["text"], "hello");
}

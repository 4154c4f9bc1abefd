//! Revisions side by side, and the two ways of one request.

use serde_json::json;

use crate::client::{Conn, MODERN, Request};
use crate::fixture::Server;

#[tokio::test]
async fn older_revisions_are_served_without_a_session() {
    let server = Server::start().await;
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let mut conn = Conn::open(server.address).await;
        let answer = conn.send(&Request::initialize(version)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["result"]["protocolVersion"], version);
        assert_eq!(answer.header("mcp-session-id"), None);
        let initialized = Request::older("notifications/initialized", &json!({}))
            .edit(|body| drop(body.as_object_mut().unwrap().remove("id")))
            .with("MCP-Protocol-Version", version);
        let noted = conn.send(&initialized).await;
        assert_eq!((noted.status, noted.body.len()), (202, 0));
        let call = Request::older("tools/call", &json!({"name": "read_file", "arguments": {}}));
        let answer = conn.send(&call.with("MCP-Protocol-Version", version)).await;
        assert_eq!(answer.json()["result"]["content"][0]["text"], "hello");
        let ping = conn.send(&Request::older("ping", &json!({}))).await;
        assert_eq!(ping.json()["result"], json!({}));
    }
}

#[tokio::test]
async fn versions_that_nobody_speaks_are_refused_with_those_that_are() {
    let server = Server::start().await;
    let older = Request::older("tools/list", &json!({})).with("MCP-Protocol-Version", "1999-01-01");
    let newer = Request::modern("tools/list", &json!({}))
        .with("MCP-Protocol-Version", "2999-01-01")
        .edit(|body| {
            body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] =
                "2999-01-01".into();
        });
    for request in [older, newer] {
        let answer = server.send(&request).await;
        assert_eq!((answer.status, answer.code()), (400, Some(-32022)));
        let supported = answer.json()["error"]["data"]["supported"].clone();
        assert!(supported.as_array().unwrap().contains(&MODERN.into()));
    }
}

#[tokio::test]
async fn required_metadata_is_asked_for() {
    let server = Server::start().await;
    for field in ["protocolVersion", "clientCapabilities"] {
        let request = Request::modern("tools/list", &json!({})).edit(|body| {
            let meta = body["params"]["_meta"].as_object_mut().unwrap();
            meta.remove(&format!("io.modelcontextprotocol/{field}"));
        });
        let answer = server.send(&request).await;
        assert_eq!((answer.status, answer.code()), (400, Some(-32602)), "{field}");
        assert_eq!(answer.json()["id"], 1);
    }
}

#[tokio::test]
async fn errors_have_the_status_of_their_revision() {
    let server = Server::start().await;
    let nameless = json!({"arguments": {}});
    let modern = server.send(&Request::modern("tools/call", &nameless)).await;
    assert_eq!((modern.status, modern.code()), (400, Some(-32602)));
    let older = server.send(&Request::older("tools/call", &nameless)).await;
    assert_eq!((older.status, older.code()), (200, Some(-32602)));
    for removed in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
        let answer = server.send(&Request::modern(removed, &json!({}))).await;
        assert_eq!((answer.status, answer.code()), (404, Some(-32601)), "{removed}");
    }
    let unknown = server.send(&Request::modern("x/y", &json!({}))).await;
    assert_eq!((unknown.status, unknown.code()), (404, Some(-32601)));
    let unknown = server.send(&Request::older("x/y", &json!({}))).await;
    assert_eq!((unknown.status, unknown.code()), (200, Some(-32601)));
    let ping = server.send(&Request::modern("ping", &json!({}))).await;
    assert_eq!((ping.status, ping.code()), (404, Some(-32601)));
    let panicked = server.send(&Request::call("panics", &json!({}))).await;
    assert_eq!(panicked.code(), Some(-32603));
}

/// A log level makes rmcp serve the request, and changes nothing of these answers.
#[tokio::test]
async fn both_ways_give_the_same_bytes() {
    let server = Server::start().await;
    for request in [
        Request::call("read_file", &json!({"path": "x"})),
        Request::call("nothing", &json!({})),
        Request::call("write_file", &json!({})),
        Request::modern("tools/list", &json!({})),
        Request::modern("server/discover", &json!({})),
        Request::modern("resources/list", &json!({})),
        Request::modern("prompts/list", &json!({})),
        Request::modern("resources/templates/list", &json!({})),
        Request::modern("resources/read", &json!({"uri": "a:b"})).with("Mcp-Name", "a:b"),
        Request::modern("prompts/get", &json!({"name": "p"})).with("Mcp-Name", "p"),
        Request::modern("tasks/get", &json!({"taskId": "t"})).with("Mcp-Name", "t"),
    ] {
        let fast = server.send(&request).await;
        let by_rmcp = server
            .send(&request.clone().edit(|body| {
                body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "error".into();
            }))
            .await;
        let text = String::from_utf8_lossy(&fast.body).into_owned();
        assert_eq!(text, String::from_utf8_lossy(&by_rmcp.body));
        assert_eq!(fast.status, by_rmcp.status, "{text}");
    }
    let seen = server.seen.requests.lock().unwrap().clone();
    assert!(seen.chunks(2).all(|pair| pair[0].fast && !pair[1].fast));
}

/// The short way of a call is the third: it makes no value of the stamp, and must not be told apart.
#[tokio::test]
async fn the_short_way_of_a_call_gives_the_same_bytes() {
    let (long, short) = (Server::start().await, Server::short().await);
    for (tool, arguments) in [
        ("read_file", json!({"path": "x"})),
        ("echo", json!({"text": "\u{2028}\"\\ {}}}"})),
        ("marked", json!({})),
        ("empty", json!({})),
        ("write_file", json!({})),
        ("nothing", json!({})),
        ("panics", json!({})),
        ("big", json!({"bytes": 100_000})),
    ] {
        let older = json!({"name": tool, "arguments": arguments});
        for request in [Request::call(tool, &arguments), Request::older("tools/call", &older)] {
            let expected = long.send(&request).await;
            let answer = short.send(&request).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(text, String::from_utf8_lossy(&expected.body));
            assert_eq!(answer.status, expected.status, "{text}");
        }
    }
    let calls = short.seen.short.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(calls, 16);
    let progress = Request::call("progress", &json!({}))
        .edit(|body| body["params"]["_meta"]["progressToken"] = "p".into());
    assert_eq!(short.send(&progress).await.events().len(), 3);
    let resumed = Request::call("read_file", &json!({}))
        .edit(|body| body["params"]["requestState"] = "s".into());
    assert_eq!(short.send(&resumed).await.status, 200);
    let misshapen = resumed.edit(|body| body["params"]["requestState"] = 1.into());
    assert_eq!(short.send(&misshapen).await.code(), Some(-32602));
    assert_eq!(short.seen.short.load(std::sync::atomic::Ordering::SeqCst), calls);
}

#[tokio::test]
async fn a_short_call_whose_client_has_gone_is_told_and_runs_to_its_end() {
    use std::sync::atomic::Ordering::SeqCst;
    let server = Server::short().await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&Request::call("slow", &json!({"ms": 60_000})).bytes()).await;
    server.until(|seen| seen.started.load(SeqCst) == 1).await;
    drop(conn);
    server.until(|seen| seen.ended.load(SeqCst) == 1).await;
    assert_eq!(server.seen.cancelled.load(SeqCst), 1);
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn a_name_that_is_twice_in_the_arguments_is_refused_on_every_way() {
    let server = Server::start().await;
    for meta in ["", r#","_meta":{"progressToken":1}"#] {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"a","text":"b"}}{meta}}}}}"#
        );
        let request = Request::older("tools/call", &json!({})).body(text);
        let answer = server.send(&request).await;
        assert_eq!((answer.status, answer.code()), (200, Some(-32602)));
    }
}

#[tokio::test]
async fn results_say_which_server_made_them() {
    let server = Server::start().await;
    let info = "io.modelcontextprotocol/serverInfo";
    for request in [
        Request::call("read_file", &json!({})),
        Request::modern("tools/list", &json!({})),
        Request::modern("server/discover", &json!({})),
    ] {
        let answer = server.send(&request).await.json();
        assert!(answer["result"]["_meta"][info]["name"].is_string(), "{answer}");
    }
    let older = server.send(&Request::older("tools/list", &json!({}))).await.json();
    assert!(older["result"]["_meta"].is_null());
}

#[tokio::test]
async fn progress_streams_and_a_client_without_streams_gets_the_result() {
    let server = Server::start().await;
    let request = Request::call("progress", &json!({}))
        .edit(|body| body["params"]["_meta"]["progressToken"] = "p".into());
    let streamed = server.send(&request).await;
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    assert_eq!(streamed.header("cache-control"), Some("no-store"));
    let events = streamed.events();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0]["method"], "notifications/progress");
    assert_eq!(events[2]["result"]["content"][0]["text"], "done");
    let alone = server.send(&request.with("Accept", "application/json")).await;
    assert_eq!(alone.header("content-type"), Some("application/json"));
    assert_eq!(alone.status, 200);
}

#[tokio::test]
async fn a_cancellation_of_anothers_request_is_ignored() {
    let server = Server::start().await;
    let call = Request::older("tools/call", &json!({"name": "slow", "arguments": {"ms": 300}}));
    let mut conn = Conn::open(server.address).await;
    conn.write(&call.bytes()).await;
    server.until(|seen| seen.started.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
    let cancel = Request::older("notifications/cancelled", &json!({"requestId": 1}))
        .edit(|body| drop(body.as_object_mut().unwrap().remove("id")));
    assert_eq!(server.send(&cancel).await.status, 202);
    let answer = conn.read().await.unwrap();
    assert_eq!(answer.json()["result"]["content"][0]["text"], "slept");
    assert_eq!(server.seen.cancelled.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let server = Server::start().await;
    let request = Request::call("big", &json!({"bytes": 100_000}));
    let plain = server.send(&request).await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = server.send(&request.with("Accept-Encoding", "gzip")).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len() / 10);
}

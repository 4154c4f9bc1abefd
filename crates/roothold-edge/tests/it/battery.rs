//! The attack battery `tests/batteries/http.json`: every case is run here or listed with the
//! reason why another test answers it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Answer, Conn, Request};
use crate::fixture::{Server, Setup};

/// What a case of the battery must come to.
enum Want {
    Status(&'static [u16]),
    Code(i64),
    /// Not asserted by a status alone.
    Custom(fn(&Answer) -> bool),
}

fn ok() -> Request {
    Request::call("read_file", &json!({"path": "work:/hello.txt"}))
}

fn body(body: impl Into<Vec<u8>>) -> Request {
    ok().body(body)
}

/// The cases that are one request each, sent as `anna` to a server with API keys.
fn requests() -> Vec<(&'static str, Request, Want)> {
    use Want::{Code, Custom, Status};
    let complete = |answer: &Answer| {
        answer.status == 200 && answer.json()["result"]["resultType"] == "complete"
    };
    let private = |answer: &Answer| {
        answer.header("cache-control") == Some("no-store")
            && answer.header("vary").is_some_and(|vary| vary.contains("Authorization"))
    };
    let not_echoed =
        |answer: &Answer| answer.status == 200 && answer.header("mcp-session-id").is_none();
    let preflight = Request::get("/mcp")
        .method("OPTIONS")
        .with("Origin", "https://evil.example")
        .with("Access-Control-Request-Method", "POST");
    let refused_cors = |answer: &Answer| {
        matches!(answer.status, 403 | 405) && answer.header("access-control-allow-origin").is_none()
    };
    let mut cases = vec![
        ("HT-000", ok(), Custom(complete)),
        ("HT-002", ok().with("Mcp-Name", "=?base64?cmVhZF9maWxl?="), Status(&[200])),
        ("HT-010", ok().with("Host", "evil.example"), Status(&[403, 421])),
        ("HT-012", ok().with("Origin", "null"), Status(&[403])),
        (
            "HT-014",
            ok().with("X-Forwarded-Host", "evil.example").with("Forwarded", "host=evil.example"),
            Status(&[200]),
        ),
        ("HT-016", preflight, Custom(refused_cors)),
        ("HT-202", body([0x1f, 0x8b, 8]).with("Content-Encoding", "gzip"), Status(&[413, 415])),
        ("HT-219", ok().with("Accept", "text/html"), Status(&[406])),
        ("HT-300", ok().with("Mcp-Method", "tools/list"), Code(-32020)),
        ("HT-302", ok().without("Mcp-Name"), Code(-32020)),
        ("HT-304", ok().with("Mcp-Name", "READ_FILE"), Code(-32020)),
        ("HT-305", ok().with("Mcp-Name", "=?BASE64?cmVhZF9maWxl?="), Code(-32020)),
        ("HT-306", ok().with("Mcp-Name", "=?base64?d3JpdGVfZmlsZQ==?="), Code(-32020)),
        ("HT-308", ok().without("MCP-Protocol-Version"), Status(&[400])),
        ("HT-309", ok().with("Mcp_Method", "tools/call"), Status(&[400])),
        ("HT-310", ok().with("Mcp-Param-Root", "other"), Code(-32020)),
        ("HT-310", Request::call("deploy", &json!({"region": "eu"})), Code(-32020)),
        ("HT-409", ok(), Custom(private)),
        ("HT-410", ok().with("Mcp-Session-Id", "anything"), Custom(not_echoed)),
    ];
    for method in ["TRACE", "PUT", "CONNECT", "GET", "DELETE"] {
        let mut request = ok().method(method);
        if method == "CONNECT" {
            request.target = "localhost:80".into();
        }
        cases.push(("HT-221", request, Status(&[404, 405])));
    }
    cases.extend(bodies());
    cases
}

fn bodies() -> Vec<(&'static str, Request, Want)> {
    use Want::{Code, Custom, Status};
    let text = String::from_utf8(ok().body).unwrap();
    let renamed = |from: &str, to: &str| body(text.replacen(from, to, 1));
    let with_id = |id: &str| renamed("\"id\":1", &format!("\"id\":{id}"));
    let argument = |path: &str| renamed("work:/hello.txt", path).body;
    let mut cases = vec![
        ("HT-206", renamed("\"method\"", "\"Method\""), Status(&[400])),
        ("HT-206", renamed("\"params\"", "\"PARAMS\""), Status(&[400])),
        ("HT-206", renamed("\"params\"", "\"param\u{17f}\""), Status(&[400])),
        ("HT-207", body(format!("[{text}]")), Code(-32600)),
        ("HT-208", body(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Code(-32600)),
        ("HT-212", renamed("\"path\"", "\"__proto__\""), Status(&[200])),
        ("HT-212", renamed("\"jsonrpc\"", "\"constructor\":{},\"jsonrpc\""), Status(&[200])),
        ("HT-213", ok().edit(|body| body["extra"] = 1.into()), Status(&[200, 400])),
        ("HT-213", ok().edit(|body| body["params"]["extra"] = 1.into()), Status(&[200, 400])),
        ("HT-217", ok().edit(|body| body["params"]["arguments"] = 1.into()), Code(-32602)),
        (
            "HT-217",
            ok().edit(|body| body["params"]["arguments"]["path"] = 1.into()),
            Status(&[200]),
        ),
    ];
    for id in ["NaN", "1e400", "-0", "9007199254740993", "1.5", "null"] {
        cases.push(("HT-209", with_id(id), Status(&[400])));
    }
    cases.push(("HT-209", with_id(&format!("\"{}\"", "x".repeat(1 << 20))), Status(&[400])));
    // Who is asked knows the request all the same.
    let unread = |answer: &Answer| {
        answer.status == 400 && answer.code() == Some(-32700) && answer.json()["id"] == 1
    };
    let mut marked = vec![0xef, 0xbb, 0xbf];
    marked.extend_from_slice(text.as_bytes());
    cases.push(("HT-210", body(marked), Custom(unread)));
    cases.push(("HT-210", body(argument(r"\ud800")), Custom(unread)));
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80"] {
        let whole = argument("@");
        let at = whole.iter().position(|byte| *byte == b'@').unwrap();
        let odd = [&whole[..at], bytes, &whole[at + 1..]].concat();
        cases.push(("HT-210", body(odd), Custom(unread)));
    }
    let unknown = |answer: &Answer| answer.status == 404 && answer.code() == Some(-32601);
    cases.push(("HT-215", Request::modern("x/y", &json!({})), Custom(unknown)));
    cases
}

/// Cases that other tests of this crate answer.
const ELSEWHERE: [(&str, &str); 35] = [
    ("HT-001", "revisions::older_revisions_are_served_without_a_session"),
    ("HT-100", "battery::credentials_come_from_one_header_only"),
    ("HT-101", "src/auth: signed tokens, one test for each defect"),
    ("HT-102", "src/auth"),
    ("HT-106", "src/auth"),
    ("HT-108", "src/auth"),
    ("HT-109", "src/auth"),
    ("HT-110", "src/auth"),
    ("HT-111", "src/auth"),
    ("HT-113", "src/auth"),
    ("HT-117", "src/auth"),
    ("HT-118", "src/auth"),
    ("HT-120", "battery::credentials_come_from_one_header_only"),
    ("HT-122", "src/auth: keys come from a file; nothing is ever fetched"),
    ("HT-123", "battery::credentials_come_from_one_header_only"),
    ("HT-124", "battery::credentials_come_from_one_header_only"),
    ("HT-125", "src/auth"),
    ("HT-126", "src/auth"),
    ("HT-127", "src/auth"),
    ("HT-130", "battery::missing_scopes_are_a_step_up_challenge"),
    ("HT-134", "battery::credentials_come_from_one_header_only: the replica itself authenticates"),
    ("HT-200", "transport::a_body_over_its_limit_is_refused"),
    ("HT-201", "transport::a_body_over_its_limit_is_refused"),
    ("HT-400", "sessions::a_session_is_its_makers_alone"),
    ("HT-403", "sessions::a_session_is_its_makers_alone"),
    ("HT-405", "transport::the_same_id_from_many_clients_never_crosses"),
    ("HT-500", "transport::a_head_that_drips_in_is_cut"),
    ("HT-502", "transport::a_body_that_drips_in_is_cut"),
    ("HT-503", "transport::a_client_that_reads_nothing_is_cut"),
    ("HT-504", "transport::connections_are_capped, transport::rapid_reset_ends_the_connection"),
    ("HT-507", "transport::a_storm_of_hang_ups_leaves_nothing"),
    ("HT-508", "revisions::a_cancellation_of_anothers_request_is_ignored"),
    ("HT-511", "transport::a_head_over_its_limit_is_431"),
    ("HT-512", "transport::pipelined_requests_are_answered_in_order"),
    ("HT-515", "transport::a_half_closed_client_is_served_or_closed"),
];

/// Cases that the front alone cannot answer.
const NOT_HERE: [(&str, &str); 9] = [
    ("HT-132", "jobs and their results are the product's"),
    ("HT-135", "upstream connections are the product's"),
    ("HT-136", "nothing here fetches a URL; the product's configuration is tested there"),
    ("HT-406", "tasks and their owners are the product's"),
    ("HT-408", "cursors and handles are the product's"),
    ("HT-600", "log lines are written by the product's telemetry"),
    ("HT-601", "metrics are kept by the product's telemetry; the front tells closed enums only"),
    ("HT-602", "src/caller.rs reads traceparent; sampling and baggage are the product's"),
    ("HT-603", "which trace wins is decided by the product's telemetry"),
];

#[test]
fn every_case_is_run_or_listed() {
    let battery: Value = serde_json::from_str(include_str!("../batteries/http.json")).unwrap();
    let all: BTreeSet<&str> = battery["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    let requests = requests();
    let run = requests.iter().map(|(id, ..)| *id);
    let elsewhere = ELSEWHERE.iter().map(|(id, _)| *id);
    let listed = NOT_HERE.iter().map(|(id, _)| *id);
    let rated = ["HT-513"];
    let covered: BTreeSet<&str> = run.chain(elsewhere).chain(listed).chain(rated).collect();
    assert_eq!(all, covered);
}

#[tokio::test]
async fn every_request_of_the_battery_comes_to_what_it_must() {
    let server = Server::with(Setup { keys: true, ..Setup::default() }).await;
    let mut failed = Vec::new();
    for (id, request, want) in requests() {
        let answer = server.send(&request.bearer(&server.anna)).await;
        let good = match want {
            Want::Status(allowed) => allowed.contains(&answer.status),
            Want::Code(code) => answer.status == 400 && answer.code() == Some(code),
            Want::Custom(check) => check(&answer),
        };
        if !good {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            failed.push(format!("{id}: {} {:?} {body}", answer.status, answer.headers));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn credentials_come_from_one_header_only() {
    let server = Server::with(Setup { keys: true, ..Setup::default() }).await;
    let mut in_query = ok();
    in_query.target = format!("/mcp?access_token={}", server.anna);
    let mut twice = ok().bearer(&server.anna);
    twice.headers.push(("Authorization".into(), format!("Bearer {}", server.anna)));
    for request in [ok(), in_query, twice, ok().bearer("rhk_nobody_x")] {
        let answer = server.send(&request.with("X-Forwarded-Host", "evil.example")).await;
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate").unwrap();
        let metadata = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\"";
        assert!(challenge.starts_with("Bearer ") && challenge.contains(metadata), "{challenge}");
    }
    let mut conn = Conn::open(server.address).await;
    conn.write_some(&ok().bearer(&"x".repeat(200_000)).bytes()).await;
    assert!(matches!(conn.read().await.map(|answer| answer.status), Some(400 | 401 | 431)));

    for path in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let metadata = server.send(&Request::get(path)).await;
        assert_eq!(metadata.status, 200);
        assert_eq!(metadata.json()["resource"], "https://mcp.example.com/mcp");
    }
    for path in ["/health", "/ready"] {
        let probe = Request::get(path).with("Host", "10.0.0.7:8000");
        assert_eq!(server.send(&probe).await.status, 200);
    }
}

#[tokio::test]
async fn missing_scopes_are_a_step_up_challenge() {
    let server = Server::with(Setup { keys: true, ..Setup::default() }).await;
    let fast = Request::call("write_file", &json!({}));
    let by_rmcp = fast.clone().edit(|body| body["params"]["_meta"]["progressToken"] = 1.into());
    for request in [fast, by_rmcp] {
        let answer = server.send(&request.clone().bearer(&server.ben)).await;
        assert_eq!(answer.status, 403);
        let challenge = answer.header("www-authenticate").unwrap();
        for part in [
            "Bearer ",
            "error=\"insufficient_scope\"",
            "scope=\"files:read files:write\"",
            "resource_metadata=\"",
        ] {
            assert!(challenge.contains(part), "{part} in {challenge}");
        }
        assert_eq!(server.send(&request.bearer(&server.anna)).await.status, 200);
    }
}

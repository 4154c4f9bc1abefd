//! Older clients that can be asked while a call waits: in a session over HTTP, and over stdio.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::executing::{orders, writer, yes};
use super::{section, sqlite};
use crate::support::{Dirs, Request, Server, Stdio, outcome};
use crate::watch::Listening;

const OLDER: &str = "2025-11-25";
const SESSIONS: &str = "[server.legacy_sessions]\n";

fn arguments() -> Value {
    json!({"database": "shop", "sql": "DELETE FROM orders WHERE id <= 4"})
}

fn hello(capabilities: &Value) -> Value {
    json!({"protocolVersion": OLDER, "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}})
}

/// A session over HTTP.
struct Session<'a> {
    server: &'a Server,
    id: String,
}

impl<'a> Session<'a> {
    fn begin(server: &'a Server, capabilities: &Value) -> Self {
        let welcome = server.send(&Request::older("initialize", &hello(capabilities)));
        let id = welcome.header("mcp-session-id").unwrap().to_owned();
        let session = Self { server, id };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.post(&ready), 202);
        session
    }

    fn within(&self, request: Request) -> Request {
        request.with("Mcp-Session-Id", &self.id).with("MCP-Protocol-Version", OLDER)
    }

    fn post(&self, message: &Value) -> u16 {
        let mut request = Request::older("", &json!({}));
        request.body = message.to_string().into_bytes();
        self.server.send(&self.within(request)).status
    }

    fn call(&self) -> Listening {
        let params = json!({"name": "execute_statement", "arguments": arguments()});
        Listening::send(self.server, &self.within(Request::older("tools/call", &params)))
    }

    /// Answers what the server asks.
    fn answer(&self, question: &Value, result: &Value) {
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        assert_eq!(self.post(&answer), 202);
    }
}

fn is_question(message: &Value) {
    assert_eq!(message["method"], "elicitation/create", "{message}");
    let text = message["params"]["message"].as_str().unwrap();
    assert!(text.contains("DELETE FROM orders WHERE id <= 4"), "{text}");
}

#[test]
fn a_session_is_asked_while_its_call_waits() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, SESSIONS);
    let session = Session::begin(&server, &json!({"elicitation": {}}));
    for (answer, left) in [
        (json!({"action": "decline"}), 500),
        (json!({"action": "accept", "content": {"confirm": false}}), 500),
        (json!({"action": "accept", "content": {"confirm": true}}), 496),
    ] {
        let mut stream = session.call();
        let question = stream.message();
        is_question(&question);
        assert_eq!(orders(&path), 500, "asking changes nothing");
        session.answer(&question, &answer);
        let said = outcome(stream.message()["result"].take());
        assert_eq!(said.is_ok(), left == 496, "{said:?}");
        assert_eq!(orders(&path), left);
    }
    let audit = server.audit();
    assert_eq!(audit.counts(), (6, 6), "both parts of each are on record");
    let rules: Vec<&Value> = audit.of_kind("outcome").map(|outcome| &outcome["rule"]).collect();
    assert_eq!(rules.iter().filter(|rule| **rule == "confirmation").count(), 2, "{rules:?}");
}

#[test]
fn a_session_that_cannot_be_asked_is_refused_and_so_is_one_that_answers_nonsense() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, SESSIONS);
    let mute = Session::begin(&server, &json!({}));
    let params = json!({"name": "execute_statement", "arguments": arguments()});
    let refused = mute.within(Request::older("tools/call", &params));
    let (kind, text) = outcome(server.send(&refused).json()["result"].take()).unwrap_err();
    assert!(kind == "denied" && text.contains("declares elicitation"), "{text}");
    let session = Session::begin(&server, &json!({"elicitation": {"form": {}}}));
    let mut stream = session.call();
    let question = stream.message();
    let error =
        json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}});
    assert_eq!(session.post(&error), 202);
    let (kind, _) = outcome(stream.message()["result"].take()).unwrap_err();
    assert_eq!(kind, "denied");
    assert_eq!(orders(&path), 500);
}

#[test]
fn a_question_does_not_keep_the_server_from_ending() {
    let dirs = Dirs::new();
    let (mut server, path) = writer(&dirs, SESSIONS);
    let mut stream = {
        let session = Session::begin(&server, &json!({"elicitation": {}}));
        let mut stream = session.call();
        is_question(&stream.message());
        stream
    };
    let ended = Instant::now();
    server.signal(Signal::TERM);
    let last =
        std::iter::repeat_with(|| stream.message()).find(|message| message["result"].is_object());
    let (kind, text) = outcome(last.unwrap()["result"].take()).unwrap_err();
    assert!(kind == "unavailable" && text.contains("nothing was done"), "{text}");
    drop(stream);
    assert!(server.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
    assert!(ended.elapsed() < Duration::from_secs(20));
    assert_eq!(orders(&path), 500);
}

#[test]
fn a_client_over_stdio_is_asked_in_either_way() {
    let dirs = Dirs::new();
    let path = sqlite(&dirs, "shop.sqlite3");
    let config = dirs.config(&(section("shop", &path) + "access = \"write\"\n"));
    let mut stdio = Stdio::start_able(dirs.base(), &config, &json!({"elicitation": {}}));
    let call = json!({"jsonrpc": "2.0", "id": "c", "method": "tools/call",
        "params": {"name": "execute_statement", "arguments": arguments()}});
    stdio.write(&call);
    let question = stdio.message();
    is_question(&question);
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    stdio.write(&json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}));
    let mut done = stdio.message();
    assert_eq!(done["id"], "c");
    assert_eq!(outcome(done["result"].take()).unwrap()["rows_affected"], 4);
    // The same client in the newer revision, which it names with each request.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    });
    let sql = "DELETE FROM orders WHERE id > 498";
    let mut params = json!({"name": "execute_statement", "arguments": {"database": "shop", "sql": sql}, "_meta": meta});
    let question = stdio.request("tools/call", &params).0["result"].take();
    assert_eq!(question["resultType"], "input_required", "{question}");
    params["requestState"] = question["requestState"].clone();
    params["inputResponses"] = yes();
    let mut done = stdio.request("tools/call", &params).0;
    assert_eq!(outcome(done["result"].take()).unwrap()["rows_affected"], 2);
    assert!(stdio.end().success());
    assert_eq!(orders(&path), 494);
}

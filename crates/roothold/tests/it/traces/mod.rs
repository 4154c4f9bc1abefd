//! Traces, as a real receiver gets them from the real binary, over both protocols; and what a
//! receiver that is dead, slow or silent does to calls: nothing.

mod broken;
mod hostile;
mod jobs;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use roothold_testing::{Behaviour, Collector, Received};
use serde_json::{Value, json};

use crate::databases::{section, sqlite};
use crate::support::{Dirs, Request, Server, Spec, Stdio};

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "00f067aa0ba902b7";
const OTHER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_SENDER: &str = "b7ad6b7169203331";

fn traceparent(trace: &str, span: &str, flags: &str) -> String {
    format!("00-{trace}-{span}-{flags}")
}

/// `[telemetry]` with a collector, and `more` keys.
fn telemetry(collector: &Collector, more: &str) -> String {
    format!("[telemetry]\notlp_endpoint = \"{}\"\n{more}\n", collector.url())
}

/// A server with the SQLite database `shop`, behind its wall.
fn start(dirs: &Dirs, telemetry: &str) -> Server {
    let shop = section("shop", &sqlite(dirs, "shop.sqlite3"));
    let wall = "[server]\nlandlock = \"require\"\n";
    Spec::new(dirs.base(), dirs.config(&format!("{wall}{telemetry}{shop}"))).start()
}

fn query(sql: &str) -> Request {
    Request::call("query_database", &json!({"database": "shop", "sql": sql}))
}

/// The line of the log that holds a text, once it is there.
fn line(server: &Server, text: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = server.log().lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        assert!(Instant::now() < until, "{text}: {}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn named<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    let mut found = spans.iter().filter(|one| one.span.name == name);
    let one = found.next().unwrap_or_else(|| panic!("no span {name}"));
    assert!(found.next().is_none(), "two spans {name}");
    one
}

fn has(name: &'static str) -> impl Fn(&[Received]) -> bool {
    move |spans| spans.iter().any(|one| one.span.name == name)
}

fn traces(spans: &[Received]) -> BTreeSet<String> {
    spans.iter().map(Received::trace_id).collect()
}

/// The spans below a request, once the request itself, which ends last, has come.
fn of_request(collector: &Collector) -> Vec<Received> {
    collector.wait("the request's span", PATIENCE, has("POST /mcp"))
}

fn one_trace_from_http_to_sql(protocol: &str) {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let more = format!(
        "otlp_protocol = \"{protocol}\"\notlp_headers = {{\"x-token\" = \"${{OTLP_TOKEN}}\"}}\nservice_name = \"vault\""
    );
    let shop = section("shop", &sqlite(&dirs, "shop.sqlite3"));
    let config = format!("{}{shop}", telemetry(&collector, &more));
    let mut spec = Spec::new(dirs.base(), dirs.config(&config));
    spec.env.push(("OTLP_TOKEN", "CANARY-TOKEN"));
    spec.env.push(("http_proxy", "http://127.0.0.1:1"));
    let server = spec.start();
    let sql = "SELECT name FROM customers WHERE name <> 'CANARY-LITERAL' ORDER BY id";
    let reply = server.send(&query(sql).with("traceparent", &traceparent(TRACE, SENDER, "01")));
    assert_eq!(reply.asked().unwrap()["rows"].as_array().unwrap().len(), 3);
    let spans = of_request(&collector);
    assert_eq!(traces(&spans), BTreeSet::from([TRACE.to_owned()]));
    let (http, call) = (named(&spans, "POST /mcp"), named(&spans, "tools/call query_database"));
    assert_eq!(http.parent(), SENDER);
    assert_eq!(call.parent(), http.id());
    assert!(call.span.links.is_empty(), "its parent needs no link");
    for step in ["policy", "query shop"] {
        let step = named(&spans, step);
        assert_eq!(step.parent(), call.id());
        assert!(step.span.start_time_unix_nano >= call.span.start_time_unix_nano);
        assert!(step.span.end_time_unix_nano <= call.span.end_time_unix_nano);
    }
    assert_eq!(http.attribute("http.response.status_code"), "200");
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "query_database"),
        ("gen_ai.operation.name", "execute_tool"),
        ("network.transport", "tcp"),
        ("error.type", ""),
    ] {
        assert_eq!(call.attribute(key), value, "{key}");
    }
    let sql = named(&spans, "query shop");
    assert_eq!(sql.attribute("db.system.name"), "sqlite");
    assert_eq!(sql.attribute("db.response.returned_rows"), "3");
    let resource: std::collections::BTreeMap<_, _> = call.resource.iter().cloned().collect();
    assert_eq!(resource["service.name"], "vault");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(call.headers["x-token"], "CANARY-TOKEN");
    // What was asked, what came back, and the token are in the header alone.
    let shown: Vec<_> = spans.iter().map(|one| format!("{:?}", one.span)).collect();
    for secret in ["CANARY", "SELECT", "Anna"] {
        assert!(!shown.concat().contains(secret), "{secret}");
    }
    assert!(!server.log().contains("CANARY"), "{}", server.log());
    assert!(server.metrics().contains("roothold_trace_spans_total{outcome=\"exported\"} "));
}

#[test]
fn one_trace_goes_from_http_to_sql_over_grpc() {
    one_trace_from_http_to_sql("grpc");
}

#[test]
fn one_trace_goes_from_http_to_sql_over_http() {
    one_trace_from_http_to_sql("http/protobuf");
}

#[test]
fn a_span_of_the_message_is_the_parent_and_that_of_the_request_is_linked() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, &telemetry(&collector, ""));
    let own = traceparent(TRACE, SENDER, "01");
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let plain = Request::call("read_text_file", &read);
    let progress = |body: &mut Value| body["params"]["_meta"]["progressToken"] = 1.into();
    // The short way, and that of the SDK, which a request for progress takes.
    for request in [plain.clone(), plain.edit(progress)] {
        let before = collector.spans().len();
        let request = request
            .edit(|body| body["params"]["_meta"]["traceparent"] = own.as_str().into())
            .with("traceparent", &traceparent(OTHER_TRACE, OTHER_SENDER, "01"));
        assert!(server.send(&request).text().contains("PUBLIC-HELLO"));
        let spans = collector.wait("the request's span", PATIENCE, |spans| {
            spans.iter().skip(before).any(|one| one.span.name == "POST /mcp")
        });
        let spans = &spans[before..];
        let (http, call) = (named(spans, "POST /mcp"), named(spans, "tools/call read_text_file"));
        assert_eq!((http.trace_id(), http.parent()), (OTHER_TRACE.into(), OTHER_SENDER.into()));
        assert_eq!((call.trace_id(), call.parent()), (TRACE.into(), SENDER.into()));
        let link = &call.span.links[0];
        assert_eq!(link.span_id, http.span.span_id);
        assert_eq!(link.trace_id, http.span.trace_id);
        assert_eq!(named(spans, "files").parent(), call.id());
    }
}

#[test]
fn a_refused_call_says_by_which_rule_and_its_log_line_which_trace() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let with = start(&dirs, &telemetry(&collector, ""));
    let without = Dirs::with_fixture();
    let alone = start(&without, "");
    for (server, dirs) in [(&with, &dirs), (&alone, &without)] {
        let read = json!({"path": dirs.fill_in("$ROOT/.env")});
        let request = Request::call("read_text_file", &read);
        server.send(&request.with("traceparent", &traceparent(TRACE, SENDER, "01")));
        let line: Value = serde_json::from_str(&line(server, "call refused")).unwrap();
        assert_eq!(line["trace_id"], TRACE, "{line}");
    }
    let spans = of_request(&collector);
    let (call, policy) = (named(&spans, "tools/call read_text_file"), named(&spans, "policy"));
    assert_eq!(call.attribute("error.type"), "tool_error");
    for span in [call, policy] {
        assert_eq!(span.attribute("roothold.fault"), "denied");
        assert_eq!(span.attribute("roothold.rule"), "exclude");
        assert_eq!(span.span.status.as_ref().unwrap().message, "");
    }
    let shown = format!("{spans:?}");
    assert!(!shown.contains(".env"), "{shown}");
}

#[test]
fn the_parts_of_a_batch_are_below_it_and_a_change_waits_for_the_audit_log() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, &telemetry(&collector, ""));
    let calls = json!({"calls": [
        {"tool": "read_text_file", "arguments": {"path": dirs.fill_in("$ROOT/hello.txt")}},
        {"tool": "write_file", "arguments": {"path": dirs.fill_in("$ROOT/new.txt"), "content": "CANARY-NEW"}},
    ]});
    assert_eq!(server.call("batch", &calls).status, 200);
    let spans = of_request(&collector);
    let batch = named(&spans, "tools/call batch");
    let (read, write) =
        (named(&spans, "tools/call read_text_file"), named(&spans, "tools/call write_file"));
    assert_eq!((read.parent(), write.parent()), (batch.id(), batch.id()));
    assert_eq!(named(&spans, "audit").parent(), write.id());
    assert_eq!(traces(&spans).len(), 1);
    assert!(!format!("{spans:?}").contains("CANARY"));
}

#[test]
fn over_stdio_a_call_begins_a_trace_and_the_end_sends_the_last() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let mut client = Stdio::start(dirs.base(), &dirs.config(&telemetry(&collector, "")));
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let params = json!({"name": "read_text_file", "arguments": read});
    client.request("tools/call", &params);
    client.end();
    // The end has sent it, and waited until it was taken.
    let spans = collector.spans();
    let call = named(&spans, "tools/call read_text_file");
    assert_eq!((call.parent(), call.attribute("network.transport")), ("".into(), "pipe".into()));
}

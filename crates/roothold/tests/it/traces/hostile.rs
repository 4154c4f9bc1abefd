//! What callers can do with a trace: name one, and no more.

use roothold_testing::{Behaviour, Collector, Received};
use serde_json::json;

use super::{
    OTHER_SENDER, OTHER_TRACE, PATIENCE, SENDER, TRACE, has, query, start, telemetry, traceparent,
    traces,
};
use crate::support::{Dirs, Request, find_canary};

#[test]
fn what_is_no_span_begins_a_trace_of_its_own_and_refuses_nobody() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, &telemetry(&collector, ""));
    let long = "0".repeat(10_000);
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let plain = Request::call("read_text_file", &read);
    let hostile = [
        "CANARY-TRACE",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-00F067AA0BA902B7-01",
        "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-CANARY-MORE",
        &long,
    ];
    for text in hostile {
        let header = plain.clone().with("traceparent", text).with("tracestate", "a=CANARY-STATE");
        let meta = plain.clone().edit(|body| {
            body["params"]["_meta"]["traceparent"] = text.into();
            body["params"]["_meta"]["tracestate"] = "a=CANARY-STATE".into();
            body["params"]["_meta"]["baggage"] = "k=CANARY-BAG".into();
        });
        for request in [header, meta] {
            assert!(server.send(&request).text().contains("PUBLIC-HELLO"), "{text}");
        }
    }
    for value in [json!(null), json!(1), json!({"a": ["CANARY-OBJECT"]}), json!([TRACE])] {
        let request =
            plain.clone().edit(|body| body["params"]["_meta"]["traceparent"] = value.clone());
        assert!(server.send(&request).text().contains("PUBLIC-HELLO"), "{value}");
    }
    let wanted = hostile.len() * 2 + 4;
    let spans = collector.wait("all requests' spans", PATIENCE, |spans| {
        spans.iter().filter(|one| one.span.name == "POST /mcp").count() >= wanted
    });
    assert_eq!(traces(&spans).len(), wanted, "each has a trace of its own");
    assert!(!traces(&spans).contains(TRACE));
    assert!(spans.iter().all(|one| one.span.trace_id.iter().any(|byte| *byte != 0)));
    assert!(spans.iter().all(|one| one.span.trace_state.is_empty()));
    assert_eq!(find_canary(format!("{spans:?}").as_bytes()), None);
    assert_eq!(find_canary(server.log().as_bytes()), None);
    assert_eq!(find_canary(&server.audit().raw), None);
}

#[test]
fn names_and_errors_that_callers_make_up_are_in_no_span() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, &telemetry(&collector, ""));
    let here = |request: Request| request.with("traceparent", &traceparent(TRACE, SENDER, "01"));
    server.send(&here(Request::call("CANARY-TOOL", &json!({"CANARY-KEY": 1}))));
    server.send(&here(query("SELECT * FROM \"CANARY-TABLE\" WHERE x = 'CANARY-VALUE'")));
    server.send(&here(Request::read_resource("file:///CANARY-URI")));
    server.send(&here(Request::modern("CANARY-METHOD/x", &json!({}))));
    let other = json!({"database": "CANARY-DATABASE", "sql": "SELECT 1"});
    server.send(&here(Request::call("query_database", &other)));
    let last = here(Request::modern("tools/list", &json!({})));
    assert_eq!(server.send(&last).status, 200);
    let spans = collector.wait("the last request", PATIENCE, |spans| {
        spans.iter().filter(|one| one.span.name == "POST /mcp").count() >= 6
    });
    assert_eq!(find_canary(format!("{spans:?}").as_bytes()), None);
    let unknown = spans.iter().find(|one| one.span.name == "tools/call other").unwrap();
    assert_eq!(unknown.attribute("error.type"), "-32602");
    let resource = spans.iter().find(|one| one.span.name == "resources/read").unwrap();
    assert!(resource.attribute("error.type").starts_with("-32"));
    assert!(has("tools/list")(&spans));
}

#[test]
fn who_began_a_trace_says_whether_it_is_recorded_else_the_ratio_does() {
    for (ratio, flags, recorded) in
        [("0.0", None, false), ("0.0", Some("01"), true), ("1.0", Some("00"), false)]
    {
        let collector = Collector::start(Behaviour::Takes);
        let dirs = Dirs::with_fixture();
        let server = start(&dirs, &telemetry(&collector, &format!("sample_ratio = {ratio}")));
        let mut request = query("SELECT 1");
        if let Some(flags) = flags {
            request = request.with("traceparent", &traceparent(TRACE, SENDER, flags));
        }
        assert!(server.send(&request).asked().is_ok());
        // What comes after it is recorded, so that it is known when it would have come.
        let last = query("SELECT 2");
        let last = last.with("traceparent", &traceparent(OTHER_TRACE, OTHER_SENDER, "01"));
        assert!(server.send(&last).asked().is_ok());
        let spans = collector.wait("the last request", PATIENCE, |spans| {
            let last =
                |one: &Received| one.trace_id() == OTHER_TRACE && one.span.name == "POST /mcp";
            spans.iter().any(last)
        });
        let expected = if recorded { 2 } else { 1 };
        assert_eq!(traces(&spans).len(), expected, "{ratio} {flags:?}");
    }
}

#[test]
fn a_collector_that_cannot_be_used_is_refused_at_the_start() {
    let dirs = Dirs::with_fixture();
    for (telemetry, says) in [
        ("otlp_endpoint = \"collector:4317\"", "telemetry.otlp_endpoint: "),
        ("otlp_endpoint = \"http://me:CANARY-PASSWORD@c:1\"", "telemetry.otlp_endpoint: "),
        (
            "otlp_endpoint = \"https://c:1\"\notlp_headers = {a = \"${ROOTHOLD_NO_SUCH}\"}",
            "telemetry.otlp_headers: ",
        ),
        (
            "otlp_endpoint = \"https://c:1\"\notlp_ca_file = \"no-such.pem\"",
            "telemetry.otlp_ca_file: ",
        ),
    ] {
        dirs.write("check.toml", dirs.config(&format!("[telemetry]\n{telemetry}\n")));
        for command in ["check", "serve"] {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_roothold"))
                .args([command, "--config"])
                .arg(dirs.base().join("check.toml"))
                .env("ROOTHOLD_SERVER__LISTEN", "127.0.0.1:0")
                .env("ROOTHOLD_TELEMETRY__LISTEN", "")
                .env("XDG_STATE_HOME", dirs.base().join("state-home"))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(says), "{telemetry}: {said}");
            assert_eq!(find_canary(said.as_bytes()), None);
        }
    }
}

#[test]
fn what_is_printed_of_a_configuration_hides_its_headers() {
    let dirs = Dirs::with_fixture();
    let telemetry = "[telemetry]\notlp_endpoint = \"https://127.0.0.1:1\"\notlp_headers = {a = \"CANARY-TOKEN\", b = \"${HOME}\"}\n";
    dirs.write("check.toml", dirs.config(telemetry));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_roothold"))
        .args(["check", "--full", "--config"])
        .arg(dirs.base().join("check.toml"))
        .env("XDG_STATE_HOME", dirs.base().join("state-home"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("a = \"(hidden)\"") && said.contains("b = \"${HOME}\""), "{said}");
    assert_eq!(find_canary(said.as_bytes()), None);
}

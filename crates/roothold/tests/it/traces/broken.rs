//! A collector that is dead, slow, silent or says no.

use std::time::{Duration, Instant};

use roothold_testing::{Behaviour, Collector};
use rustix::process::Signal;
use serde_json::json;

use super::{PATIENCE, has, line, start, telemetry};
use crate::support::{Conn, Dirs, Request, Server};

/// The count of spans that ended so.
fn spans(server: &Server, outcome: &str) -> u64 {
    let text = server.metrics();
    let label = format!("roothold_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&label));
    line.unwrap_or_else(|| panic!("{label}")).parse().unwrap()
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// So many calls, one after the other on one connection, each of which is answered.
fn calls(server: &Server, dirs: &Dirs, count: usize) {
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let request = Request::call("read_text_file", &read);
    let mut connection = Conn::open(server.address);
    for _ in 0..count {
        assert!(connection.send(&request).text().contains("PUBLIC-HELLO"));
    }
}

#[test]
fn a_silent_collector_keeps_no_call_and_no_end_waiting() {
    let collector = Collector::start(Behaviour::Hangs);
    let dirs = Dirs::with_fixture();
    let more = "trace_queue_max = 64\notlp_timeout_seconds = 3600";
    let mut server = start(&dirs, &telemetry(&collector, more));
    // Each has four spans: one batch is on its way, the queue is full, and the others are counted.
    calls(&server, &dirs, 16);
    eventually("a batch is on its way", || collector.requests() > 0);
    calls(&server, &dirs, 200);
    eventually("what has no room is counted", || spans(&server, "dropped") >= 200);
    assert_eq!(spans(&server, "exported"), 0);
    let began = Instant::now();
    server.signal(Signal::TERM);
    // The collector would have an hour.
    let status = server.wait(PATIENCE).expect("an end");
    assert!(status.success(), "{status}: {}", server.log());
    assert!(began.elapsed() < PATIENCE);
    line(&server, "the collector did not take the last spans in time");
    let audit = server.audit();
    assert_eq!(audit.counts(), (216, 216));
}

#[test]
fn a_collector_that_comes_back_takes_what_comes_then() {
    for (protocol, dies) in [("grpc", Behaviour::Takes), ("http/protobuf", Behaviour::Refuses)] {
        let collector = Collector::start(dies);
        let address = collector.address();
        let dirs = Dirs::with_fixture();
        let more = format!("otlp_protocol = \"{protocol}\"");
        let server = start(&dirs, &telemetry(&collector, &more));
        if dies == Behaviour::Takes {
            drop(collector);
        } else {
            calls(&server, &dirs, 1);
            eventually("it says no", || spans(&server, "failed") > 0);
            drop(collector);
        }
        calls(&server, &dirs, 3);
        eventually("what it did not take is counted", || spans(&server, "failed") > 0);
        let turned = "the collector does not take traces";
        line(&server, turned);
        assert_eq!(server.log().matches(turned).count(), 1, "{}", server.log());
        let collector = Collector::start_at(address, Behaviour::Takes);
        eventually("it is back", || {
            calls(&server, &dirs, 1);
            spans(&server, "exported") > 0
        });
        line(&server, "the collector takes traces again");
        collector.wait("a span", PATIENCE, has("POST /mcp"));
    }
}

#[test]
fn without_a_collector_nothing_is_counted_and_nobody_is_connected_to() {
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, "");
    calls(&server, &dirs, 3);
    for outcome in ["exported", "failed", "dropped"] {
        assert_eq!(spans(&server, outcome), 0);
    }
}

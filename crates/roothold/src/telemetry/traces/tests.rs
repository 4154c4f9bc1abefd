//! What is put into the queue, and what becomes of it there. How it is sent is tested with a receiver.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use roothold_core::{Fault, FaultKind};
use roothold_databases::SourceKind;
use roothold_edge::MethodClass;

use super::convert::Converter;
use super::*;

/// Traces that are kept, as if something were sent.
fn traces(ratio: f64) -> Traces {
    let text = format!(
        "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4317\"\ntrace_queue_max = 64\nsample_ratio = {ratio}"
    );
    let traces = Traces::new(&toml::from_str(&text).unwrap()).unwrap();
    traces.on.as_ref().unwrap().begun.get_or_init(|| ());
    traces
}

fn taken(traces: &Traces) -> queue::Spans {
    traces.on.as_ref().unwrap().queue.take(true)
}

fn call() -> What {
    What::Call { method: "tools/call", tool: "t", kind: CallKind::Http, bytes: 1 }
}

fn sender(sampled: bool) -> TraceParent {
    TraceParent::new(7, 9, sampled).unwrap()
}

#[test]
fn without_a_collector_the_senders_trace_is_known_and_nothing_is_kept() {
    let traces = Traces::new(&Config::default()).unwrap();
    assert_eq!(traces.request_began(Some(sender(true))), None);
    let from = TraceFrom { request: Some(sender(true)), ..TraceFrom::default() };
    let step = traces.call(from, call);
    assert!(!step.is_recorded());
    assert_eq!(step.trace().id(), Some(sender(true).trace_id()));
    assert!(!step.trace().step(|| What::Policy).is_recorded());
}

#[test]
fn before_it_is_begun_nothing_is_kept() {
    let mut traces = traces(1.0);
    traces.on.as_mut().unwrap().begun = OnceLock::new();
    assert!(!traces.call(TraceFrom::default(), call).is_recorded());
}

#[test]
fn a_step_that_is_dropped_was_cancelled_and_one_that_is_forgotten_was_not() {
    let traces = traces(1.0);
    let mut whole = traces.call(TraceFrom::default(), call);
    drop(whole.trace().step(|| What::Files));
    whole.trace().step(|| What::Files).forget();
    let denied = Fault::new(FaultKind::Denied, "CANARY");
    whole.trace().step(|| What::Policy).end(Some(&denied));
    whole.end(None);
    whole.end(Some(&denied));
    drop(whole);
    let spans = taken(&traces);
    let faults: Vec<_> = spans.iter().map(|span| span.fault).collect();
    assert_eq!(faults, [Some(FaultKind::Cancelled), Some(FaultKind::Denied), None]);
    let root = spans[2].at;
    assert!(spans.iter().all(|span| span.at.trace_id() == root.trace_id()));
    assert!(spans[..2].iter().all(|span| span.parent == Some(root.span_id())));
    assert_eq!(spans[2].parent, None);
}

#[test]
fn the_queue_has_a_limit_and_counts_what_is_beyond() {
    let traces = traces(1.0);
    for _ in 0..100 {
        traces.call(TraceFrom::default(), call).end(None);
    }
    assert_eq!(taken(&traces).len(), 64);
    let mut registry = Registry::default();
    traces.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("roothold_trace_spans_total{outcome=\"dropped\"} 36\n"), "{text}");
    assert!(text.contains("roothold_trace_spans_total{outcome=\"exported\"} 0\n"), "{text}");
}

#[test]
fn the_ratio_decides_for_traces_that_begin_here_and_only_for_them() {
    for (ratio, least, most) in [(0.0, 0, 0), (0.5, 300, 700), (1.0, 1000, 1000)] {
        let traces = traces(ratio);
        let sampled = |_: &usize| traces.request_began(None).unwrap().is_sampled();
        let count = (0..1000).filter(sampled).count();
        assert!((least..=most).contains(&count), "{ratio}: {count}");
        for sampled in [true, false] {
            let span = traces.request_began(Some(sender(sampled))).unwrap();
            assert_eq!(span.is_sampled(), sampled);
            assert_eq!(span.trace_id(), sender(true).trace_id());
        }
    }
}

#[test]
fn the_message_is_the_parent_and_a_request_that_is_recorded_is_linked() {
    let traces = traces(1.0);
    let (message, request) = (TraceParent::new(1, 2, true), TraceParent::new(3, 4, true));
    for (request, linked) in [(request, true), (TraceParent::new(3, 4, false), false)] {
        let from = TraceFrom { message, request, kind: CallKind::Http };
        traces.call(from, call).end(None);
        let span = taken(&traces).remove(0);
        assert_eq!(span.at.trace_id(), message.unwrap().trace_id());
        assert_eq!(span.parent, message.map(TraceParent::span_id));
        assert!(span.parent_is_remote);
        assert_eq!(span.link.is_some(), linked);
    }
}

fn converted(what: What, fault: Option<FaultKind>) -> SpanData {
    let mut span = Span::new(sender(true), None, what, Instant::now());
    (span.fault, span.took) = (fault, Duration::from_millis(5));
    Converter::default().convert(span, (SystemTime::now(), Instant::now()))
}

#[test]
fn spans_have_the_names_and_errors_of_the_conventions() {
    let of = |method, tool, kind| What::Call { method, tool, kind, bytes: 0 };
    let sql = What::Database {
        kind: SourceKind::MySql,
        name: "shop".into(),
        operation: "query",
        rows: u64::MAX,
    };
    let request = |status| What::Request { method: MethodClass::Other, status, bytes: 0 };
    let denied = Some(FaultKind::Denied);
    for (what, fault, name, kind, error) in [
        (of("tools/call", "t", CallKind::Http), None, "tools/call t", SpanKind::Server, None),
        (
            of("tools/call", "t", CallKind::Part),
            denied,
            "tools/call t",
            SpanKind::Internal,
            Some("tool_error"),
        ),
        (
            of("tools/call", "other", CallKind::Stdio),
            denied,
            "tools/call other",
            SpanKind::Server,
            Some("-32602"),
        ),
        (
            of("resources/read", "", CallKind::Http),
            denied,
            "resources/read",
            SpanKind::Server,
            Some("-32002"),
        ),
        (of("tools/list", "", CallKind::Own), None, "tools/list", SpanKind::Internal, None),
        (request(200), None, "POST /mcp", SpanKind::Server, None),
        (request(404), None, "POST /mcp", SpanKind::Server, None),
        (request(503), None, "POST /mcp", SpanKind::Server, Some("503")),
        (request(499), None, "POST /mcp", SpanKind::Server, Some("499")),
        (sql, Some(FaultKind::Timeout), "query shop", SpanKind::Client, Some("timeout")),
        (What::Policy, denied, "policy", SpanKind::Internal, Some("denied")),
        (What::Chunk { rows: 1, bytes: 2 }, None, "chunk", SpanKind::Internal, None),
    ] {
        let span = converted(what, fault);
        assert_eq!((&*span.name, &span.span_kind), (name, &kind));
        let of_error =
            |attribute: &&opentelemetry::KeyValue| attribute.key.as_str() == "error.type";
        let found = span.attributes.iter().find(of_error).map(|one| one.value.to_string());
        assert_eq!(found.as_deref(), error, "{name}");
        let failed = matches!(span.status, Status::Error { .. });
        assert_eq!(failed, error.is_some(), "{name}");
        assert_eq!(span.end_time.duration_since(span.start_time).unwrap().as_millis(), 5);
    }
}

//! From our spans to OpenTelemetry's, with the names of its conventions for MCP, HTTP and databases.
//!
//! What the conventions want besides, and is not here: arguments, results, resource URIs, ids of
//! requests and statements, since these are what callers and files say.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rmcp::model::ErrorCode;
use roothold_databases::SourceKind;
use roothold_edge::{MethodClass, TraceParent};

use super::span::{CallKind, Span, What};
use crate::telemetry::NO_TOOL;
use crate::wire;

/// Makes OpenTelemetry's spans of ours.
pub(super) struct Converter {
    scope: InstrumentationScope,
}

impl Default for Converter {
    fn default() -> Self {
        let scope = InstrumentationScope::builder("roothold");
        Self { scope: scope.with_version(env!("CARGO_PKG_VERSION")).build() }
    }
}

/// A name and a kind, with attributes, as far as they follow from what a span is about.
struct Described {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
}

impl Converter {
    /// One span; `now` is one moment on both clocks.
    pub(super) fn convert(&self, span: Span, (wall, monotonic): (SystemTime, Instant)) -> SpanData {
        let error = error_type(&span);
        let Described { name, kind, mut attributes } = describe(span.what);
        if let Some(error) = &error {
            attributes.push(KeyValue::new("error.type", error.clone()));
        }
        if let Some(fault) = span.fault {
            attributes.push(KeyValue::new("roothold.fault", fault.code()));
        }
        if let Some(rule) = span.rule {
            attributes.push(KeyValue::new("roothold.rule", rule));
        }
        let ago = monotonic.saturating_duration_since(span.began);
        let start_time = wall.checked_sub(ago).unwrap_or(wall);
        let mut links = SpanLinks::default();
        links.links.extend(span.link.map(|link| Link::with_context(context(link, true))));
        SpanData {
            span_context: context(span.at, false),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |id| SpanId::from(id.get())),
            parent_span_is_remote: span.parent_is_remote,
            span_kind: kind,
            name,
            start_time,
            end_time: start_time + span.took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            // The text of an error may name what was asked for.
            status: error.map_or(Status::Unset, |_| Status::error("")),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn context(at: TraceParent, is_remote: bool) -> SpanContext {
    let (trace, span) = (TraceId::from(at.trace_id().get()), SpanId::from(at.span_id().get()));
    let flags = TraceFlags::default().with_sampled(at.is_sampled());
    SpanContext::new(trace, span, flags, is_remote, TraceState::NONE)
}

/// The class of error that a span ended with, as the conventions have it: a tool's error is a result
/// of its call, and that of another request has a code of the protocol.
fn error_type(span: &Span) -> Option<Cow<'static, str>> {
    if let What::Request { status: status @ (499 | 500..), .. } = span.what {
        return Some(status.to_string().into());
    }
    let fault = span.fault?;
    Some(match span.what {
        What::Call { tool: NO_TOOL, method: "tools/call", .. } => {
            ErrorCode::INVALID_PARAMS.0.to_string().into()
        }
        What::Call { method: "tools/call", .. } => "tool_error".into(),
        What::Call { kind: CallKind::Http | CallKind::Stdio, .. } => {
            wire::request_code(fault).0.to_string().into()
        }
        _ => fault.code().into(),
    })
}

fn describe(what: What) -> Described {
    match what {
        What::Request { method, status, bytes } => request(method, status, bytes),
        What::Call { method, tool, kind, bytes } => call(method, tool, kind, bytes),
        What::Policy => internal("policy"),
        What::Admission => internal("admission"),
        What::Audit => internal("audit"),
        What::Files => internal("files"),
        What::Database { kind, name, operation, rows } => database(kind, &name, operation, rows),
        What::Chunk { rows, bytes } => Described {
            attributes: vec![count("roothold.rows", rows), count("roothold.bytes", bytes)],
            ..internal("chunk")
        },
    }
}

fn internal(name: &'static str) -> Described {
    Described { name: name.into(), kind: SpanKind::Internal, attributes: Vec::new() }
}

fn count(key: &'static str, count: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(count).unwrap_or(i64::MAX))
}

fn request(method: MethodClass, status: u16, bytes: u64) -> Described {
    let attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("http.route", "/mcp"),
        KeyValue::new("http.response.status_code", i64::from(status)),
        count("http.response.body.size", bytes),
        KeyValue::new("mcp.method.name", method.as_str()),
    ];
    Described { name: "POST /mcp".into(), kind: SpanKind::Server, attributes }
}

fn call(method: &'static str, tool: &'static str, kind: CallKind, bytes: u64) -> Described {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(KeyValue::new("mcp.method.name", method));
    attributes.push(count("roothold.answer.bytes", bytes));
    let mut name = Cow::Borrowed(method);
    if !tool.is_empty() {
        attributes.push(KeyValue::new("gen_ai.tool.name", tool));
        attributes.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
        name = [method, " ", tool].concat().into();
    }
    let transport = |name| KeyValue::new("network.transport", name);
    let kind = match kind {
        CallKind::Http => {
            attributes.push(transport("tcp"));
            SpanKind::Server
        }
        CallKind::Stdio => {
            attributes.push(transport("pipe"));
            SpanKind::Server
        }
        CallKind::Own | CallKind::Part => SpanKind::Internal,
        CallKind::Job(id) => {
            attributes.push(KeyValue::new("roothold.job.id", id.to_string()));
            SpanKind::Consumer
        }
    };
    Described { name, kind, attributes }
}

fn database(kind: SourceKind, name: &str, operation: &'static str, rows: u64) -> Described {
    let system = match kind {
        SourceKind::Postgres => "postgresql",
        SourceKind::MySql => "mysql",
        SourceKind::Sqlite => "sqlite",
    };
    let attributes = vec![
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.operation.name", operation),
        KeyValue::new("roothold.database", name.to_owned()),
        count("db.response.returned_rows", rows),
    ];
    let name = [operation, " ", name].concat().into();
    Described { name, kind: SpanKind::Client, attributes }
}

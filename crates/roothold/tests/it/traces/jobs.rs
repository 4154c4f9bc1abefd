//! A job is in the trace of the call that began it, chunk by chunk.

use roothold_testing::{Behaviour, Collector, Received};

use super::{PATIENCE, SENDER, TRACE, has, line, named, telemetry, traceparent};
use crate::jobs::{background, begin, dirs, ended, replica};

#[test]
fn a_job_of_the_custom_tool_is_in_the_trace_of_its_call() {
    let collector = Collector::start(Behaviour::Takes);
    let dirs = dirs(20_000);
    let server = replica(&dirs, "a", &telemetry(&collector, "")).start();
    let request = background(&dirs, 0).with("traceparent", &traceparent(TRACE, SENDER, "01"));
    let id = begin(&server, &request);
    ended(&server, &id);
    let ours = |spans: &[Received]| -> Vec<Received> {
        spans.iter().filter(|one| one.trace_id() == TRACE).cloned().collect()
    };
    let spans = collector.wait("the run's span", PATIENCE, has("jobs/run count_lines"));
    let spans = ours(&spans);
    let (call, run) =
        (named(&spans, "tools/call count_lines"), named(&spans, "jobs/run count_lines"));
    assert_eq!(run.parent(), call.id());
    assert_eq!(run.attribute("roothold.job.id"), id);
    let chunks: Vec<_> = spans.iter().filter(|one| one.span.name == "chunk").collect();
    assert!(!chunks.is_empty() && chunks.iter().all(|chunk| chunk.parent() == run.id()));
    assert!(chunks.len() <= 256, "{}", chunks.len());
    assert!(line(&server, "job submitted").contains(TRACE));
}

//! What a batch promises: no call fails its neighbours, and many large answers do not add up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Dirs, Request, Spec, custom_tool_binary};

fn results(answer: &Value) -> Vec<Value> {
    answer["structuredContent"]["results"].as_array().unwrap().clone()
}

#[test]
fn slow_calls_do_not_take_the_others_with_them() {
    let dirs = Dirs::with_fixture();
    let mut spec = Spec::new(
        dirs.base(),
        dirs.config("").replace("call_timeout_seconds = 5", "call_timeout_seconds = 2"),
    );
    spec.binary = custom_tool_binary();
    let server = spec.start();
    let slow = json!({
        "tool": "count_words",
        "arguments": {"path": dirs.fill_in("$ROOT/hello.txt"), "pause_ms": 5000},
    });
    let mut calls = vec![json!({"tool": "listRoots"})];
    calls.extend(std::iter::repeat_n(slow, 11));
    let asked = Instant::now();
    let answer = server.send(&Request::call("batch", &json!({"calls": calls}))).result();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let results = results(&answer);
    assert_eq!(results.len(), 12);
    assert_eq!(results[0]["ok"], true, "{answer}");
    for slow in &results[1..] {
        let text = slow["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("timeout"), "{text}");
    }
    assert_eq!(server.audit().counts(), (13, 13));
}

#[test]
fn many_large_files_in_one_batch_stay_small() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/large.png", vec![7; 5_000_000]);
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/large.png");
    let call = json!({"tool": "read_media_file", "arguments": {"path": path}});
    let calls: Vec<Value> = std::iter::repeat_n(call, 100).collect();
    let answer = server.send(&Request::call("batch", &json!({"calls": calls}))).result();
    let results = results(&answer);
    assert_eq!(results.len(), 100);
    for result in &results {
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("limit: the file has 5000000 bytes"), "{text}");
    }
    let (_, peak) = server.memory();
    assert!(peak < 100 * 1024 * 1024, "{peak}");
}

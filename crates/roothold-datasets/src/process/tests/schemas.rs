//! Records held against a JSON Schema, in every format, and columns that are kept from callers.

use roothold_core::FaultKind;
use serde_json::{Value, json};

use super::super::testing::{Memory, run_as, wait};
use super::super::{Operation, Process, ProcessLimits, Step};
use crate::testing::{Workspace, budget, engine};
use crate::{Source, SourceOptions};

/// The report of an operation over a file that is cut into many chunks.
fn report(source: &Source, operation: &Value) -> Result<Value, roothold_core::Fault> {
    wait(async {
        let operation: Operation = serde_json::from_value(operation.clone()).unwrap();
        let limits = ProcessLimits { chunk_bytes: 40, ..ProcessLimits::default() };
        let engine = engine();
        let mut process =
            Process::open(&engine, source, &operation, limits, None, &budget()).await?;
        loop {
            if let Step::Done(report) = process.step(&budget()).await? {
                return Ok(report.value);
            }
        }
    })
}

fn schema() -> Value {
    json!({"operation": "validate", "schema": {
        "required": ["id"],
        "properties": {"id": {"type": "integer", "maximum": 3}, "tag": {"enum": ["a", "b", null]}}
    }})
}

/// Line and place of each bad record.
fn places(report: &Value) -> Vec<(u64, String)> {
    let bad = report["bad"].as_array().into_iter().flatten();
    bad.map(|row| {
        let reason = row["reason"].as_str().unwrap();
        (row["line"].as_u64().unwrap(), reason.split(": ").next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn records_of_every_format_are_held_against_a_schema_by_line() {
    let space = Workspace::new();
    space.file(
        "a.jsonl",
        "{\"id\":1,\"tag\":\"a\"}\n{\"id\":9,\"tag\":\"a\"}\n{\"tag\":\"b\"}\n\n{\"id\":2,\"tag\":\"x\"}\nnone\n[1]\n",
    );
    space.file("a.csv", "id,tag\n1,a\n9,a\n,b\n2,x\n3,\n");
    let found = report(&space.source("a.jsonl"), &schema()).unwrap();
    let places_of = |list: &[(u64, &str)]| {
        list.iter().map(|(line, place)| (*line, (*place).to_owned())).collect::<Vec<_>>()
    };
    // An array has no members, so what is required of objects is not required of it.
    let wanted = [(2, "/id"), (3, "the record"), (5, "/tag"), (6, "is not JSON")];
    assert_eq!(places(&found), places_of(&wanted), "{found}");
    assert_eq!((found["rows"].as_u64(), found["bad_rows"].as_u64()), (Some(2), Some(4)));
    assert_eq!(found["valid"], false);
    let found = report(&space.source("a.csv"), &schema()).unwrap();
    assert_eq!(places(&found), places_of(&[(3, "/id"), (4, "/id"), (5, "/tag")]), "{found}");
    assert_eq!(found["rows"], 2);
    let both = json!({"operation": "validate", "schema": {}, "columns": [{"name": "id"}]});
    let fault = report(&space.source("a.csv"), &both).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid);
    let long = format!("{{\"id\":1,\"tag\":\"{}\"}}\n", "x".repeat(1024 * 1024));
    let found = report(&space.file("b.jsonl", long).source("b.jsonl"), &schema()).unwrap();
    assert_eq!(places(&found), places_of(&[(1, "is longer than 1048576 bytes")]));
}

#[test]
fn a_validation_by_schema_goes_on_from_any_chunk() {
    let lines: String = (0..200).map(|id| format!("{{\"id\":{}}}\n", id % 7)).collect();
    let mut input = Memory::text(lines.as_bytes());
    input.shape.format = super::super::input::ShapeFormat::Jsonl;
    let limits = ProcessLimits { chunk_bytes: 100, ..ProcessLimits::default() };
    let once = wait(run_as(&input, &schema(), &limits, false)).unwrap();
    let again = wait(run_as(&input, &schema(), &limits, true)).unwrap();
    assert_eq!(once, again);
    assert_eq!(once.value["bad_rows"], (0..200).filter(|id| id % 7 > 3).count());
    assert!(once.chunks > 5);
}

#[test]
fn members_that_are_kept_back_are_not_asked_for_whether_or_not_the_sample_has_them() {
    let space = Workspace::new();
    let plain = "{\"id\":1}\n".repeat(3000);
    space.file("seen.jsonl", "{\"id\":1,\"secret\":\"hush\"}\n");
    space.file("late.jsonl", format!("{plain}{{\"id\":1,\"Secret\":\"hush\"}}\n"));
    for name in ["seen.jsonl", "late.jsonl"] {
        let hidden = vec!["secret".to_owned()];
        let source = Source::new(vec![space.open(name)], SourceOptions::default(), hidden).unwrap();
        for member in ["secret", "Secret", " secret "] {
            let asked = json!({"operation": "validate",
                "columns": [{"name": member, "type": "integer", "nullable": true}]});
            let told = report(&source, &asked).unwrap();
            assert_eq!(told["bad_rows"], 0, "{name} {member}: {told}");
            for schema in [
                json!({"properties": {member: {"type": "integer"}}}),
                json!({"additionalProperties": {"type": "integer"}}),
                json!({"patternProperties": {"^[sS]ecret$": {"type": "integer"}}}),
                json!({"maxProperties": 1}),
            ] {
                let asked = json!({"operation": "validate", "schema": schema});
                let told = report(&source, &asked).unwrap();
                assert_eq!(told["bad_rows"], 0, "{name} {asked}: {told}");
            }
        }
        let by_line = report(&source, &json!({"operation": "search", "pattern": "hush"}));
        assert_eq!(by_line.unwrap_err().kind(), FaultKind::Invalid, "{name}");
        let sampled = report(&source, &json!({"operation": "sample", "rows": 10000})).unwrap();
        assert!(!sampled.to_string().contains("hush"), "{name}");
    }
}

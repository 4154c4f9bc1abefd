use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn refused(schema: &Value) -> Fault {
    RecordSchema::new(schema).map(|_| ()).expect_err(&schema.to_string())
}

#[test]
fn a_record_is_held_against_the_schema_and_the_path_is_told() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.org/order",
        "type": "object",
        "required": ["id", "items"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "day": {"format": "date"},
            "items": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/item"}}
        },
        "$defs": {"item": {
            "properties": {"sku": {"pattern": "^[A-Z]{2}[0-9]+$"}, "part": {"$ref": "#/$defs/item"}}
        }}
    });
    let schema = RecordSchema::new(&schema).unwrap();
    for (record, wrong) in [
        (json!({"id": 1, "items": []}), None),
        (json!({"id": 1, "day": "2026-11-26", "items": [{"sku": "AB1"}]}), None),
        (json!({"id": 0, "items": []}), Some("/id: 0")),
        (json!({"id": "1", "items": []}), Some("/id: ")),
        (json!({"items": []}), Some("the record: \"id\"")),
        (json!({"id": 1, "day": "26.11.", "items": []}), Some("/day: ")),
        (json!({"id": 1, "items": [{"sku": "AB1"}, {"sku": "x"}]}), Some("/items/1/sku: ")),
        (
            json!({"id": 1, "items": [{"part": {"part": {"sku": ""}}}]}),
            Some("/items/0/part/part/sku: "),
        ),
        (json!([1]), Some("the record: ")),
    ] {
        let found = schema.wrong(&record);
        assert_eq!(found.is_some(), wrong.is_some(), "{record}: {found:?}");
        let begins = wrong.is_none_or(|wrong| found.as_deref().unwrap().starts_with(wrong));
        assert!(begins, "{record}: {found:?}");
    }
    let long = json!({"id": "x".repeat(10_000), "items": []});
    assert!(schema.wrong(&long).unwrap().len() < 300);
}

#[test]
fn the_drafts_that_are_in_use_are_known() {
    for draft in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = json!({"$schema": draft, "properties": {"a": {"type": "string"}}});
        let schema = RecordSchema::new(&schema).unwrap();
        assert!(schema.wrong(&json!({"a": "x"})).is_none(), "{draft}");
        assert!(schema.wrong(&json!({"a": 1})).is_some(), "{draft}");
    }
}

#[test]
fn nothing_is_fetched() {
    for reference in [
        "https://example.org/other.json",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "other.json",
        "#/nowhere",
        "#name",
        "#/$defs/a%20b",
    ] {
        let fault = refused(&json!({"properties": {"a": {"$ref": reference}}}));
        assert_eq!(fault.kind(), FaultKind::Unsupported, "{reference}: {fault}");
    }
    for schema in [
        json!({"$schema": "https://example.org/meta.json"}),
        json!({"$schema": "file:///etc/passwd"}),
    ] {
        refused(&schema);
    }
    for key in ["$dynamicRef", "$recursiveRef", "$anchor"] {
        let fault = refused(&json!({"items": {key: "#a"}}));
        assert!(fault.public().contains(key), "{fault}");
    }
    let fault = refused(&json!({"$defs": {"a": {"$id": "https://example.org/a"}}}));
    assert_eq!(fault.kind(), FaultKind::Unsupported);
}

/// A schema each of whose definitions refers twice to the next.
fn doubling(levels: usize, by: &dyn Fn(Value) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        defs.insert(format!("d{level}"), json!({"allOf": [by(next.clone()), by(next)]}));
    }
    defs.insert(format!("d{levels}"), json!({"type": "integer"}));
    json!({"$defs": defs, "$ref": "#/$defs/d0"})
}

#[test]
fn a_schema_that_would_multiply_is_refused_beforehand() {
    let begun = Instant::now();
    let plain = |next: Value| next;
    let member = |next: Value| json!({"properties": {"a": next}});
    let item = |next: Value| json!({"items": next});
    let pattern = |next: Value| json!({"patternProperties": {"^a": next}});
    let ways: [&dyn Fn(Value) -> Value; 4] = [&plain, &member, &item, &pattern];
    for by in ways {
        assert_eq!(refused(&doubling(24, by)).kind(), FaultKind::Limit);
        RecordSchema::new(&doubling(2, by)).unwrap();
    }
    let twice = json!({"properties": {"a": {"$ref": "#"}}});
    for schema in [
        json!({"allOf": [twice.clone(), twice.clone()]}),
        json!({"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}),
        json!({"properties": {"a": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"},
            "patternProperties": {"a": {"$ref": "#"}}}),
        json!({"unevaluatedProperties": false, "allOf": [twice.clone()]}),
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#/allOf/0"}]}),
        json!({"not": {"$ref": "#"}}),
    ] {
        assert_eq!(refused(&schema).kind(), FaultKind::Limit, "{schema}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    // What refers to itself once is a tree, however deep.
    let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}});
    let schema = RecordSchema::new(&tree).unwrap();
    let mut record = json!({"n": "x"});
    for _ in 0..100 {
        record = json!({"left": record});
    }
    assert!(schema.wrong(&record).unwrap().starts_with("/left/left/"));
}

#[test]
fn what_is_too_large_or_no_schema_is_refused_and_a_pattern_takes_no_longer_than_its_text() {
    let mut long = String::new();
    for at in 0..9000 {
        write!(long, "word{at} ").unwrap();
    }
    assert_eq!(refused(&json!({"description": long})).kind(), FaultKind::Limit);
    let many: Vec<Value> = (0..5000).map(|_| json!({})).collect();
    assert_eq!(refused(&json!({"$defs": {"a": {"prefixItems": many}}})).kind(), FaultKind::Limit);
    for schema in [
        json!([]),
        json!("x"),
        json!({"type": "nothing"}),
        json!({"pattern": "("}),
        json!({"pattern": "(?=a)a"}),
        json!({"pattern": "(a)\\1"}),
        json!({"pattern": "(a{1,1000}){1,1000}"}),
        json!({"minimum": "x"}),
        json!({"$ref": 1}),
    ] {
        refused(&schema);
    }
    let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
    let schema = RecordSchema::new(&schema).unwrap();
    let begun = Instant::now();
    assert!(schema.wrong(&json!({"a": format!("{}!", "a".repeat(500_000))})).is_some());
    assert!(begun.elapsed() < Duration::from_secs(20));
}

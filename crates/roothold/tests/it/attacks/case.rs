//! The battery's data.

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) setup: Vec<Value>,
    pub(super) calls: Vec<Step>,
    pub(super) expect: Value,
    #[serde(default)]
    pub(super) note: String,
    #[serde(default)]
    pub(super) attacker: Option<Value>,
    #[serde(default)]
    pub(super) repeat: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Step {
    pub(super) tool: String,
    pub(super) args: Map<String, Value>,
}

impl Step {
    pub(super) fn of(value: &Value) -> Self {
        serde_json::from_value(value.clone()).unwrap()
    }
}

pub(super) fn battery() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    let text = include_str!("../../batteries/attacks.json");
    serde_json::from_str::<File>(text).unwrap().cases
}

/// The strings of an expectation.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

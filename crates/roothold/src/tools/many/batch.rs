//! `batch`: many calls at once, each decided and recorded by itself. One that fails is that
//! call's error and fails no other.

use futures::stream::{self, StreamExt as _};
use rmcp::model::ContentBlock;
use roothold_core::files::json_len;
use roothold_core::{Action, Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::call::{Call, CallError, panicked};
use crate::tool::{About, Answer, Effect, Permits, Structured, Tool};
use crate::wire::text_of;

pub(in crate::tools) struct Batch;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The calls.
    #[schemars(length(min = 1))]
    calls: Vec<Item>,
    /// Largest answer
    max_bytes: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    /// The tool's name; not batch.
    tool: String,
    /// Its arguments.
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Results {
    /// One for each call, in their order.
    results: Vec<Outcome>,
}

#[derive(Serialize, JsonSchema)]
struct Outcome {
    tool: String,
    ok: bool,
    /// The tool's structured answer, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    structured: Option<Box<RawValue>>,
    /// The tool's content blocks, where it has no structured answer, or its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
}

/// What a call takes in the answer at least: the word that its own answer was too large.
const OUTCOME_BYTES_MIN: usize = 250;
/// How many calls of one batch run at once.
const CONCURRENT_MAX: usize = 8;

impl Tool for Batch {
    const NAME: &'static str = "batch";
    type Input = Input;
    type Output = Structured<Results>;

    fn about(&self) -> About {
        About {
            title: "Batch",
            description: "Runs several tool calls at once, in order if any writes. A call that fails does not fail the others.",
            effect: Effect::Writes { destructive: true, idempotent: false },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        if input.calls.is_empty() {
            return Err(Fault::invalid("calls is empty; give at least one {tool, arguments}"));
        }
        if input.calls.iter().any(|item| item.tool == Self::NAME) {
            return Err(Fault::invalid("batches do not nest; put the inner calls into this one"));
        }
        Ok(Actions::one(Action::named(format!("{} calls", input.calls.len()), None)))
    }

    async fn run(
        &self,
        call: Call,
        _permits: Permits,
        input: Input,
    ) -> Result<Self::Output, Fault> {
        let max = call.limits().batch_calls_max;
        if input.calls.len() > max {
            return Err(Fault::invalid(format!(
                "{} calls are too many; the limit is {max}",
                input.calls.len()
            )));
        }
        if call.is_nested() {
            return Err(Fault::invalid("batches do not nest"));
        }
        let limits = call.limits();
        let total = input.max_bytes.unwrap_or(limits.result_bytes_default);
        let total = usize::try_from(total.min(limits.result_bytes_ceiling)).unwrap_or(usize::MAX);
        let least = input.calls.len() * OUTCOME_BYTES_MIN;
        if total < least {
            return Err(Fault::invalid(format!(
                "max_bytes must be at least {least} for {} calls; raise it, or make fewer calls",
                input.calls.len()
            )));
        }
        let share = total / input.calls.len();
        // What changes files means the order in which it was written.
        let in_order = input.calls.iter().any(|item| call.changes(&item.tool));
        let at_once = if in_order { 1 } else { CONCURRENT_MAX };
        let call = &call;
        let running = stream::iter(input.calls).map(|item| async move {
            let writes = call.changes(&item.tool);
            let result = call.nested(&item.tool, item.arguments, share).await;
            (outcome(item.tool, result), writes)
        });
        // Each answer is fitted as it comes: a hundred large ones must not stand in memory together.
        let mut running = std::pin::pin!(running.buffered(at_once));
        let (mut left, mut results) = (Left::of(total), Vec::new());
        while let Some((outcome, writes)) = running.next().await {
            results.push(left.fit(outcome, writes)?);
        }
        let value = Results { results };
        let text = serde_json::to_string(&value).map_err(Fault::internal)?;
        Ok(Structured { value, text, note: None })
    }
}

/// The room that the answers of a batch have left.
struct Left(usize);

impl Left {
    fn of(bytes_max: usize) -> Self {
        Self(bytes_max.saturating_sub(json_len(r#"{"results":[]}"#)))
    }

    /// The answer if it fits, else a word in its place that it is too large.
    fn fit(&mut self, outcome: Outcome, writes: bool) -> Result<Outcome, Fault> {
        let mut bytes = written_len(&outcome)?;
        let outcome = if bytes <= self.0 {
            outcome
        } else {
            let shorter = too_large(&outcome, writes);
            bytes = written_len(&shorter)?;
            shorter
        };
        self.0 = self.0.saturating_sub(bytes);
        Ok(outcome)
    }
}

/// The bytes of an outcome inside the text form, as that is written.
fn written_len(outcome: &Outcome) -> Result<usize, Fault> {
    let text = serde_json::to_string(outcome).map_err(Fault::internal)?;
    Ok(json_len(&text) + 1)
}

fn too_large(outcome: &Outcome, writes: bool) -> Outcome {
    // A name that no tool has may be of any length.
    let tool = outcome.tool.chars().take(64).collect();
    // A change that was made must not be asked for again.
    let done = outcome.ok && writes;
    let text = match (done, outcome.ok) {
        (true, _) => "it was done; its answer does not fit into this batch",
        (_, true) => "limit: the answer does not fit into this batch; make this call by itself",
        (_, false) => {
            "limit: it failed, and why does not fit into this batch; make this call by itself"
        }
    };
    let content = json!([{"type": "text", "text": text}]);
    Outcome { tool, ok: done, structured: None, content: Some(content) }
}

fn outcome(tool: String, result: Result<Answer, CallError>) -> Outcome {
    match result {
        Ok(Answer { structured: Some(structured), .. }) => {
            let structured = RawValue::from_string(structured.json()).ok();
            Outcome { tool, ok: true, structured, content: None }
        }
        Ok(answer) => {
            Outcome { tool, ok: true, structured: None, content: Some(blocks(&answer.content)) }
        }
        Err(error) => {
            let text = match &error {
                CallError::UnknownTool => {
                    "not_found: there is no tool of that name; tools/list has those that exist"
                        .to_owned()
                }
                CallError::NeedsTasks => {
                    "unsupported: this tool answers with a task; call it by itself, with the tasks extension"
                        .to_owned()
                }
                CallError::Panicked => text_of(&panicked()),
                CallError::Fault(fault) => text_of(fault),
            };
            Outcome {
                tool,
                ok: false,
                structured: None,
                content: Some(json!([{"type": "text", "text": text}])),
            }
        }
    }
}

fn blocks(content: &[ContentBlock]) -> Value {
    serde_json::to_value(content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_whose_answer_does_not_fit_was_made_all_the_same() {
        let long = || Outcome {
            tool: "t".repeat(100),
            ok: true,
            structured: None,
            content: Some(json!([{"type": "text", "text": "x".repeat(1000)}])),
        };
        let changed = Left(OUTCOME_BYTES_MIN).fit(long(), true).unwrap();
        assert!(changed.ok && written_len(&changed).unwrap() <= OUTCOME_BYTES_MIN);
        assert!(!Left(OUTCOME_BYTES_MIN).fit(long(), false).unwrap().ok);
        let failed = Left(OUTCOME_BYTES_MIN).fit(Outcome { ok: false, ..long() }, true).unwrap();
        assert!(!failed.ok && written_len(&failed).unwrap() <= OUTCOME_BYTES_MIN);
    }
}

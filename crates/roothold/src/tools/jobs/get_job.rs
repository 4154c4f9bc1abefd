//! `get_job`: how far a job is, and what it has found.

use roothold_core::files::json_len;
use roothold_core::{Actions, Fault, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::one;
use crate::call::Call;
use crate::jobs::{self, JobShown, Progress, answered, look_up};
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::GET_JOB;
use crate::tools::page::{Room, note};

pub(in crate::tools) struct GetJob;

/// How many parts are asked for at once.
const AT_ONCE: u32 = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The job's id.
    job_id: String,
    /// A principal, or `*`; needs jobs:manage
    owner: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    job: JobShown,
    /// What the tool answered, once the job has completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// What it would answer by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<Value>,
    /// After how much that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_after: Option<Progress>,
    /// What each chunk has found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Value>,
    /// The size of a result that does not fit: ask with a larger max_bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted_bytes: Option<usize>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Tool for GetJob {
    const NAME: &'static str = GET_JOB;
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "Get Job",
            description: "Tells how far a job is and gives its result, or what it has found by now.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(one(Verb::Read, &input.job_id, input.owner.as_deref())))
    }

    async fn run(&self, call: Call, permits: Permits, _: Input) -> Result<Self::Output, Fault> {
        let found = look_up(&call, &permits.one()?).await?;
        let mut page = Page {
            job: if found.is_own {
                jobs::shown(&found.job)
            } else {
                jobs::shown_to_manager(&found.job)
            },
            result: None,
            partial: None,
            partial_after: None,
            parts: Vec::new(),
            omitted_bytes: None,
            truncated: false,
            next_cursor: None,
        };
        let mut text = vec![page.job.line()];
        let mut room = Room::of(&call);
        room.keep(2 * text[0].len());
        let mut from: u64 = call.resume()?.unwrap_or_default();
        if found.is_own && from == 0 {
            match found.result().await? {
                Some(result) => page.content(&result, true, &mut room, &mut text)?,
                None => {
                    if let Some(partial) = found.partial().await? {
                        page.content(&partial, false, &mut room, &mut text)?;
                    }
                }
            }
        }
        while found.is_own && from < found.job.parts && !page.truncated {
            call.budget().check()?;
            let parts = found.parts(from, AT_ONCE).await?;
            if parts.is_empty() {
                break;
            }
            for part in parts {
                let part: Value = serde_json::from_slice(&part.content).map_err(Fault::internal)?;
                let json = part.to_string();
                if !room.take(json.len() + json_len(&json), &from.to_le_bytes())? {
                    page.truncated = true;
                    break;
                }
                from += 1;
                page.parts.push(part);
                text.push(json);
            }
        }
        if page.truncated {
            page.next_cursor = Some(call.next_cursor(&from)?);
        }
        let note = note(page.next_cursor.as_deref(), &[], 0);
        Ok(Structured { value: page, text: text.join("\n"), note })
    }
}

impl Page {
    /// Puts in what the tool answered, or would answer by now, if there is room for it.
    fn content(
        &mut self,
        stored: &[u8],
        is_result: bool,
        room: &mut Room,
        text: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut found = answered(serde_json::from_slice(stored).map_err(Fault::internal)?);
        if !is_result {
            found.text = format!("{}\n{}", found.heading(), found.text);
        }
        let after = serde_json::to_string(&found.after).map_err(Fault::internal)?;
        let bytes = found.value.to_string().len() + json_len(&found.text) + after.len();
        if !room.fits(bytes) {
            self.omitted_bytes = Some(bytes);
            text.push(format!(
                "the result does not fit; call again with max_bytes of {} or more",
                (bytes + text[0].len() * 2) * 8 / 7 + 1024
            ));
            return Ok(());
        }
        room.keep(bytes);
        text.push(found.text);
        if is_result {
            self.result = Some(found.value);
        } else {
            (self.partial, self.partial_after) = (Some(found.value), found.after);
        }
        Ok(())
    }
}

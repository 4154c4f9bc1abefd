//! How a path can go on: names in a directory, or the roots.

use roothold_core::files::{EntryKind, list};
use roothold_core::{Action, Actions, Fault, FaultKind, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(super) const NAME: &str = "completion/complete";
/// The most values in one answer (the protocol's own limit).
const VALUES_MAX: usize = 100;

pub(super) struct Complete;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    value: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct Completions {
    pub(super) values: Vec<String>,
    pub(super) has_more: bool,
}

impl Tool for Complete {
    const NAME: &'static str = NAME;
    type Input = Input;
    type Output = Structured<Completions>;

    fn about(&self) -> About {
        About {
            title: "Complete a path",
            description: "How a path can go on",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, _input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::named("completion", Some("files:read"))))
    }

    async fn run(
        &self,
        call: Call,
        _permits: Permits,
        input: Input,
    ) -> Result<Self::Output, Fault> {
        let worker = call.clone();
        let value = call.blocking(move |_| complete(&worker, &input.value)).await?;
        Ok(Structured { value, text: String::new(), note: None })
    }
}

fn complete(call: &Call, typed: &str) -> Result<Completions, Fault> {
    // The template is file:///{+path}: the path has no leading slash, but some clients send one.
    let slash = if typed.starts_with('/') { "/" } else { "" };
    let typed = &typed[slash.len()..];
    let mut values: Vec<String> = call
        .policy()
        .roots_of(call.principal())
        .filter_map(|root| std::str::from_utf8(root.public()).ok())
        .filter(|root| root.starts_with(typed) && root.len() > typed.len())
        .map(|root| format!("{slash}{root}/"))
        .collect();
    let (directory, start) = typed.rsplit_once('/').unwrap_or(("", typed));
    match names(call, directory, start) {
        Ok(names) => values.extend(names.into_iter().map(|name| {
            let parent = if directory.is_empty() { String::new() } else { format!("{directory}/") };
            format!("{slash}{parent}{name}")
        })),
        // What cannot be listed has no completions, whatever the reason.
        Err(fault)
            if matches!(
                fault.kind(),
                FaultKind::Denied
                    | FaultKind::NotFound
                    | FaultKind::Invalid
                    | FaultKind::Unsupported
            ) => {}
        Err(fault) => return Err(fault),
    }
    let has_more = values.len() > VALUES_MAX;
    values.truncate(VALUES_MAX);
    Ok(Completions { values, has_more })
}

fn names(call: &Call, directory: &str, start: &str) -> Result<Vec<String>, Fault> {
    let path = FilePath::parse(&format!("/{directory}"))?;
    let actions = Actions::one(Action::file(Verb::List, path));
    let permits = call.policy().decide(call.principal(), NAME, &actions)?;
    let listing = list(&permits[0], call.budget())?;
    let fitting = listing
        .after(None)
        .filter(|entry| entry.name.as_bytes() == entry.raw && entry.name.starts_with(start));
    Ok(fitting
        .take(VALUES_MAX + 1)
        .map(|entry| if entry.kind == EntryKind::Directory { entry.name + "/" } else { entry.name })
        .collect())
}

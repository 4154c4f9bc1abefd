//! How a path can go on: names in a directory, or the roots.

use roothold_core::files::{EntryKind, list};
use roothold_core::{Action, Actions, Fault, FaultKind, FilePath, Permit, Verb};
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
    // A directory that is denied has no completions, and is no error.
    const INDEPENDENT: bool = true;
    type Input = Input;
    type Output = Structured<Completions>;

    fn about(&self) -> About {
        About {
            title: "Complete a path",
            description: "How a path can go on",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        let typed = Typed::of(&input.value);
        Ok(Actions::one(match FilePath::parse(&format!("/{}", typed.directory)) {
            Ok(path) => Action::file(Verb::List, path),
            // What is no path has no completions.
            Err(_) => Action::named("not a path", Some("files:read")),
        }))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let worker = call.clone();
        let permit = permits.one();
        let value = call.blocking(move |_| complete(&worker, permit, &input.value)).await?;
        Ok(Structured { value, text: String::new(), note: None })
    }
}

/// What was typed. The template is `file:///{+path}`: the path has no leading slash, but some
/// clients send one.
struct Typed<'a> {
    slash: &'static str,
    path: &'a str,
    directory: &'a str,
    start: &'a str,
}

impl<'a> Typed<'a> {
    fn of(value: &'a str) -> Self {
        let slash = if value.starts_with('/') { "/" } else { "" };
        let path = &value[slash.len()..];
        let (directory, start) = path.rsplit_once('/').unwrap_or(("", path));
        Self { slash, path, directory, start }
    }
}

fn complete(call: &Call, permit: Result<Permit, Fault>, value: &str) -> Result<Completions, Fault> {
    let Typed { slash, path, directory, start } = Typed::of(value);
    let mut values: Vec<String> = call
        .policy()
        .roots_of(call.principal())
        .filter_map(|root| std::str::from_utf8(root.public()).ok())
        .filter(|root| root.starts_with(path) && root.len() > path.len())
        .map(|root| format!("{slash}{root}/"))
        .collect();
    match permit.and_then(|permit| names(call, &permit, start)) {
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

fn names(call: &Call, permit: &Permit, start: &str) -> Result<Vec<String>, Fault> {
    let listing = list(permit, call.budget())?;
    let fitting = listing
        .after(None)
        .filter(|entry| entry.name.as_bytes() == entry.raw && entry.name.starts_with(start));
    Ok(fitting
        .take(VALUES_MAX + 1)
        .map(|entry| {
            let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
            [&entry.name, slash].concat()
        })
        .collect())
}

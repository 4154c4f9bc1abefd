//! The files that can be read, of all roots, page by page.

use roothold_core::files::{EntryKind, Visit, Walk, json_len};
use roothold_core::{Action, Actions, Fault, FaultKind, FilePath, Verb, uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::media_type;
use crate::tools::page::{Place, Room};

pub(super) const NAME: &str = "resources/list";
/// Resources in one page; a client that wants more asks for the next.
const PAGE_MAX: usize = 200;

pub(super) struct ListResources;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Page {
    pub(super) resources: Vec<Found>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Found {
    pub(super) uri: String,
    pub(super) name: String,
    pub(super) mime_type: Option<String>,
}

/// The root, by position among those of the caller, and the last path below it.
type Position = (usize, Place);

impl Tool for ListResources {
    const NAME: &'static str = NAME;
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List resources",
            description: "The files that can be read",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, _input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::named("resources", Some("files:read"))))
    }

    async fn run(
        &self,
        call: Call,
        _permits: Permits,
        _input: Input,
    ) -> Result<Self::Output, Fault> {
        let start: Option<Position> = call.resume()?;
        let worker = call.clone();
        let (resources, position) = call.blocking(move |_| collect(&worker, start)).await?;
        let next_cursor = position.map(|position| call.next_cursor(&position)).transpose()?;
        Ok(Structured { value: Page { resources, next_cursor }, text: String::new(), note: None })
    }
}

fn collect(call: &Call, start: Option<Position>) -> Result<(Vec<Found>, Option<Position>), Fault> {
    let (first, mut after) =
        start.map_or((0, None), |(root, after)| (root, Some(Vec::from(after))));
    let (mut found, mut room) = (Vec::new(), Room::of(call));
    for (at, root) in call.policy().roots_of(call.principal()).enumerate().skip(first) {
        let path = FilePath::from_bytes(&[b"/", root.public()].concat())?;
        let actions = Actions::one(Action::file(Verb::List, path));
        let permits = call.policy().decide(call.principal(), NAME, &actions)?;
        let mut walk = match Walk::start(&permits[0], after.take().as_deref(), call.budget()) {
            Ok(walk) => walk,
            // One root that cannot be read has no resources; the others have.
            Err(fault) if matches!(fault.kind(), FaultKind::Denied | FaultKind::NotFound) => {
                continue;
            }
            Err(fault) => return Err(fault),
        };
        walk.for_names();
        let mut last = Vec::new();
        let done = walk.run(|entry| {
            if found.len() == PAGE_MAX {
                return Ok(Visit::Stop);
            }
            if entry.kind == EntryKind::File && entry.is_readable() {
                let name = String::from_utf8_lossy(entry.name).into_owned();
                let mime_type = Some(media_type(entry.name).to_owned());
                let uri = uri(entry.public);
                // {"uri":"…","name":"…","mimeType":"…"}, and the root's number in the cursor.
                if !room.take(uri.len() + json_len(&name) + 96, entry.below)? {
                    return Ok(Visit::Stop);
                }
                found.push(Found { uri, name, mime_type });
            }
            last.clear();
            last.extend_from_slice(entry.below);
            Ok(Visit::Into)
        })?;
        if !done {
            return Ok((found, Some((at, last.into()))));
        }
    }
    Ok((found, None))
}

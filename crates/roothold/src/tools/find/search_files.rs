//! `search_files`: paths that match a glob.

use roothold_core::files::{Visit, Walk, json_len};
use roothold_core::{Action, Actions, Fault, FilePath, PathGlobs, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Tool, Written};
use crate::tools::page::{Place, Room, Unreadable, note, push_json};

pub(in crate::tools) struct SearchFiles;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The directory.
    path: String,
    /// A glob over paths below it; `**/*.md` finds what lies anywhere.
    pattern: String,
    /// Globs to leave out.
    #[serde(default, rename = "excludePatterns")]
    exclude_patterns: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    /// Absolute paths, or file:// URIs where a name holds unusual characters.
    #[schemars(with = "Vec<String>")]
    matches: [(); 0],
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Unreadable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems_omitted: Option<usize>,
}

impl Tool for SearchFiles {
    const NAME: &'static str = "search_files";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Written<Page>;

    fn about(&self) -> About {
        About {
            title: "Search Files",
            description: "Finds files and directories by a glob and gives their full paths. Case-sensitive.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::List, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let after: Option<Vec<u8>> = call.resume()?.map(|place: Place| place.into());
        // The pattern itself may name what must not be named.
        let invalid = |error: roothold_core::PatternError| {
            Fault::invalid(format!("the pattern is refused: {}", error.reason))
        };
        let wanted = PathGlobs::new(&[input.pattern]).map_err(invalid)?;
        let exclude = PathGlobs::new(&input.exclude_patterns).map_err(invalid)?;
        let sealing = call.clone();
        call.blocking(move |budget| {
            let mut walk = Walk::start(&permit, after.as_deref(), budget)?;
            walk.for_names();
            let (mut room, mut last) = (Room::of(&sealing), Vec::new());
            let (mut matches, mut text) = ("[".to_owned(), String::new());
            let done = walk.run(|entry| {
                if exclude.matches(entry.below) {
                    return Ok(Visit::Past);
                }
                if wanted.matches(entry.below) {
                    let path = entry.shown_path();
                    if !room.take(json_len(&path) + 3, entry.below)? {
                        return Ok(Visit::Stop);
                    }
                    if !text.is_empty() {
                        text.push('\n');
                        matches.push(',');
                    }
                    push_json(&mut matches, &path)?;
                    text.push_str(&path);
                    last.clear();
                    last.extend_from_slice(entry.below);
                }
                Ok(Visit::Into)
            })?;
            let next_cursor =
                if done { None } else { Some(sealing.next_cursor(&Place::from(last))?) };
            let (problems, omitted) = room.unreadable(walk.problems());
            let note = note(next_cursor.as_deref(), &problems, omitted);
            matches.push(']');
            if text.is_empty() {
                "No matches found".clone_into(&mut text);
            }
            let page = Page {
                matches: [],
                truncated: next_cursor.is_some(),
                next_cursor,
                problems,
                problems_omitted: (omitted > 0).then_some(omitted),
            };
            Written::new(&page, matches, text, note)
        })
        .await
    }
}

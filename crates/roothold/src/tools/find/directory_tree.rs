//! `directory_tree`: a directory and all below it as nested JSON, in pages.
//!
//! A page holds whole entries; the directories above its first entry are repeated, so each page
//! is a tree by itself and pages merge by name.

use roothold_core::files::{EntryKind, Visit, Walk, WalkEntry, json_len};
use roothold_core::{Action, Actions, Fault, FilePath, PathGlobs, Verb, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::page::{Place, Room, Unreadable, note};

/// How deep one answer goes: two brackets a level, and readers of JSON stop at 128 of them.
const DEPTH_MAX: usize = 55;
/// `{"name":"…","type":"directory","children":[]},` without the name.
const NODE_BYTES: usize = 46;

pub(in crate::tools) struct DirectoryTree;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The directory.
    path: String,
    /// What to leave out: globs over paths below the directory; one without `*` also leaves out that name at any depth.
    #[serde(default, rename = "excludePatterns")]
    exclude_patterns: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    /// Nested entries: name, type, and for directories children.
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    tree: Vec<Node>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Unreadable>,
    #[serde(skip_serializing_if = "is_zero")]
    problems_omitted: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Node {
    name: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<Node>>,
}

impl Tool for DirectoryTree {
    const NAME: &'static str = "directory_tree";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "Directory Tree",
            description: "Shows a directory and everything below it as a JSON tree: name, type and, for directories, \
                          children. Symbolic links are shown and not followed. A large tree comes in pages; each \
                          repeats the directories above its first entry.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::List, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let after: Option<Vec<u8>> = call.resume()?.map(|place: Place| place.into());
        let exclude = PathGlobs::new(&widened(&input.exclude_patterns))
            .map_err(|error| Fault::invalid(format!("a pattern is refused: {}", error.reason)))?;
        let sealing = call.clone();
        call.blocking(move |budget| {
            let mut walk = Walk::start(&permit, after.as_deref(), budget)?;
            walk.limit_depth(DEPTH_MAX);
            let (mut room, mut builder, mut last) =
                (Room::of(&sealing), Builder::default(), Vec::new());
            let done = walk.run(|entry| {
                if exclude.matches(entry.below) {
                    return Ok(Visit::Past);
                }
                let name = shown_name(entry.public);
                let above = builder.missing_above(entry);
                let bytes =
                    above.iter().chain([&name]).map(|name| json_len(name) + NODE_BYTES).sum();
                if !room.take(bytes, entry.below)? {
                    return Ok(Visit::Stop);
                }
                builder.add(entry, above, name);
                last.clear();
                last.extend_from_slice(entry.below);
                Ok(Visit::Into)
            })?;
            let next_cursor =
                if done { None } else { Some(sealing.next_cursor(&Place::from(last))?) };
            let (problems, problems_omitted) = room.unreadable(walk.problems());
            let note = note(next_cursor.as_deref(), &problems, problems_omitted);
            let tree = builder.finish();
            let text = serde_json::to_string(&tree).map_err(Fault::internal)?;
            let value = Page {
                tree,
                truncated: next_cursor.is_some(),
                next_cursor,
                problems,
                problems_omitted,
            };
            Ok(Structured { value, text, note })
        })
        .await
    }
}

/// As the reference server reads them: a pattern without `*` also means that name at any depth.
fn widened(patterns: &[String]) -> Vec<String> {
    let mut all = patterns.to_vec();
    for pattern in patterns.iter().filter(|pattern| !pattern.contains('*')) {
        all.push(format!("**/{pattern}"));
        all.push(format!("**/{pattern}/**"));
    }
    all
}

/// The last name of a public path; the whole as a URI where it holds unusual characters.
fn shown_name(public: &[u8]) -> String {
    let path = shown(public);
    match path.strip_prefix('/') {
        Some(plain) => plain.rsplit('/').next().unwrap_or_default().to_owned(),
        None => path,
    }
}

/// Builds a nested tree from entries in order.
#[derive(Default)]
struct Builder {
    /// The open directories, outermost first, each with its children so far.
    open: Vec<Node>,
    top: Vec<Node>,
}

impl Builder {
    /// The directories above an entry that are not open: a page may begin deep in the tree.
    fn missing_above(&self, entry: &WalkEntry<'_>) -> Vec<String> {
        let missing = entry.depth.saturating_sub(self.open.len());
        let slashes = entry.public.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let mut names: Vec<String> =
            slashes.take(missing).map(|(at, _)| shown_name(&entry.public[..at])).collect();
        names.reverse();
        names
    }

    fn add(&mut self, entry: &WalkEntry<'_>, above: Vec<String>, name: String) {
        self.close_to(entry.depth);
        self.open.extend(above.into_iter().map(directory));
        if entry.kind == EntryKind::Directory {
            self.open.push(directory(name));
        } else {
            self.children().push(Node { name, r#type: entry.kind.name(), children: None });
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(node) = self.open.pop() else { return };
            self.children().push(node);
        }
    }

    fn children(&mut self) -> &mut Vec<Node> {
        match self.open.last_mut() {
            Some(node) => node.children.get_or_insert_default(),
            None => &mut self.top,
        }
    }

    fn finish(mut self) -> Vec<Node> {
        self.close_to(0);
        self.top
    }
}

fn directory(name: String) -> Node {
    Node { name, r#type: "directory", children: Some(Vec::new()) }
}

//! `directory_tree`: a directory and all below it as nested JSON, in pages.
//!
//! A page holds whole entries; the directories above its first entry are repeated, so each page
//! is a tree by itself and pages merge by name.

use roothold_core::files::{EntryKind, Visit, Walk, WalkEntry, json_len};
use roothold_core::{Action, Actions, Fault, FilePath, PathGlobs, Verb, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Tool, Written};
use crate::tools::page::{Place, Room, Unreadable, note, push_json};

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
    tree: [(); 0],
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

impl Tool for DirectoryTree {
    const NAME: &'static str = "directory_tree";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Written<Page>;

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
                (Room::of(&sealing), Builder::new(), Vec::new());
            let done = walk.run(|entry| {
                if exclude.matches(entry.below) {
                    return Ok(Visit::Past);
                }
                let name = entry.shown_name();
                let above = builder.missing_above(entry);
                let names = above.iter().map(String::as_str).chain([&*name]);
                let bytes = names.map(|name| json_len(name) + NODE_BYTES).sum();
                if !room.take(bytes, entry.below)? {
                    return Ok(Visit::Stop);
                }
                builder.add(entry, &above, &name)?;
                last.clear();
                last.extend_from_slice(entry.below);
                Ok(Visit::Into)
            })?;
            let next_cursor =
                if done { None } else { Some(sealing.next_cursor(&Place::from(last))?) };
            let (problems, problems_omitted) = room.unreadable(walk.problems());
            let note = note(next_cursor.as_deref(), &problems, problems_omitted);
            let text = builder.finish();
            let page = Page {
                tree: [],
                truncated: next_cursor.is_some(),
                next_cursor,
                problems,
                problems_omitted,
            };
            let tree = text.clone();
            Written::new(&page, &tree, text, note)
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

/// Writes a nested tree from entries in order.
struct Builder {
    text: String,
    /// How many directories are open.
    depth: usize,
    /// Whether the last thing in it is the end of an entry, and not the beginning of a list.
    needs_comma: bool,
}

impl Builder {
    fn new() -> Self {
        Self { text: "[".to_owned(), depth: 0, needs_comma: false }
    }

    /// The directories above an entry that are not open: a page may begin deep in the tree.
    fn missing_above(&self, entry: &WalkEntry<'_>) -> Vec<String> {
        let missing = entry.depth.saturating_sub(self.depth);
        if missing == 0 {
            return Vec::new();
        }
        let slashes = entry.public.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let mut names: Vec<String> =
            slashes.take(missing).map(|(at, _)| shown_name(&entry.public[..at])).collect();
        names.reverse();
        names
    }

    fn add(&mut self, entry: &WalkEntry<'_>, above: &[String], name: &str) -> Result<(), Fault> {
        self.close_to(entry.depth);
        for name in above {
            self.open(name)?;
        }
        if entry.kind == EntryKind::Directory {
            return self.open(name);
        }
        self.begin(name, entry.kind)?;
        self.text.push('}');
        self.needs_comma = true;
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<(), Fault> {
        self.begin(name, EntryKind::Directory)?;
        self.text.push_str(",\"children\":[");
        self.depth += 1;
        self.needs_comma = false;
        Ok(())
    }

    fn begin(&mut self, name: &str, kind: EntryKind) -> Result<(), Fault> {
        let comma = if self.needs_comma { "," } else { "" };
        self.text.push_str(comma);
        self.text.push_str("{\"name\":");
        push_json(&mut self.text, name)?;
        self.text.push_str(",\"type\":\"");
        self.text.push_str(kind.name());
        self.text.push('"');
        Ok(())
    }

    fn close_to(&mut self, depth: usize) {
        while self.depth > depth {
            self.text.push_str("]}");
            self.depth -= 1;
            self.needs_comma = true;
        }
    }

    fn finish(mut self) -> String {
        self.close_to(0);
        self.text.push(']');
        self.text
    }
}

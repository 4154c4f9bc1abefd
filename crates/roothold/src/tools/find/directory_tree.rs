//! `directory_tree`: a directory and all below it as nested JSON, in pages.
//!
//! A page holds whole entries; the directories above its first entry are repeated, so each page
//! is a tree by itself and pages merge by name.

use std::borrow::Cow;

use roothold_core::files::{EntryKind, Visit, Walk, WalkEntry, json_len};
use roothold_core::{Action, Actions, Fault, FilePath, PathGlobs, Verb, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, FirstText, Permits, Tool, Written};
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
    /// Globs to leave out; one without `*` at any depth.
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
            description: "Shows a directory and all below it as a JSON tree. Links are not followed.",
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
            walk.for_names();
            let (mut room, mut builder, mut last) =
                (Room::of(&sealing), Builder::new(), Vec::new());
            let done = walk.run(|entry| {
                if exclude.matches(entry.below) {
                    return Ok(Visit::Past);
                }
                let name = Name::of(entry);
                let above = builder.missing_above(entry);
                let above_bytes: usize = above.iter().map(Name::bytes).sum();
                if !room.take(name.bytes() + above_bytes, entry.below)? {
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
            let (tree, text_json) = builder.finish();
            let page = Page {
                tree: [],
                truncated: next_cursor.is_some(),
                next_cursor,
                problems,
                problems_omitted,
            };
            let text = FirstText { json: text_json, bytes: tree.len() };
            Written::with_first_text(&page, tree, text, note)
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

/// A name as it is shown.
enum Name<'a> {
    /// It stands in JSON as it is, between quotes.
    Simple(&'a str),
    Other(Cow<'a, str>),
}

impl<'a> Name<'a> {
    fn of(entry: &WalkEntry<'a>) -> Self {
        entry.simple_name().map_or_else(|| Self::Other(entry.shown_name()), Self::Simple)
    }

    /// What its entry takes in a tree.
    fn bytes(&self) -> usize {
        NODE_BYTES
            + match self {
                Self::Simple(name) => name.len(),
                Self::Other(name) => json_len(name),
            }
    }
}

/// Writes a nested tree from entries in order, once as the JSON that it is and once as a JSON
/// string that holds it: to escape so many quotes afterwards costs more than to know them.
struct Builder {
    json: String,
    escaped: String,
    /// How many directories are open.
    depth: usize,
    /// Whether the last thing in it is the end of an entry, and not the beginning of a list.
    needs_comma: bool,
}

type Piece = (&'static str, &'static str);

const COMMA: Piece = (",", ",");
const NAME: Piece = ("{\"name\":", "{\\\"name\\\":");
const QUOTE: Piece = ("\"", "\\\"");
const FILE: Piece = (",\"type\":\"file\"}", ",\\\"type\\\":\\\"file\\\"}");
const SYMLINK: Piece = (",\"type\":\"symlink\"}", ",\\\"type\\\":\\\"symlink\\\"}");
const OTHER: Piece = (",\"type\":\"other\"}", ",\\\"type\\\":\\\"other\\\"}");
const DIRECTORY: Piece = (
    ",\"type\":\"directory\",\"children\":[",
    ",\\\"type\\\":\\\"directory\\\",\\\"children\\\":[",
);
const DIRECTORY_END: Piece = ("]}", "]}");

impl Builder {
    fn new() -> Self {
        let (json, escaped) = ("[".to_owned(), "\"[".to_owned());
        Self { json, escaped, depth: 0, needs_comma: false }
    }

    /// The directories above an entry that are not open: a page may begin deep in the tree.
    fn missing_above(&self, entry: &WalkEntry<'_>) -> Vec<Name<'static>> {
        let missing = entry.depth.saturating_sub(self.depth);
        if missing == 0 {
            return Vec::new();
        }
        let slashes = entry.public.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let mut names: Vec<_> = slashes
            .take(missing)
            .map(|(at, _)| Name::Other(shown_name(&entry.public[..at]).into()))
            .collect();
        names.reverse();
        names
    }

    fn add(
        &mut self,
        entry: &WalkEntry<'_>,
        above: &[Name<'_>],
        name: &Name<'_>,
    ) -> Result<(), Fault> {
        self.close_to(entry.depth);
        for name in above {
            self.open(name)?;
        }
        let rest = match entry.kind {
            EntryKind::Directory => return self.open(name),
            EntryKind::File => FILE,
            EntryKind::Symlink => SYMLINK,
            EntryKind::Other => OTHER,
        };
        self.begin(name)?;
        self.push(rest);
        self.needs_comma = true;
        Ok(())
    }

    fn open(&mut self, name: &Name<'_>) -> Result<(), Fault> {
        self.begin(name)?;
        self.push(DIRECTORY);
        self.depth += 1;
        self.needs_comma = false;
        Ok(())
    }

    fn begin(&mut self, name: &Name<'_>) -> Result<(), Fault> {
        if self.needs_comma {
            self.push(COMMA);
        }
        self.push(NAME);
        match name {
            Name::Simple(name) => {
                self.push(QUOTE);
                self.json.push_str(name);
                self.escaped.push_str(name);
                self.push(QUOTE);
            }
            Name::Other(name) => {
                let json = serde_json::to_string(name).map_err(Fault::internal)?;
                let escaped = serde_json::to_string(&json).map_err(Fault::internal)?;
                self.json.push_str(&json);
                self.escaped.push_str(&escaped[1..escaped.len() - 1]);
            }
        }
        Ok(())
    }

    fn push(&mut self, (json, escaped): Piece) {
        self.json.push_str(json);
        self.escaped.push_str(escaped);
    }

    fn close_to(&mut self, depth: usize) {
        while self.depth > depth {
            self.push(DIRECTORY_END);
            self.depth -= 1;
            self.needs_comma = true;
        }
    }

    /// The list, and the string that holds it.
    fn finish(mut self) -> (String, String) {
        self.close_to(0);
        self.json.push(']');
        self.escaped.push_str("]\"");
        (self.json, self.escaped)
    }
}

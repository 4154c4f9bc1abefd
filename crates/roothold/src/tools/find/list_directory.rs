//! `list_directory`: names and kinds, sorted, in pages.

use roothold_core::files::{EntryKind, Listing, json_len, list, list_at_once};
use roothold_core::{Action, Actions, Budget, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Tool, Written};
use crate::tools::page::{FRAME_BYTES, Place, Room, note, push_json, push_quoted};

pub(in crate::tools) struct ListDirectory;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The directory.
    path: String,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    #[schemars(with = "Vec<Entry>")]
    entries: [Entry; 0],
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Entry {
    /// The name, or a file:// URI where it holds unusual characters.
    name: String,
    /// file, directory, symlink or other.
    r#type: &'static str,
}

impl Tool for ListDirectory {
    const NAME: &'static str = "list_directory";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Written<Page>;

    fn about(&self) -> About {
        About {
            title: "List Directory",
            description: "Lists what is directly in a directory, sorted by name, with [FILE] and [DIR] prefixes.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::List, FilePath::parse(&input.path)?)))
    }

    async fn run(
        &self,
        call: Call,
        permits: Permits,
        _input: Input,
    ) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let after: Option<Vec<u8>> = call.resume()?.map(|place: Place| place.into());
        let (sealing, after) = (call.clone(), after.as_deref());
        let at_once = |budget: &Budget| {
            let is_short = budget.result_bytes_max <= AT_ONCE_BYTES_MAX;
            let listing = is_short.then(|| list_at_once(&permit)).flatten()?;
            Some(page(&listing, after, &sealing))
        };
        if let Some(page) = call.at_once(at_once) {
            return page;
        }
        let after = after.map(<[u8]>::to_vec);
        call.blocking(move |budget| page(&list(&permit, budget)?, after.as_deref(), &sealing)).await
    }
}

/// A page of at most so many bytes is made from what is in memory where the call is: that takes less
/// than 0.2 ms, and a change of threads up to half as long.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

fn page(listing: &Listing<'_>, after: Option<&[u8]>, call: &Call) -> Result<Written<Page>, Fault> {
    let mut room = Room::of(call);
    // Growing step by step would touch twice the memory.
    let bytes = listing.names_bytes().min(room.bytes());
    let mut text = String::with_capacity(bytes);
    let mut entries = String::with_capacity(2 * bytes + FRAME_BYTES);
    entries.push('[');
    let mut last = None;
    for listed in listing.after(after) {
        // {"name":"…","type":"directory"},
        let name = &*listed.name;
        let bytes = if listed.is_simple { name.len() } else { json_len(name) };
        if !room.take(bytes + 32, listed.raw)? {
            let next_cursor = last
                .map(|last: &[u8]| call.next_cursor(&Place::from(last.to_vec())))
                .transpose()?;
            return finish(entries, text, next_cursor);
        }
        if !text.is_empty() {
            text.push('\n');
            entries.push(',');
        }
        text.push_str(prefix(listed.kind));
        text.push_str(name);
        entries.push_str("{\"name\":");
        if listed.is_simple {
            push_quoted(&mut entries, name);
        } else {
            push_json(&mut entries, name)?;
        }
        entries.push_str(type_end(listed.kind));
        last = Some(listed.raw);
    }
    finish(entries, text, None)
}

/// The reference server knows directories and the rest.
pub(super) fn prefix(kind: EntryKind) -> &'static str {
    if kind == EntryKind::Directory { "[DIR] " } else { "[FILE] " }
}

/// What comes behind a name in an entry's JSON.
fn type_end(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => ",\"type\":\"file\"}",
        EntryKind::Directory => ",\"type\":\"directory\"}",
        EntryKind::Symlink => ",\"type\":\"symlink\"}",
        EntryKind::Other => ",\"type\":\"other\"}",
    }
}

fn finish(
    mut entries: String,
    text: String,
    next_cursor: Option<String>,
) -> Result<Written<Page>, Fault> {
    entries.push(']');
    let note = note(next_cursor.as_deref(), &[], 0);
    let page = Page { entries: [], truncated: next_cursor.is_some(), next_cursor };
    Written::new(&page, entries, text, note)
}

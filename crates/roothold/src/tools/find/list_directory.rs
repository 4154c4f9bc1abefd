//! `list_directory`: names and kinds, sorted, in pages.

use roothold_core::files::{EntryKind, Listing, json_len, list, list_at_once};
use roothold_core::{Action, Actions, Budget, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, FirstText, Permits, Tool, Written};
use crate::tools::page::{FRAME_BYTES, Place, Room, note, push_quoted};

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

/// What an entry takes besides its name: `{"name":"…","type":"directory"},`.
const ENTRY_BYTES: usize = 32;
/// The same in the text, where a line ends with an escape.
const LINE_BYTES: usize = 9;

fn page(listing: &Listing<'_>, after: Option<&[u8]>, call: &Call) -> Result<Written<Page>, Fault> {
    let mut room = Room::of(call);
    let mut lines = Lines::with_room(listing.most(), room.bytes());
    let mut last = None;
    for listed in listing.after(after) {
        let name = &*listed.name;
        let bytes = if listed.is_simple { name.len() } else { json_len(name) };
        if !room.take(bytes + ENTRY_BYTES, listed.raw)? {
            let next_cursor = last
                .map(|last: &[u8]| call.next_cursor(&Place::from(last.to_vec())))
                .transpose()?;
            return lines.finish(next_cursor);
        }
        lines.push(name, listed.kind, listed.is_simple)?;
        last = Some(listed.raw);
    }
    lines.finish(None)
}

/// The entries of a page in both forms, each as JSON.
struct Lines {
    entries: String,
    text: String,
    /// The bytes of the text itself.
    text_bytes: usize,
}

impl Lines {
    /// With room for so many entries and bytes of names, or for a page if that is less: growing
    /// step by step would touch twice the memory.
    fn with_room((entries, names): (usize, usize), page: usize) -> Self {
        let room = |each: usize| (names + entries * each).min(page) + FRAME_BYTES;
        let mut lines = Self {
            entries: String::with_capacity(room(ENTRY_BYTES)),
            text: String::with_capacity(room(LINE_BYTES)),
            text_bytes: 0,
        };
        lines.entries.push('[');
        lines.text.push('"');
        lines
    }

    fn push(&mut self, name: &str, kind: EntryKind, is_simple: bool) -> Result<(), Fault> {
        let is_first = self.text_bytes == 0;
        self.text_bytes += usize::from(!is_first) + prefix(kind).len() + name.len();
        if !is_first {
            self.text.push_str("\\n");
            self.entries.push(',');
        }
        self.text.push_str(prefix(kind));
        self.entries.push_str("{\"name\":");
        if is_simple {
            self.text.push_str(name);
            push_quoted(&mut self.entries, name);
        } else {
            let json = serde_json::to_string(name).map_err(Fault::internal)?;
            self.text.push_str(&json[1..json.len() - 1]);
            self.entries.push_str(&json);
        }
        self.entries.push_str(type_end(kind));
        Ok(())
    }

    fn finish(mut self, next_cursor: Option<String>) -> Result<Written<Page>, Fault> {
        self.entries.push(']');
        self.text.push('"');
        let note = note(next_cursor.as_deref(), &[], 0);
        let page = Page { entries: [], truncated: next_cursor.is_some(), next_cursor };
        let text = FirstText { json: self.text, bytes: self.text_bytes };
        Written::with_first_text(&page, self.entries, text, note)
    }
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

//! `list_directory_with_sizes`: the same with sizes, sorted as asked, and a sum.

use roothold_core::files::{EntryKind, SizedEntry, json_len, list_with_sizes};
use roothold_core::{Action, Actions, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list_directory::prefix;
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::page::{Place, Room, note};

pub(in crate::tools) struct ListDirectoryWithSizes;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The directory.
    path: String,
    /// The order: by name, or the largest first.
    #[serde(default, rename = "sortBy")]
    sort_by: SortBy,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SortBy {
    #[default]
    Name,
    Size,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    entries: Vec<Entry>,
    /// Of the whole directory, not of the page.
    total_files: usize,
    total_directories: usize,
    total_bytes: u64,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Entry {
    /// The name, or a whole file:// URI where the name holds unusual characters; both can be given back.
    name: String,
    /// file, directory, symlink or other.
    r#type: &'static str,
    /// Bytes; left out for what is no regular file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// How far a listing in this order has come: size and name of the last entry.
type Position = (u64, Place);

impl Tool for ListDirectoryWithSizes {
    const NAME: &'static str = "list_directory_with_sizes";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List Directory with Sizes",
            description: "Lists the files and directories directly in a directory with the files' sizes, sorted by \
                          name or with the largest first, and sums them up.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::List, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let after = call.resume()?.map(|(size, name): Position| (size, name.into()));
        let sealing = call.clone();
        call.blocking(move |budget| {
            let mut sized = list_with_sizes(&permit, budget)?;
            let by_size = input.sort_by == SortBy::Size;
            if by_size {
                sized.sort_by(|a, b| {
                    size_of(b).cmp(&size_of(a)).then_with(|| a.entry.raw.cmp(&b.entry.raw))
                });
            }
            let first = after.map_or(0, |after| {
                sized.partition_point(|entry| !is_after(entry, &after, by_size))
            });
            let (mut room, mut end) = (Room::of(&sealing), first);
            while let Some(SizedEntry { entry, .. }) = sized.get(end)
                && room.take(json_len(&entry.name).max(30) + 64, &entry.raw)?
            {
                end += 1;
            }
            let last = sized[first..end].last().filter(|_| end < sized.len());
            let last = last.map(|last| (size_of(last), Place::from(last.entry.raw.clone())));
            let next_cursor = last.map(|last: Position| sealing.next_cursor(&last)).transpose()?;
            Ok(page(sized, first..end, next_cursor))
        })
        .await
    }
}

fn size_of(entry: &SizedEntry) -> u64 {
    entry.size.unwrap_or(0)
}

fn is_after(entry: &SizedEntry, (size, name): &(u64, Vec<u8>), by_size: bool) -> bool {
    let later_name = entry.entry.raw > *name;
    if !by_size {
        return later_name;
    }
    size_of(entry) < *size || (size_of(entry) == *size && later_name)
}

fn page(
    sized: Vec<SizedEntry>,
    range: std::ops::Range<usize>,
    next_cursor: Option<String>,
) -> Structured<Page> {
    let is_directory = |entry: &&SizedEntry| entry.entry.kind == EntryKind::Directory;
    let total_directories = sized.iter().filter(is_directory).count();
    let total_files = sized.len() - total_directories;
    let total_bytes = sized.iter().map(size_of).sum();
    let mut lines = Vec::with_capacity(range.len() + 3);
    let mut entries = Vec::with_capacity(range.len());
    for SizedEntry { entry, size } in sized.into_iter().skip(range.start).take(range.len()) {
        let shown = if entry.kind == EntryKind::Directory {
            String::new()
        } else {
            format_size(size.unwrap_or(0))
        };
        let width = if entry.kind == EntryKind::Directory { 0 } else { 10 };
        // The reference server counts as JavaScript does, in UTF-16 units.
        let padding = 30_usize.saturating_sub(entry.name.encode_utf16().count());
        lines.push(format!("{}{}{:padding$} {shown:>width$}", prefix(entry.kind), entry.name, ""));
        entries.push(Entry { name: entry.name, r#type: entry.kind.name(), size });
    }
    lines.push(String::new());
    lines.push(format!("Total: {total_files} files, {total_directories} directories"));
    lines.push(format!("Combined size: {}", format_size(total_bytes)));
    let note = note(next_cursor.as_deref(), &[], 0);
    let truncated = next_cursor.is_some();
    let value =
        Page { entries, total_files, total_directories, total_bytes, truncated, next_cursor };
    Structured { value, text: lines.join("\n"), note }
}

/// Bytes as the reference server writes them: steps of 1,024, two decimals.
fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::format_size;

    #[test]
    fn sizes_read_as_the_reference_server_writes_them() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KB"),
            (1536, "1.50 KB"),
            (1 << 20, "1.00 MB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text);
        }
    }
}

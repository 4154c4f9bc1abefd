//! `list_directory_with_sizes`: the same with sizes, sorted as asked, and a sum.

use roothold_core::files::{EntryKind, SizedEntry, json_len, list_with_sizes};
use roothold_core::{Action, Actions, Budget, Fault, FilePath, Verb};
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
    /// Default: name.
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
    /// The name, or a file:// URI where it holds unusual characters.
    name: String,
    /// file, directory, symlink or other.
    r#type: &'static str,
    /// Bytes; left out for what is no regular file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// How far a listing in this order has come: the last entry, and the sums, so that a later page
/// need not look at every file again.
#[derive(Serialize, Deserialize)]
struct Position {
    size: u64,
    name: Place,
    totals: Totals,
}

/// Sums over the whole directory.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Totals {
    files: usize,
    directories: usize,
    bytes: u64,
}

impl Tool for ListDirectoryWithSizes {
    const NAME: &'static str = "list_directory_with_sizes";
    const PAGED: bool = true;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List Directory with Sizes",
            description: "As list_directory, with the files' sizes and their sum; by name or the \
                          largest first.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::List, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let after: Option<Position> = call.resume()?;
        let sealing = call.clone();
        call.blocking(move |budget| {
            let found = list_with_sizes(&permit, budget)?;
            let by_size = input.sort_by == SortBy::Size;
            let known = after.as_ref().map(|position| position.totals);
            let after = after.map(|position| (position.size, Vec::from(position.name)));
            let name = after.as_ref().map(|(_, name)| name.clone());
            // A later page by name looks at its own files only; any other page at all, once.
            let all = match (by_size, known) {
                (false, Some(_)) => None,
                _ => Some(collect(found.after(None), budget)?),
            };
            let totals = known.unwrap_or_else(|| all.as_deref().map(sums).unwrap_or_default());
            let rest: Box<dyn Iterator<Item = SizedEntry<'_>>> = match all {
                Some(all) if by_size => Box::new(largest_first(all, after)),
                Some(all) => Box::new(all.into_iter()),
                None => Box::new(found.after(name.as_deref())),
            };
            let (mut room, mut shown, mut more) = (Room::of(&sealing), Vec::new(), false);
            for sized in rest {
                budget.check()?;
                let width = json_len(&sized.entry.name).max(NAME_WIDTH);
                if !room.take(width + 64, sized.entry.raw)? {
                    more = true;
                    break;
                }
                shown.push(sized);
            }
            let last = shown.last().filter(|_| more).map(|last| Position {
                size: size_of(last),
                name: Place::from(last.entry.raw.to_vec()),
                totals,
            });
            let next_cursor = last.map(|last| sealing.next_cursor(&last)).transpose()?;
            Ok(page(shown, totals, next_cursor))
        })
        .await
    }
}

/// The width that the reference server pads names to.
const NAME_WIDTH: usize = 30;

/// All entries; each is looked at on disk as it comes, so the budget is asked meanwhile.
fn collect<'a>(
    entries: impl Iterator<Item = SizedEntry<'a>>,
    budget: &Budget,
) -> Result<Vec<SizedEntry<'a>>, Fault> {
    const CHECK_EVERY: usize = 256;
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry);
        if all.len().is_multiple_of(CHECK_EVERY) {
            budget.check()?;
        }
    }
    Ok(all)
}

fn sums(all: &[SizedEntry<'_>]) -> Totals {
    let mut totals = Totals::default();
    for sized in all {
        if sized.entry.kind == EntryKind::Directory {
            totals.directories += 1;
        } else {
            totals.files += 1;
        }
        // A sparse file can be as large as its file system allows.
        totals.bytes = totals.bytes.saturating_add(size_of(sized));
    }
    totals
}

/// All entries by falling size, then by name, from the one after `after`.
fn largest_first(
    mut all: Vec<SizedEntry<'_>>,
    after: Option<(u64, Vec<u8>)>,
) -> impl Iterator<Item = SizedEntry<'_>> {
    all.sort_by(|a, b| size_of(b).cmp(&size_of(a)).then_with(|| a.entry.raw.cmp(b.entry.raw)));
    let is_after = |entry: &SizedEntry<'_>, (size, name): &(u64, Vec<u8>)| {
        size_of(entry) < *size || (size_of(entry) == *size && entry.entry.raw > name.as_slice())
    };
    let first = after.map_or(0, |after| all.partition_point(|entry| !is_after(entry, &after)));
    all.into_iter().skip(first)
}

fn size_of(entry: &SizedEntry<'_>) -> u64 {
    entry.size.unwrap_or(0)
}

fn page(
    shown: Vec<SizedEntry<'_>>,
    totals: Totals,
    next_cursor: Option<String>,
) -> Structured<Page> {
    let mut lines = Vec::with_capacity(shown.len() + 3);
    let mut entries = Vec::with_capacity(shown.len());
    for SizedEntry { entry, size } in shown {
        let is_directory = entry.kind == EntryKind::Directory;
        let shown = if is_directory { String::new() } else { format_size(size.unwrap_or(0)) };
        let width = if is_directory { 0 } else { 10 };
        // The reference server counts as JavaScript does, in UTF-16 units.
        let padding = NAME_WIDTH.saturating_sub(entry.name.encode_utf16().count());
        lines.push(format!("{}{}{:padding$} {shown:>width$}", prefix(entry.kind), entry.name, ""));
        entries.push(Entry { name: entry.name.into_owned(), r#type: entry.kind.name(), size });
    }
    lines.push(String::new());
    lines.push(format!("Total: {} files, {} directories", totals.files, totals.directories));
    lines.push(format!("Combined size: {}", format_size(totals.bytes)));
    let note = note(next_cursor.as_deref(), &[], 0);
    let value = Page {
        entries,
        total_files: totals.files,
        total_directories: totals.directories,
        total_bytes: totals.bytes,
        truncated: next_cursor.is_some(),
        next_cursor,
    };
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
    use std::time::Duration;

    use roothold_core::FaultKind;
    use roothold_core::files::Listed;

    use super::*;

    fn file(name: &str, size: u64) -> SizedEntry<'_> {
        let (raw, kind) = (name.as_bytes(), EntryKind::File);
        let entry = Listed { name: name.into(), raw, kind, is_simple: false };
        SizedEntry { entry, size: Some(size) }
    }

    #[test]
    fn sums_end_at_the_largest_number() {
        let totals = sums(&[file("a", u64::MAX), file("b", 2)]);
        assert_eq!((totals.files, totals.bytes), (2, u64::MAX));
    }

    #[test]
    fn looking_at_every_file_ends_with_the_call() {
        let budget = Budget::new(1, 1, Duration::from_mins(1));
        budget.cancel();
        let endless = std::iter::repeat_with(|| file("a", 1));
        assert_eq!(collect(endless, &budget).unwrap_err().kind(), FaultKind::Cancelled);
    }

    #[test]
    fn the_largest_come_first_and_equal_ones_by_name() {
        let all = || vec![file("a", 1), file("b", 3), file("c", 3), file("d", 2)];
        let names = |after: Option<(u64, &str)>| -> Vec<_> {
            let after = after.map(|(size, name)| (size, name.as_bytes().to_vec()));
            largest_first(all(), after).map(|sized| sized.entry.name).collect()
        };
        assert_eq!(names(None), ["b", "c", "d", "a"]);
        assert_eq!(names(Some((3, "b"))), ["c", "d", "a"]);
        assert_eq!(names(Some((1, "a"))), [""; 0]);
    }

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

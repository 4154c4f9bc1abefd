//! What can be done with files: every function takes a [`Permit`](crate::Permit) and a
//! [`Budget`](crate::Budget).
//!
//! Nothing here formats an answer for a client; the server's tools do. Results are values with
//! their partial problems, so that ten unreadable folders do not hide the other thousand.

mod delete;
mod diff;
mod edit;
mod encoding;
mod fresh;
mod hints;
mod index;
mod info;
mod list;
mod make;
mod output;
mod precondition;
mod read;
mod relocate;
mod search;
mod source;
mod stamp;
mod store;
mod sweep;
mod text;
mod walk;
mod watch;
mod write;

pub use crate::gate::entries::EntryKind;
pub use delete::delete;
pub use diff::Diff;
pub use edit::{Edit, EditRequest, Edited, edit};
pub use encoding::Encoding;
pub use hints::{Hint, HintId, Hints};
pub use index::Index;
pub use info::{FileInfo, Timestamp, info};
pub use list::{Listed, Listing, SizedEntry, SizedListing, list, list_at_once, list_with_sizes};
pub use make::{Made, make_directory};
pub use output::{KeptName, OutputFile, OutputMark, OutputOptions};
pub use precondition::Precondition;
pub use read::{Bytes, read_whole};
pub use relocate::{Moved, move_entry};
pub use search::{
    At, CONTEXT_LINES_MAX, FoundFile, FoundLine, LineKind, PATTERN_BYTES_MAX, Pattern, PatternSpec,
    Position, Search, Searched, Shows, Taken, Taker, Totals, search,
};
pub use source::{Drift, FoundSources, SourceFile, find_sources};
pub(crate) use stamp::times_are_of_this_machine;
pub use store::{CacheFigures, Store};
pub use sweep::sweep_left;
pub use text::{
    Content, KeptTexts, LineMarks, Resume, TextPage, TextRange, json_len, read_text,
    read_text_at_once, read_text_unhashed,
};
pub use walk::{Problem, Visit, WALK_DEPTH_MAX, Walk, WalkEntry};
pub use watch::{Look, Watched};
pub use write::{WriteOptions, Written, write};

#[cfg(test)]
mod tests;

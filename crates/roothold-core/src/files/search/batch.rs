//! Files that are handed to a thread together, and what came of them.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::scan::{Scanned, Scanner, Source};
use super::{At, FoundFile};
use crate::fault::Fault;
use crate::files::source::reason;
use crate::files::walk::{Problem, WalkEntry};
use crate::gate;
use crate::path::shown;
use crate::roots::Hardlinks;

/// Files of the first batch, so that a page that fills at once looks at little, and of the largest.
const FILES_FIRST: usize = 16;
const FILES_MAX: usize = 128;
/// Directories of a batch: each is a handle that is open until the batch is done.
const DIRECTORIES_MAX: usize = 8;

/// Files, in the order of the walk.
#[derive(Debug, Default)]
pub(super) struct Batch {
    directories: Vec<Arc<OwnedFd>>,
    /// The public paths, one after the other.
    paths: Vec<u8>,
    files: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    directory: usize,
    public: Range<usize>,
    /// Where in `paths` the path below the directory searched begins, and the name.
    below_at: usize,
    name_at: usize,
    at: Option<At>,
}

impl Batch {
    /// Adds a file; `at` is where an earlier page ended in it.
    ///
    /// # Errors
    /// As [`WalkEntry::directory`].
    pub(super) fn push(&mut self, entry: &WalkEntry<'_>, at: Option<At>) -> Result<(), Fault> {
        let holder = entry.directory()?;
        let is_known = |known: &Arc<OwnedFd>| Arc::ptr_eq(known, holder);
        // Files of one directory mostly come one after the other.
        let directory = self.directories.iter().rposition(is_known).unwrap_or_else(|| {
            self.directories.push(Arc::clone(holder));
            self.directories.len() - 1
        });
        let start = self.paths.len();
        self.paths.extend_from_slice(entry.public);
        let end = self.paths.len();
        self.files.push(Job {
            directory,
            public: start..end,
            below_at: end - entry.below.len(),
            name_at: end - entry.name.len(),
            at,
        });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether it is to be handed out, as the one with this number.
    pub(super) fn is_full(&self, number: u64) -> bool {
        let grown = FILES_FIRST << number.min(8);
        self.files.len() >= grown.min(FILES_MAX) || self.directories.len() >= DIRECTORIES_MAX
    }

    /// The path of a file below the directory that is searched.
    fn below(&self, index: usize) -> &[u8] {
        let job = &self.files[index];
        &self.paths[job.below_at..job.public.end]
    }

    /// Opens and looks at one file after the other.
    ///
    /// # Errors
    /// The leash's own; `Busy` when handles run out.
    pub(super) fn scan(
        &self,
        scanner: &mut Scanner<'_>,
        hardlinks: Hardlinks,
        room: usize,
    ) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        let mut room = room;
        for index in 0..self.files.len() {
            self.scan_one(index, scanner, hardlinks, &mut room, &mut outcome)?;
            outcome.scanned = index + 1;
            if room == 0 && outcome.scanned < self.files.len() {
                outcome.cut_after = Some(self.below(index).to_vec());
                break;
            }
        }
        Ok(outcome)
    }

    fn scan_one(
        &self,
        index: usize,
        scanner: &mut Scanner<'_>,
        hardlinks: Hardlinks,
        room: &mut usize,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let job = &self.files[index];
        let public = &self.paths[job.public.clone()];
        let name = &self.paths[job.name_at..job.public.end];
        let notes = &mut outcome.notes;
        let problem = |reason| Problem { path: shown(public), reason };
        let directory = self.directories[job.directory].as_fd();
        let (handle, stat) = match gate::open_file_entry(directory, name, hardlinks) {
            Ok(opened) => opened,
            Err(unserved) => {
                let what = What::Unserved(problem(reason(unserved)?));
                notes.push(Note { index, what });
                return Ok(());
            }
        };
        let source = Source { handle: &handle, stat: &stat, at: job.at.as_ref(), room: *room };
        let result = scanner.scan(&source, |remark| {
            notes.push(Note { index, what: What::Remark(problem(remark)) });
        })?;
        match result {
            Scanned::Binary => notes.push(Note { index, what: What::Binary }),
            Scanned::Text(None) => {}
            Scanned::Text(Some(found)) => {
                let path = shown(public);
                *room = room.saturating_sub(found.bytes() + path.len());
                let found = FoundFile { path, below: self.below(index).to_vec(), ..found };
                notes.push(Note { index, what: What::Found(found) });
            }
        }
        Ok(())
    }
}

impl FoundFile {
    /// The least that it takes in an answer, besides its path.
    fn bytes(&self) -> usize {
        /// The names around a path and the lines.
        const FRAME: usize = 20;
        FRAME + self.lines.iter().map(|line| line.text.len() + FRAME).sum::<usize>()
    }
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What there is to say of its files, in their order.
    pub(super) notes: Vec<Note>,
    /// How many of its files were looked at.
    pub(super) scanned: usize,
    /// The last of them, if there was no room for what the others may hold.
    pub(super) cut_after: Option<Vec<u8>>,
}

/// Something about one file.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) index: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Found(FoundFile),
    Binary,
    /// It was searched; this is to be said besides.
    Remark(Problem),
    /// It was not searched.
    Unserved(Problem),
}

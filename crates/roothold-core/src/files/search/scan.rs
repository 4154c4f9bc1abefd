//! One thread's search: from an opened file to the lines of it that match.
//!
//! A small file is read with one call and looked at in place. A larger one goes through a buffer,
//! and is never in memory as a whole, unless a match may span lines.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use grep_matcher::LineTerminator;
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use rustix::fs::Stat;
use rustix::io::{Errno, pread};

use super::leash::Leash;
use super::pattern::{Class, Leashed};
use super::sink::{Broken, LineSink};
use super::{At, FoundFile, Search};
use crate::fault::{Fault, FaultKind};
use crate::files::encoding::Encoding;
use crate::files::read::{read_at, version_of};

/// Up to this size a file is read with one call.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// What became of one file.
#[derive(Debug)]
pub(super) enum Scanned {
    /// It was looked at; `None`: nothing in it matched.
    Text(Option<FoundFile>),
    Binary,
}

/// One thread's means.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    search: &'a Search,
    leash: &'a Leash<'a>,
    pattern: Leashed<'a>,
    searcher: Searcher,
    small: Vec<u8>,
    whole: Vec<u8>,
}

/// A file to look at.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) handle: &'a OwnedFd,
    pub(super) stat: &'a Stat,
    /// Where an earlier page ended in it.
    pub(super) at: Option<&'a At>,
    /// How much text may be collected from it.
    pub(super) room: usize,
}

/// Something about the file that the caller should hear of.
pub(super) type Remark = &'static str;

impl<'a> Scanner<'a> {
    pub(super) fn new(search: &'a Search, leash: &'a Leash<'a>) -> Self {
        let class = search.pattern.class();
        let is_multiline = search.pattern.is_multiline();
        let bytes_max = if is_multiline { class.whole_bytes_max } else { class.line_bytes_max };
        let mut builder = SearcherBuilder::new();
        builder
            .line_terminator(if is_multiline {
                LineTerminator::byte(b'\n')
            } else {
                LineTerminator::crlf()
            })
            .line_number(true)
            .multi_line(is_multiline)
            .before_context(search.before_shown())
            .after_context(search.after_shown())
            .binary_detection(BinaryDetection::none())
            .memory_map(MmapChoice::never())
            .heap_limit(Some(SMALL_BYTES_MAX.max(bytes_max)));
        Self {
            search,
            leash,
            pattern: search.pattern.on(leash),
            searcher: builder.build(),
            small: vec![0; SMALL_BYTES_MAX + 1],
            whole: Vec::new(),
        }
    }

    /// Looks at one file.
    ///
    /// # Errors
    /// The leash's own.
    pub(super) fn scan(
        &mut self,
        source: &Source<'_>,
        mut remark: impl FnMut(Remark),
    ) -> Result<Scanned, Fault> {
        match self.look(source, &mut remark) {
            // One bad block of a disk must not hide what the other files hold.
            Err(fault) if fault.kind() == FaultKind::Internal => {
                remark("could not be read to its end");
                Ok(Scanned::Text(None))
            }
            other => other,
        }
    }

    fn look(
        &mut self,
        source: &Source<'_>,
        mut remark: impl FnMut(Remark),
    ) -> Result<Scanned, Fault> {
        let leash = self.leash;
        leash.check()?;
        let at = source.at.filter(|at| {
            let is_same = at.version == version_of(source.stat);
            if !is_same && at.next_line > 0 {
                remark("changed since the page before; it was searched again from its beginning");
            }
            is_same
        });
        let filled = self.fill_small(source)?;
        let start = &self.small[..filled];
        let marked = Encoding::by_mark(start);
        let text = &start[marked.map_or(0, |marked| marked.mark().len())..];
        if marked.unwrap_or(Encoding::Utf8).refuse_binary(text).is_err() {
            return Ok(Scanned::Binary);
        }
        let is_small = filled <= SMALL_BYTES_MAX;
        let is_whole = self.searcher.multi_line_with_matcher(&self.pattern);
        // Elsewhere a page is taken up where the one before ended, and not by looking again.
        let can_start_inside = !is_small && !is_whole && marked.is_none();
        let base = at.filter(|at| can_start_inside && !is_mark(source, at.offset));
        let mut sink = LineSink::new(self.search, &self.pattern, source, at, base);
        let broken = if is_small {
            self.searcher.search_slice(&self.pattern, &self.small[..filled], &mut sink)
        } else if !is_whole {
            let trouble = RefCell::new(None);
            let offset = base.map_or(0, |at| at.offset);
            let blocks = Blocks { file: source.handle.as_fd(), offset, leash, trouble: &trouble };
            let broken = self.searcher.search_reader(&self.pattern, blocks, &mut sink);
            if let Some(fault) = trouble.into_inner() {
                return Err(fault);
            }
            broken
        } else if fill_whole(source, self.search.pattern.class(), &mut self.whole, leash)? {
            self.searcher.search_slice(&self.pattern, &self.whole, &mut sink)
        } else {
            remark("is too large for matches that span lines; search it without multiline");
            return Ok(Scanned::Text(None));
        };
        match broken {
            Ok(()) => {}
            Err(Broken::Stopped) => leash.check()?,
            Err(Broken::TooLong) => {
                remark("has a line too long to search in, and was searched up to there");
            }
        }
        Ok(Scanned::Text(sink.finish(source, at)))
    }

    /// Reads the beginning of the file, one byte more than a small one has.
    fn fill_small(&mut self, source: &Source<'_>) -> Result<usize, Fault> {
        let mut filled = 0;
        loop {
            match pread(source.handle, &mut self.small[filled..], filled as u64) {
                Ok(0) => return Ok(filled),
                Ok(got) => filled += got,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Fault::internal(errno)),
            }
            // What is there is all that was there when it was opened.
            let is_all = u64::try_from(source.stat.st_size).is_ok_and(|size| size == filled as u64);
            if is_all || filled > SMALL_BYTES_MAX {
                return Ok(filled);
            }
        }
    }
}

/// Whether the searcher would take what stands inside of a file for the mark of an encoding.
fn is_mark(source: &Source<'_>, offset: u64) -> bool {
    let mut start = [0; 3];
    let got = pread(source.handle, &mut start, offset).unwrap_or(0);
    Encoding::by_mark(&start[..got]).is_some()
}

/// Reads a file that must fit into memory; `false`, if it is too large.
fn fill_whole(
    source: &Source<'_>,
    class: Class,
    into: &mut Vec<u8>,
    leash: &Leash<'_>,
) -> Result<bool, Fault> {
    let bytes_max = class.whole_bytes_max;
    into.clear();
    if u64::try_from(source.stat.st_size).is_ok_and(|size| size > bytes_max as u64) {
        return Ok(false);
    }
    read_at(source.handle, 0, bytes_max + 1, into, leash.budget())?;
    Ok(into.len() <= bytes_max)
}

/// A file as the searcher reads it: from some offset, as long as the leash allows.
pub(super) struct Blocks<'a> {
    pub(super) file: BorrowedFd<'a>,
    pub(super) offset: u64,
    pub(super) leash: &'a Leash<'a>,
    /// Why reading ended, where that is not the file's end.
    pub(super) trouble: &'a RefCell<Option<Fault>>,
}

impl io::Read for Blocks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let fault = match self.leash.check() {
                Err(fault) => fault,
                Ok(()) => match pread(self.file, &mut *into, self.offset) {
                    Ok(got) => {
                        self.offset += got as u64;
                        return Ok(got);
                    }
                    Err(Errno::INTR) => continue,
                    Err(errno) => Fault::internal(errno),
                },
            };
            self.trouble.replace(Some(fault));
            return Err(io::Error::other("stopped"));
        }
    }
}

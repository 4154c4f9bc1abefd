//! The bytes that pages are cut from: a small file as a whole, others piece by piece.

use std::sync::{Arc, OnceLock};

use super::marks::LineMarks;
use crate::budget::Budget;
use crate::fault::Fault;
use crate::files::encoding::{Encoding, Evidence};
use crate::files::read::{content_hash, read_at, read_into};
use crate::files::store::{Keeping, Store};
use crate::gate::Opened;
use crate::policy::Permit;

/// Up to this size a partial read also hashes the whole file, so that it can be edited; and its
/// encoding is that of all of it.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;
/// What the encoding of a page of a large file is judged by besides the page, if that is in doubt.
const HEAD_BYTES: usize = 64 * 1024;
const MARK_BYTES_MAX: usize = 3;

/// All of a small file, and what was made of it.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    encoding: Encoding,
    hash: OnceLock<String>,
}

/// What is kept of the files that were read as text.
#[derive(Debug)]
pub struct KeptTexts {
    /// Small files as a whole.
    pub contents: Store<Content>,
    /// Where lines of large files begin.
    pub lines: Store<LineMarks>,
}

impl KeptTexts {
    /// The most bytes of small files that are kept unless it is told otherwise.
    pub const CONTENT_BYTES_MAX_DEFAULT: usize = 16 * 1024 * 1024;
    /// The most bytes of marks that are kept unless it is told otherwise: those of 500 GiB.
    pub const LINES_BYTES_MAX_DEFAULT: usize = 4 * 1024 * 1024;
}

impl Default for KeptTexts {
    fn default() -> Self {
        Self {
            contents: Store::new(Self::CONTENT_BYTES_MAX_DEFAULT),
            lines: Store::new(Self::LINES_BYTES_MAX_DEFAULT),
        }
    }
}

/// A file that was opened through the gate.
pub(super) struct Source<'a> {
    opened: &'a Opened,
    lines: &'a Store<LineMarks>,
    budget: &'a Budget,
    pub(super) size: u64,
    /// What the mark says, or for a small file all of it.
    encoding: Encoding,
    whole: Option<Arc<Content>>,
    /// Whether marks of lines may be kept; asked before anything was read.
    keeping: Option<Keeping>,
}

impl<'a> Source<'a> {
    /// Reads a small file as a whole, once, so that its hash is that of the bytes the page is
    /// cut from; of others no more than the mark.
    ///
    /// # Errors
    /// `Internal`; the budget's own.
    pub(super) fn open(
        permit: &'a Permit,
        opened: &'a Opened,
        budget: &'a Budget,
    ) -> Result<Self, Fault> {
        let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
        let lines = &permit.texts().lines;
        let source = |encoding, whole, keeping| Self {
            opened,
            lines,
            budget,
            size,
            encoding,
            whole,
            keeping,
        };
        if size <= WHOLE_BYTES_MAX {
            let content = content_of(permit, opened, budget)?;
            return Ok(source(content.encoding, Some(content), None));
        }
        let keeping = lines.keeping(&opened.handle, &opened.stat);
        let mut bytes = Vec::new();
        read_at(&opened.handle, 0, MARK_BYTES_MAX, &mut bytes, budget)?;
        Ok(source(Encoding::by_mark(&bytes).unwrap_or(Encoding::Utf8), None, keeping))
    }

    /// The encoding as far as lines and marks depend on it.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The hash of the content, where it was read as a whole.
    pub(super) fn hash(&self) -> Option<String> {
        let content = self.whole.as_deref()?;
        Some(content.hash.get_or_init(|| content_hash(&content.bytes)).clone())
    }

    /// The marks of lines that were found before; none for what is searched through as fast.
    pub(super) fn marks(&self) -> Arc<LineMarks> {
        if self.size <= LineMarks::FILE_BYTES_MIN {
            return Arc::default();
        }
        self.lines.get(&self.opened.stat).unwrap_or_default()
    }

    /// Keeps marks for the next search, if no other one came further meanwhile.
    pub(super) fn keep_marks(&self, mut marks: Arc<LineMarks>) {
        let Some(keeping) = &self.keeping else { return };
        let known = self.lines.look(&self.opened.stat).map_or(0, |known| known.end());
        if marks.end() > known {
            LineMarks::shrink(&mut marks);
            let bytes = marks.bytes();
            self.lines.keep(keeping, marks, bytes);
        }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        self.budget.check()
    }

    /// Up to `len` bytes from `offset`, or what is there; in `buffer` where they are not in
    /// memory yet.
    ///
    /// # Errors
    /// `Internal`; the budget's own.
    pub(super) fn block<'b>(
        &'b self,
        offset: u64,
        len: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Fault> {
        if let Some(Content { bytes: whole, .. }) = self.whole.as_deref() {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            return Ok(&whole[start..whole.len().min(start.saturating_add(len))]);
        }
        // Not cleared before: to set a block to zero takes as long as to look through it.
        buffer.resize(len, 0);
        let filled = read_into(&self.opened.handle, offset, buffer, self.budget)?;
        Ok(&buffer[..filled])
    }

    /// The encoding of a page that was read from `start`.
    ///
    /// The bytes of a large file are never seen all, so without a mark the page itself decides,
    /// and the file's head where the page is not valid UTF-8.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub(super) fn encoding_of(&self, start: u64, page: &[u8]) -> Result<Encoding, Fault> {
        if self.whole.is_some() || self.encoding != Encoding::Utf8 {
            return Ok(self.encoding);
        }
        let is_end = start + page.len() as u64 >= self.size;
        // A range of bytes may begin within a character, which says nothing.
        let cut_off = page.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        let page = &page[if start > 0 { cut_off } else { 0 }..];
        let mut evidence = Evidence::default();
        evidence.add(page, is_end);
        if !evidence.is_utf8() {
            let mut head = Vec::new();
            evidence.add(self.block(0, HEAD_BYTES, &mut head)?, false);
        }
        Ok(evidence.encoding())
    }
}

/// All of a small file: what is kept of it, or read now.
fn content_of(permit: &Permit, opened: &Opened, budget: &Budget) -> Result<Arc<Content>, Fault> {
    let contents = &permit.texts().contents;
    if let Some(content) = contents.get(&opened.stat) {
        return Ok(content);
    }
    let keeping = contents.keeping(&opened.handle, &opened.stat);
    let size = usize::try_from(opened.stat.st_size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size);
    read_at(&opened.handle, 0, size, &mut bytes, budget)?;
    let encoding = Encoding::by_mark(&bytes).unwrap_or_else(|| {
        let mut evidence = Evidence::default();
        evidence.add(&bytes, true);
        evidence.encoding()
    });
    let content = Arc::new(Content { bytes, encoding, hash: OnceLock::new() });
    if let Some(keeping) = keeping {
        contents.keep(&keeping, Arc::clone(&content), size);
    }
    Ok(content)
}

//! The bytes that pages are cut from: a small file as a whole, others piece by piece.

use std::os::fd::{AsFd, BorrowedFd};

use crate::budget::Budget;
use crate::fault::Fault;
use crate::files::encoding::{Encoding, Evidence};
use crate::files::read::{content_hash, read_at};
use crate::gate::Opened;

/// Up to this size a partial read also hashes the whole file, so that it can be edited; and its
/// encoding is that of all of it.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;
/// What the encoding of a page of a large file is judged by besides the page, if that is in doubt.
const HEAD_BYTES: usize = 64 * 1024;
const MARK_BYTES_MAX: usize = 3;

/// A file that was opened through the gate.
pub(super) struct Source<'a> {
    file: BorrowedFd<'a>,
    budget: &'a Budget,
    pub(super) size: u64,
    /// What the mark says, or for a small file all of it.
    encoding: Encoding,
    whole: Option<Vec<u8>>,
}

impl<'a> Source<'a> {
    /// Reads a small file as a whole, once, so that its hash is that of the bytes the page is
    /// cut from; of others no more than the mark.
    ///
    /// # Errors
    /// `Internal`; the budget's own.
    pub(super) fn open(opened: &'a Opened, budget: &'a Budget) -> Result<Self, Fault> {
        let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
        let file = opened.handle.as_fd();
        let is_small = size <= WHOLE_BYTES_MAX;
        let len = if is_small { usize::try_from(size).unwrap_or(0) } else { MARK_BYTES_MAX };
        let mut bytes = Vec::new();
        read_at(file, 0, len, &mut bytes, budget)?;
        let encoding = Encoding::by_mark(&bytes).unwrap_or_else(|| {
            let mut evidence = Evidence::default();
            if is_small {
                evidence.add(&bytes, true);
            }
            evidence.encoding()
        });
        Ok(Self { file, budget, size, encoding, whole: is_small.then_some(bytes) })
    }

    /// The encoding as far as lines and marks depend on it.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The hash of the content, where it was read as a whole.
    pub(super) fn hash(&self) -> Option<String> {
        self.whole.as_deref().map(content_hash)
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
        if let Some(whole) = &self.whole {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            return Ok(&whole[start..whole.len().min(start.saturating_add(len))]);
        }
        buffer.clear();
        read_at(self.file, offset, len, buffer, self.budget)?;
        Ok(buffer)
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

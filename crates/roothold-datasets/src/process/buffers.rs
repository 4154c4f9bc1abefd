//! Buffers for the text of chunks, used again: what is given back and asked for anew is held twice while
//! the allocator keeps it, and costs a page fault for each of its pages.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::give_way;

/// The most that is read at once.
const READ_BYTES: usize = 256 * 1024;

/// Buffers that are free.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How many are kept.
    most: usize,
    /// The longest that is kept, in bytes.
    bytes_max: usize,
}

impl Buffers {
    /// Keeps up to `most`, of up to `bytes_max` bytes each.
    pub(super) fn new(most: usize, bytes_max: usize) -> Self {
        Self { free: Arc::default(), most, bytes_max }
    }

    /// An empty text.
    pub(super) fn text(&self) -> ChunkText {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        ChunkText { bytes: free.unwrap_or_default(), len: 0, home: self.clone() }
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.most && bytes.capacity() <= self.bytes_max {
            free.push(bytes);
        }
    }
}

/// Text in a buffer that goes back when it is dropped.
pub(super) struct ChunkText {
    /// What is behind `len` is left of other texts.
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl ChunkText {
    /// Adds bytes.
    pub(super) fn push(&mut self, more: &[u8]) {
        let len = self.len + more.len();
        self.make_room(len);
        self.bytes[self.len..len].copy_from_slice(more);
        self.len = len;
    }

    /// Reads until it has `target` bytes; `false` if there are not so many.
    pub(super) fn read_up_to(&mut self, target: usize, read: &mut dyn Read) -> io::Result<bool> {
        self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
        while self.len < target {
            // Memory that nothing is read into is not touched.
            let end = target.min(self.len + READ_BYTES);
            self.make_room(end);
            give_way();
            match read.read(&mut self.bytes[self.len..end]) {
                Ok(0) => return Ok(false),
                Ok(more) => self.len += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Leaves out what is behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn make_room(&mut self, len: usize) {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }
}

impl Deref for ChunkText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for ChunkText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkText({} bytes)", self.len)
    }
}

impl Drop for ChunkText {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_shows_nothing_of_the_text_before() {
        let buffers = Buffers::new(1, 8);
        let mut first = buffers.text();
        assert!(first.read_up_to(6, &mut &b"secret text"[..]).unwrap());
        assert_eq!(*first, *b"secret");
        let place = first.bytes.as_ptr();
        drop(first);
        let mut second = buffers.text();
        assert_eq!(second.bytes.as_ptr(), place);
        assert!(second.is_empty());
        second.push(b"a");
        assert!(!second.read_up_to(6, &mut &b"b"[..]).unwrap());
        assert_eq!(*second, *b"ab");
        second.truncate(1);
        assert_eq!(*second, *b"a");
    }

    #[test]
    fn few_are_kept_and_none_that_is_long() {
        let buffers = Buffers::new(1, 8);
        let mut texts = [buffers.text(), buffers.text()];
        for text in &mut texts {
            text.push(b"12345678");
        }
        drop(texts);
        assert_eq!(buffers.free.lock().unwrap().len(), 1);
        buffers.text().push(b"123456789");
        assert_eq!(buffers.free.lock().unwrap().len(), 0);
    }
}

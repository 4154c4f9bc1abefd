//! UTF-16 and Windows-1252 to UTF-8, as it is read.

use std::io::{self, Read};

use roothold_core::Fault;
use roothold_core::files::Encoding;

use crate::options::TextEncoding;

/// How much is decoded at once.
const BLOCK_BYTES: usize = 64 * 1024;
const MARK: u16 = 0xfeff;

/// A reader of UTF-8 over one of something else.
pub(super) struct Transcoder {
    inner: Box<dyn Read + Send>,
    encoding: TextEncoding,
    raw: Vec<u8>,
    /// How much of `raw` is filled with what is not decoded yet.
    filled: usize,
    text: Vec<u8>,
    given: usize,
    is_begun: bool,
    is_end: bool,
}

impl Transcoder {
    pub(super) fn new(inner: Box<dyn Read + Send>, encoding: TextEncoding) -> Self {
        Self {
            inner,
            encoding,
            raw: vec![0; BLOCK_BYTES],
            filled: 0,
            text: Vec::new(),
            given: 0,
            is_begun: false,
            is_end: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        while self.text.is_empty() && !self.is_end {
            let got = self.inner.read(&mut self.raw[self.filled..])?;
            self.is_end = got == 0;
            self.filled += got;
            let used = match self.encoding {
                TextEncoding::Windows1252 => self.single_bytes()?,
                _ => self.units()?,
            };
            self.raw.copy_within(used..self.filled, 0);
            self.filled -= used;
        }
        Ok(())
    }

    fn single_bytes(&mut self) -> io::Result<usize> {
        let text = Encoding::Windows1252
            .decode(&self.raw[..self.filled])
            .map_err(|_| io::Error::other(Fault::invalid("it is not windows-1252")))?;
        self.text.extend_from_slice(text.as_bytes());
        Ok(self.filled)
    }

    fn units(&mut self) -> io::Result<usize> {
        let mut units: Vec<u16> = self.raw[..self.filled]
            .chunks_exact(2)
            .map(|pair| match self.encoding {
                TextEncoding::Utf16Be => u16::from_be_bytes([pair[0], pair[1]]),
                _ => u16::from_le_bytes([pair[0], pair[1]]),
            })
            .collect();
        let is_high = |unit: &u16| (0xd800..0xdc00).contains(unit);
        if !self.is_end && units.last().is_some_and(is_high) {
            units.pop();
        }
        let used = units.len() * 2;
        if self.is_end && used < self.filled {
            return Err(not_utf16());
        }
        let from = usize::from(!self.is_begun && units.first() == Some(&MARK));
        self.is_begun |= !units.is_empty();
        let mut encoded = [0; 4];
        for character in char::decode_utf16(units[from..].iter().copied()) {
            let character = character.map_err(|_| not_utf16())?;
            self.text.extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
        }
        Ok(used)
    }
}

fn not_utf16() -> io::Error {
    io::Error::other(Fault::invalid("it is not the utf-16 that it begins as; convert it to utf-8"))
}

impl Read for Transcoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.refill()?;
        }
        let count = (self.text.len() - self.given).min(buffer.len());
        buffer[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

//! Which characters the bytes of a text file stand for, there and back.
//!
//! Four encodings are known by their mark or by being valid: UTF-8 without and with a byte order
//! mark, and UTF-16 of either byte order with its mark. What is none of them is Windows-1252 if
//! that makes printable text of it. Windows-1252, and not ISO-8859-1, because it differs only
//! where the latter has control characters that no text holds: a `0x93` in a file is an opening
//! quote. Nothing else is guessed, since every guess after this one would be worse: what is left
//! over is UTF-8 with bad bytes.
//!
//! | bytes | encoding |
//! |---|---|
//! | begin with a mark of UTF-8 or UTF-16 | that one |
//! | are valid UTF-8 | UTF-8 |
//! | hold at least as many multi-byte characters of UTF-8 as sequences that are none | UTF-8 with bad bytes |
//! | hold control characters other than those of texts, or bytes that Windows-1252 leaves undefined | UTF-8 with bad bytes |
//! | else | Windows-1252, a guess |
//!
//! **Invariant**: where [`Encoding::decode`] succeeds, [`Encoding::encode`] of its text gives
//! the same bytes: the mark, and every line end, are kept.

mod bytes;

use crate::fault::{Fault, FaultKind};

pub(super) use bytes::next_shown;

/// A NUL in the first bytes means binary: the heuristic and the figure of git and of grep.
const BINARY_PROBE_BYTES: usize = 8000;

/// How the characters of a text file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 without a byte order mark.
    Utf8,
    /// UTF-8 that begins with a byte order mark.
    Utf8Bom,
    /// UTF-16, little endian, that begins with a byte order mark.
    Utf16Le,
    /// UTF-16, big endian, that begins with a byte order mark.
    Utf16Be,
    /// Windows-1252, the superset of the printable part of ISO-8859-1 (Latin-1). Every byte is
    /// one character; the five that it leaves undefined are control characters.
    Windows1252,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 5] =
        [Self::Utf8, Self::Utf8Bom, Self::Utf16Le, Self::Utf16Be, Self::Windows1252];

    /// The name that answers say.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Bom => "utf-8-bom",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
        }
    }

    /// The byte order mark that a file begins with. It is not part of the text.
    pub fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 | Self::Windows1252 => b"",
            Self::Utf8Bom => b"\xef\xbb\xbf",
            Self::Utf16Le => b"\xff\xfe",
            Self::Utf16Be => b"\xfe\xff",
        }
    }

    /// The encoding of a whole file.
    ///
    /// What comes out need not decode: a file with some bad bytes is UTF-8, and `decode` then
    /// says where the first one is.
    ///
    /// # Errors
    /// `Unsupported` for a binary file, that is one with a NUL in its first 8,000 bytes.
    pub fn detect(bytes: &[u8]) -> Result<Self, Fault> {
        let marked = Self::by_mark(bytes);
        marked.unwrap_or(Self::Utf8).refuse_binary(&bytes[marked.map_or(0, Self::mark_len)..])?;
        if let Some(marked) = marked {
            return Ok(marked);
        }
        let mut evidence = Evidence::default();
        evidence.add(bytes, true);
        Ok(evidence.encoding())
    }

    /// The encoding whose mark the bytes begin with, which needs no more than three of them.
    pub(super) fn by_mark(bytes: &[u8]) -> Option<Self> {
        [Self::Utf8Bom, Self::Utf16Le, Self::Utf16Be]
            .into_iter()
            .find(|encoding| bytes.starts_with(encoding.mark()))
    }

    fn mark_len(self) -> usize {
        self.mark().len()
    }

    /// Bytes in which every character's size is a whole number: 2 for UTF-16, 1 else.
    pub(super) fn unit(self) -> u64 {
        if matches!(self, Self::Utf16Le | Self::Utf16Be) { 2 } else { 1 }
    }

    /// Refuses what is no text by its first bytes, which do not begin with a mark.
    ///
    /// # Errors
    /// `Unsupported`.
    pub(super) fn refuse_binary(self, bytes: &[u8]) -> Result<(), Fault> {
        let probe = &bytes[..bytes.len().min(BINARY_PROBE_BYTES)];
        let has_nul = match self.unit() {
            2 => probe.chunks_exact(2).any(|unit| unit == [0, 0]),
            _ => memchr::memchr(0, probe).is_some(),
        };
        if has_nul {
            let what = "the file is binary, not text; read_media_file can read it";
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
        Ok(())
    }

    /// The text of a whole file, without its mark.
    ///
    /// # Errors
    /// `Unsupported`, with the place of the first byte that stands for no character.
    pub fn decode(self, bytes: &[u8]) -> Result<String, Fault> {
        let no_text = |at: usize| {
            let name = self.name();
            let what = format!(
                "the file is no {name} text: the byte at {at} belongs to no character; what is decoded could not be written back as it was"
            );
            Fault::new(FaultKind::Unsupported, what)
        };
        let raw = bytes.strip_prefix(self.mark()).ok_or_else(|| no_text(0))?;
        match self {
            Self::Utf8 | Self::Utf8Bom => match str::from_utf8(raw) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => Err(no_text(self.mark_len() + error.valid_up_to())),
            },
            _ => self.each(raw).map_err(|at| no_text(self.mark_len() + at)),
        }
    }

    fn each(self, raw: &[u8]) -> Result<String, usize> {
        let (mut text, mut at) = (String::with_capacity(raw.len()), 0);
        while let Some(shown) = next_shown(self, &raw[at..]) {
            text.push(shown.char.ok_or(at)?);
            at += shown.bytes;
        }
        Ok(text)
    }

    /// The bytes of a text, with the mark before it.
    ///
    /// # Errors
    /// `Invalid`, naming the first character that cannot be written in this encoding.
    pub fn encode(self, text: &str) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(self.mark_len() + text.len());
        bytes.extend_from_slice(self.mark());
        match self {
            Self::Utf8 | Self::Utf8Bom => bytes.extend_from_slice(text.as_bytes()),
            Self::Utf16Le => bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Self::Utf16Be => bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Self::Windows1252 => {
                for (at, char) in text.chars().enumerate() {
                    bytes.push(bytes::windows_1252(char).ok_or_else(|| no_byte(at, char))?);
                }
            }
        }
        Ok(bytes)
    }

    /// The text of a part of a file that begins and ends where characters do, and whether
    /// anything in it is shown as U+FFFD because it stands for no character.
    pub(super) fn show(self, raw: &[u8]) -> (String, bool) {
        if matches!(self, Self::Utf8 | Self::Utf8Bom) {
            // Far faster than the way with marks, which goes byte by byte.
            return match str::from_utf8(raw) {
                Ok(text) => (text.to_owned(), false),
                Err(_) => (String::from_utf8_lossy(raw).into_owned(), true),
            };
        }
        let (mut text, mut at, mut lossy) = (String::with_capacity(raw.len()), 0, false);
        while let Some(shown) = next_shown(self, &raw[at..]) {
            lossy |= shown.char.is_none();
            text.push(shown.char.unwrap_or(char::REPLACEMENT_CHARACTER));
            at += shown.bytes;
        }
        (text, lossy)
    }

    /// Where lines end, that is right after each newline. The bytes begin where a character does.
    pub(super) fn line_ends(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
        memchr::memchr_iter(b'\n', bytes).filter_map(move |at| match self {
            Self::Utf16Le => (at % 2 == 0 && bytes.get(at + 1) == Some(&0)).then_some(at + 2),
            Self::Utf16Be => (at % 2 == 1 && bytes[at - 1] == 0).then_some(at + 1),
            _ => Some(at + 1),
        })
    }

    /// `at`, or the beginning of the character that it splits. A character at the very beginning
    /// is split rather than left for a next page that would begin there again.
    pub(super) fn char_end(self, raw: &[u8], at: usize) -> usize {
        match self {
            Self::Utf8 | Self::Utf8Bom => utf8_char_end(raw, at),
            Self::Windows1252 => at,
            Self::Utf16Le | Self::Utf16Be => {
                let at = at - at % 2;
                let splits = at > 2 && bytes::is_high_surrogate(self, [raw[at - 2], raw[at - 1]]);
                if splits { at - 2 } else { at }
            }
        }
    }

    /// How many lines end in the bytes, which begin where a character does.
    pub(super) fn count_line_ends(self, bytes: &[u8]) -> u64 {
        let count = match self.unit() {
            // Counting is done with vector instructions where nothing stands between.
            1 => memchr::memchr_iter(b'\n', bytes).count(),
            _ => self.line_ends(bytes).count(),
        };
        count as u64
    }
}

fn utf8_char_end(raw: &[u8], at: usize) -> usize {
    const CHAR_BYTES_MAX: usize = 4;
    let is_start = |at: &usize| raw[*at] & 0xc0 != 0x80;
    let Some(start) = (at.saturating_sub(CHAR_BYTES_MAX)..at).rev().find(is_start) else {
        return at;
    };
    match str::from_utf8(&raw[start..at]) {
        Err(error) if error.error_len().is_none() && start > 0 => start,
        _ => at,
    }
}

fn no_byte(at: usize, char: char) -> Fault {
    let code = u32::from(char);
    Fault::invalid(format!(
        "the file is windows-1252, which has no `{}` (U+{code:04X}, character {} of the text); leave it out or write it otherwise, or replace the whole file by one in UTF-8",
        char.escape_default(),
        at + 1
    ))
}

/// What speaks for and against UTF-8 in bytes without a mark.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Characters of several bytes.
    good: u64,
    /// Sequences that are no character.
    bad: u64,
    /// Something that Windows-1252 text does not hold.
    unlike_text: bool,
}

impl Evidence {
    /// Looks at more bytes. A character that is cut off at their end says nothing unless it is
    /// the end of the file.
    pub(super) fn add(&mut self, bytes: &[u8], is_end: bool) {
        let multi_byte = |valid: &[u8]| valid.iter().filter(|byte| **byte >= 0xc0).count() as u64;
        if str::from_utf8(bytes).is_ok() {
            self.good += multi_byte(bytes);
            return;
        }
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            let (valid, invalid) = (chunk.valid().as_bytes(), chunk.invalid());
            at += valid.len() + invalid.len();
            self.good += multi_byte(valid);
            let is_cut_off = || {
                let error = str::from_utf8(invalid).err();
                at == bytes.len() && error.is_some_and(|error| error.error_len().is_none())
            };
            self.bad += u64::from(!invalid.is_empty() && (is_end || !is_cut_off()));
        }
        self.unlike_text |= self.bad > 0 && bytes.iter().any(|byte| !bytes::is_of_text(*byte));
    }

    pub(super) fn is_utf8(&self) -> bool {
        self.bad == 0
    }

    pub(super) fn encoding(&self) -> Encoding {
        let is_guess = self.bad > self.good && !self.unlike_text;
        if is_guess { Encoding::Windows1252 } else { Encoding::Utf8 }
    }
}

#[cfg(test)]
mod tests;

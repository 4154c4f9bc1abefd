//! The hash chain: numbers, time and hashes around each entry.
//!
//! A line is `{"v":3,"seq":…,"ts":…,<entry>,"prev":<hash or null>,"hash":"<hash>"}`, and its hash
//! is SHA-256 over the exact bytes before `,"hash":"`. So checking needs no canonical JSON.

use sha2::{Digest, Sha256};

use super::escape::{hex, push_number};
use super::record::{Entry, LINE_BYTES_MAX};
use super::stamp::push_rfc3339;

/// The version of the record format, as in the first bytes that [`Chain::append`] writes. Since
/// 2 an action may have `temp`, since 3 files name each other; a reader of 3 reads the others. That an
/// action may have `statement` makes no new version: whoever does not know the field loses nothing else.
pub(super) const FORMAT: u8 = 3;
/// What stands between the hashed bytes and the hash.
pub(super) const HASH_FIELD: &[u8] = b",\"hash\":\"";
/// What follows the hash, without the end of line.
pub(super) const LINE_END: &[u8] = b"\"}";
/// The length of a hash in hexadecimal.
pub(super) const HASH_HEX: usize = 64;

/// How far a chain has come: the number and hash of its last line.
///
/// A head that is kept outside the log's reach proves later that nothing up to it was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the line, counting the boot line as 1.
    pub seq: u64,
    /// Its hash in hexadecimal.
    pub hash: String,
}

/// A [`Head`] that can be copied while a lock is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) seq: u64,
    hash: [u8; HASH_HEX],
}

impl Mark {
    /// Before the first line.
    pub(super) const NONE: Self = Self { seq: 0, hash: [b'0'; HASH_HEX] };

    pub(super) fn head(&self) -> Head {
        Head { seq: self.seq, hash: String::from_utf8_lossy(&self.hash).into_owned() }
    }
}

/// The state of a chain that is being written.
#[derive(Debug)]
pub(super) struct Chain {
    last: Mark,
}

/// The line would be longer than [`LINE_BYTES_MAX`]; nothing was appended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Chain {
    pub(super) const fn new() -> Self {
        Self { last: Mark::NONE }
    }

    /// Appends the next line to `out` and returns its number.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        ts_us: u64,
        entry: &Entry<'_>,
    ) -> Result<u64, TooLong> {
        let start = out.len();
        let seq = self.last.seq + 1;
        out.extend_from_slice(b"{\"v\":3,\"seq\":");
        push_number(out, seq);
        out.extend_from_slice(b",\"ts\":\"");
        push_rfc3339(out, ts_us);
        out.extend_from_slice(b"\",");
        entry.push(out);
        if self.last.seq == 0 {
            out.extend_from_slice(b",\"prev\":null");
        } else {
            out.extend_from_slice(b",\"prev\":\"");
            out.extend_from_slice(&self.last.hash);
            out.push(b'"');
        }
        if out.len() - start + HASH_FIELD.len() + HASH_HEX + LINE_END.len() > LINE_BYTES_MAX {
            out.truncate(start);
            return Err(TooLong);
        }
        let hash = digest(&out[start..]);
        out.extend_from_slice(HASH_FIELD);
        out.extend_from_slice(&hash);
        out.extend_from_slice(LINE_END);
        out.push(b'\n');
        self.last = Mark { seq, hash };
        Ok(seq)
    }

    /// The last line.
    pub(super) const fn mark(&self) -> Mark {
        self.last
    }
}

/// The SHA-256 of a line's hashed bytes, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> [u8; HASH_HEX] {
    hex(&Sha256::digest(bytes).into())
}

//! Whole small files as bytes, and the identity of what was read.

use std::os::fd::AsFd;

use rustix::fs::Stat;
use rustix::io::{Errno, pread};
use sha2::{Digest, Sha256};

use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::{self, Want};
use crate::path::shown;
use crate::policy::Permit;

/// The bytes of a whole file.
#[derive(Debug)]
pub struct Bytes {
    /// The content.
    pub bytes: Vec<u8>,
    /// The public path, with links resolved.
    pub path: String,
    /// The public URI, with links resolved.
    pub uri: String,
    /// The content's hash.
    pub hash: String,
}

/// Reads a file that must fit into `bytes_max`.
///
/// The limit holds while reading, so a file that grows or is swapped meanwhile cannot pass it.
///
/// # Errors
/// `Limit` with the size, if it does not fit; as the gate's otherwise.
pub fn read_whole(
    permit: &Permit,
    bytes_max: u64,
    instead: &str,
    budget: &Budget,
) -> Result<Bytes, Fault> {
    let opened = gate::open(permit, Want::File)?;
    let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
    let too_large = |size: u64| {
        Fault::new(
            FaultKind::Limit,
            format!("the file has {size} bytes; the limit here is {bytes_max}; {instead}"),
        )
    };
    if size > bytes_max {
        return Err(too_large(size));
    }
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(limit) + 1);
    read_at(&opened.handle, 0, limit.saturating_add(1), &mut bytes, budget)?;
    if bytes.len() > limit {
        return Err(too_large(bytes.len() as u64));
    }
    let (_, rules) = permit.root()?;
    let public = rules.public_of(&opened.rel);
    Ok(Bytes {
        hash: content_hash(&bytes),
        path: shown(&public),
        uri: crate::path::uri(&public),
        bytes,
    })
}

/// A block that keeps the check of the budget rare and the pages of a big read warm.
const BLOCK_BYTES: usize = 256 * 1024;

/// Appends up to `len` bytes from `offset`, or what is there.
pub(super) fn read_at(
    file: impl AsFd,
    offset: u64,
    len: usize,
    into: &mut Vec<u8>,
    budget: &Budget,
) -> Result<(), Fault> {
    let first = into.len();
    let end = first.saturating_add(len);
    while into.len() < end {
        let filled = into.len();
        // Block by block: what `len` allows need not be there.
        let want = (end - filled).min(BLOCK_BYTES);
        into.resize(filled + want, 0);
        let at = offset + (filled - first) as u64;
        let got = read_into(file.as_fd(), at, &mut into[filled..], budget)?;
        into.truncate(filled + got);
        if got < want {
            break;
        }
    }
    Ok(())
}

/// Fills a buffer from `offset`, or as much of it as is there; gives how many bytes.
pub(super) fn read_into(
    file: impl AsFd,
    offset: u64,
    buffer: &mut [u8],
    budget: &Budget,
) -> Result<usize, Fault> {
    let mut filled = 0;
    while filled < buffer.len() {
        budget.check()?;
        let end = buffer.len().min(filled + BLOCK_BYTES);
        match pread(file.as_fd(), &mut buffer[filled..end], offset + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Fault::internal(errno)),
        }
    }
    Ok(filled)
}

/// The hash by which a later write can say which content it means: the first 128 bits of SHA-256.
pub(super) fn content_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

/// Stands for the content of a file too large to hash on each read: it changes whenever the
/// file's identity, size or times do.
pub(super) fn version_of(stat: &Stat) -> String {
    version_on(stat.st_dev, stat)
}

/// The same for machines that share the file: each has a device number of its own for it.
pub(super) fn version_anywhere(stat: &Stat) -> String {
    version_on(0, stat)
}

fn version_on(device: u64, stat: &Stat) -> String {
    let mut hasher = Sha256::new();
    for part in [
        device,
        stat.st_ino,
        stat.st_size.cast_unsigned(),
        stat.st_mtime.cast_unsigned(),
        stat.st_mtime_nsec,
        stat.st_ctime.cast_unsigned(),
        stat.st_ctime_nsec,
    ] {
        hasher.update(part.to_le_bytes());
    }
    format!("v-{}", hex(&hasher.finalize()[..12]))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

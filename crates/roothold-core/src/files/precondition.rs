//! What a caller says that it knows of a file before it changes it.

use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use sha2::{Digest, Sha256};

use super::read::{hex, version_of};
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};

/// The condition of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Whatever is there.
    #[default]
    Any,
    /// Nothing may be there.
    Absent,
    /// The content must have this hash, as a read gave it.
    Content(String),
    /// The file must be of this version, as a read of a part of a large file gave it.
    Version(String),
}

const HASH_DIGITS: usize = 32;
const VERSION_DIGITS: usize = 24;
/// What `if_match` says for a file that must not be there.
const NONE: &str = "none";

impl Precondition {
    /// Parses an `if_match` argument.
    ///
    /// # Errors
    /// `Invalid` for what no read gives.
    pub fn parse(if_match: Option<&str>) -> Result<Self, Fault> {
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match if_match {
            None => Ok(Self::Any),
            Some(NONE) => Ok(Self::Absent),
            Some(text) if is_hex(text, HASH_DIGITS) => Ok(Self::Content(text.to_lowercase())),
            Some(text)
                if text.strip_prefix("v-").is_some_and(|rest| is_hex(rest, VERSION_DIGITS)) =>
            {
                Ok(Self::Version(text.to_owned()))
            }
            Some(_) => Err(Fault::invalid(
                "if_match is no hash; give the hash that a read of the file gave, or \"none\" if it must not exist",
            )),
        }
    }

    /// Whether checking it tells something of the content, for which the right to read is needed.
    pub fn needs_read(&self) -> bool {
        matches!(self, Self::Content(_) | Self::Version(_))
    }

    /// Checks it against a file of which the content was read already.
    ///
    /// # Errors
    /// `Conflict`, with the hash that the file has now.
    pub(super) fn check_content(&self, stat: &Stat, content: &[u8]) -> Result<(), Fault> {
        let hash = || hex(&Sha256::digest(content)[..HASH_DIGITS / 2]);
        match self {
            Self::Any => Ok(()),
            Self::Absent => Err(exists()),
            Self::Version(wanted) if *wanted == version_of(stat) => Ok(()),
            Self::Version(_) => Err(differs(&hash())),
            Self::Content(wanted) => {
                let found = hash();
                if *wanted == found { Ok(()) } else { Err(differs(&found)) }
            }
        }
    }

    /// Checks it against an open file, of any size.
    ///
    /// # Errors
    /// `Conflict`, with the hash that the file has now; the budget's own.
    pub(super) fn check_open(
        &self,
        handle: &OwnedFd,
        stat: &Stat,
        budget: &Budget,
    ) -> Result<(), Fault> {
        match self {
            Self::Any => Ok(()),
            Self::Absent => Err(exists()),
            Self::Version(wanted) if *wanted == version_of(stat) => Ok(()),
            Self::Version(_) => Err(differs(&hash_open(handle, budget)?)),
            Self::Content(wanted) => {
                let found = hash_open(handle, budget)?;
                if *wanted == found { Ok(()) } else { Err(differs(&found)) }
            }
        }
    }

    /// Checks it where nothing is.
    ///
    /// # Errors
    /// `Conflict`, if something should be there.
    pub(super) fn check_absent(&self) -> Result<(), Fault> {
        if !self.needs_read() {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Conflict,
            "there is no such file any more; if it should be made anew, call again with if_match \"none\"",
        ))
    }
}

pub(super) fn exists() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "it exists already; nothing was changed; choose another path or, to change a file, read it and give its hash as if_match",
    )
}

fn differs(hash: &str) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!(
            "the file is not the one that if_match means; nothing was changed; its hash is now {hash}: read it again, \
             and repeat the change on what it holds now"
        ),
    )
}

/// The hash of a file's content, block by block.
pub(super) fn hash_open(handle: &OwnedFd, budget: &Budget) -> Result<String, Fault> {
    const BLOCK_BYTES: usize = 256 * 1024;
    let mut hasher = Sha256::new();
    let (mut block, mut offset) = (Vec::new(), 0);
    loop {
        block.clear();
        super::read::read_at(handle, offset, BLOCK_BYTES, &mut block, budget)?;
        if block.is_empty() {
            return Ok(hex(&hasher.finalize()[..HASH_DIGITS / 2]));
        }
        hasher.update(&block);
        offset += block.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_read_gives_is_understood_and_nothing_else() {
        let parse = |text| Precondition::parse(Some(text));
        assert_eq!(Precondition::parse(None).unwrap(), Precondition::Any);
        assert_eq!(parse("none").unwrap(), Precondition::Absent);
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(parse(hash).unwrap(), Precondition::Content(hash.to_owned()));
        let version = "v-0123456789abcdef01234567";
        assert_eq!(parse(version).unwrap(), Precondition::Version(version.to_owned()));
        for bad in ["", "*", "None", "v-", &hash[1..], &version[..25], "\"0123\"", "é"] {
            assert_eq!(parse(bad).unwrap_err().kind(), FaultKind::Invalid, "{bad}");
        }
    }
}

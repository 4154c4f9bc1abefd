//! Heads of audit chains: kept out of the reach of whoever could rewrite a replica's log.

use crate::StateError;
use crate::time::UnixMillis;

/// The most heads that are kept; the oldest go first.
pub(crate) const HEADS_MAX: i64 = 10_000;

/// How far an audit chain has come. Once stored it only moves on: an earlier number changes
/// nothing, and the same number with another hash is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// Which replica writes the chain, as its configuration names it.
    pub replica: String,
    /// Which chain of the replica's: the name of its file.
    pub chain: String,
    /// The number of the last line.
    pub seq: u64,
    /// The line's hash: 64 hexadecimal digits.
    pub hash: String,
    /// When it was stored, by the store's clock; what is given to `put_chain_head` does not count.
    pub at: UnixMillis,
}

impl ChainHead {
    pub(crate) fn check(&self) -> Result<(), StateError> {
        let named = |name: &str| !name.is_empty() && name.len() <= 256 && !name.contains('\0');
        if !named(&self.replica) || !named(&self.chain) {
            return Err(StateError::Invalid("replica and chain are names of 1 to 256 bytes"));
        }
        if self.hash.len() != 64 || !self.hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(StateError::Invalid("a chain's hash is 64 hexadecimal digits"));
        }
        Ok(())
    }

    /// Whether it lies ahead of the one that is stored (number, hash). A second hash under one
    /// number is refused: one of the two was not written by the replica.
    pub(crate) fn is_news(&self, stored: Option<(u64, &str)>) -> Result<bool, StateError> {
        match stored {
            Some((seq, hash)) if seq == self.seq && hash != self.hash => Err(StateError::Invalid(
                "another hash is stored under this number of the chain: the log was rewritten, \
                 or two replicas use one name",
            )),
            Some((seq, _)) => Ok(self.seq > seq),
            None => Ok(true),
        }
    }
}

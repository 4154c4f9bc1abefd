//! API keys: long random secrets that an operator hands out, kept as hashes in one file.
//!
//! A key is `rhk_<id>_<secret>`: the id (12 of `a-z0-9`) is public and names the key in lists and
//! records, the secret is 43 characters of base 62, 256 bits. Only SHA-256 of the whole key is
//! kept. A fast hash suffices because the secret is random at full length: NIST SP 800-63B §5.1.2.2
//! asks for salting and key stretching only below 112 bits of entropy.
//!
//! It does not count, limit or log attempts.

mod entry;
mod file;
mod key;
mod ring;

pub use entry::KeyEntry;
pub use file::{KeysFile, KeysFileError};
pub use key::ApiKey;
pub(super) use key::KEY_PREFIX;
pub use ring::KeyRing;

#[cfg(test)]
mod tests;

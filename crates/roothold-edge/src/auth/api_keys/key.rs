//! The key itself: making one, taking one apart, hashing it.
//!
//! **Invariant**: the text of a key leaves this module only through [`ApiKey::reveal`].

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every key begins with, so that secret scanners and people can tell what it is.
pub(in crate::auth) const KEY_PREFIX: &str = "rhk_";

const ID_CHARS: usize = 12;
/// 62^43 is just above 2^256.
const SECRET_CHARS: usize = 43;
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key in the clear. Shown once, when it is made; wiped from memory when dropped.
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A new random key and its id.
    pub(super) fn generate() -> Result<(String, Self), getrandom::Error> {
        let mut id = String::with_capacity(ID_CHARS);
        push_random(&mut id, ID_CHARS, BASE36)?;
        // Reserved at once, so that growing leaves no copy of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(KEY_PREFIX);
        text.push_str(&id);
        text.push('_');
        push_random(&mut text, SECRET_CHARS, BASE62)?;
        Ok((id, Self(text)))
    }

    /// The key as its holder has to send it. Print it once, to the operator only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ApiKey(..)")
    }
}

/// SHA-256 of a whole key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash(pub(super) [u8; 32]);

impl KeyHash {
    pub(super) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyHash(..)")
    }
}

/// The id within a presented key, if it has the form of one.
pub(super) fn id_of(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    let is_secret =
        secret.len() == SECRET_CHARS && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_id(id) && is_secret).then_some(id)
}

/// Whether `id` has the form of a key's id.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == ID_CHARS && id.bytes().all(|byte| BASE36.contains(&byte))
}

/// Appends `count` characters, each equally likely.
fn push_random(text: &mut String, count: usize, alphabet: &[u8]) -> Result<(), getrandom::Error> {
    // Bytes at or above the largest multiple of the alphabet's length would favour its beginning.
    let limit = 256 - 256 % alphabet.len();
    let mut left = count;
    let mut pool = Zeroizing::new([0_u8; 64]);
    while left > 0 {
        getrandom::fill(pool.as_mut_slice())?;
        for byte in pool.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit) {
            if left == 0 {
                break;
            }
            text.push(char::from(alphabet[byte % alphabet.len()]));
            left -= 1;
        }
    }
    Ok(())
}

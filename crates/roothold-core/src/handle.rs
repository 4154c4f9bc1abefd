//! Sealed handles: state that a client carries between calls and cannot read or change.
//!
//! Page cursors and the request state of multi-round requests are made here. A handle is
//! `v1.<kid>.<base64url>`: a random 24-byte nonce, then XChaCha20-Poly1305 over expiry,
//! purpose, principal and payload, with version and key id authenticated beside it, so a handle
//! made for one purpose opens for no other.
//!
//! What it does not do: a handle can be used again until it expires, and it grants nothing; the
//! policy decides on every call.
//!
//! **Invariant**: a payload comes out only for the principal and purpose it was sealed for,
//! before its expiry, and byte for byte as it went in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(test)]
mod tests;

/// The most characters of a handle. A longer one is refused before it is decoded, and sealing
/// one that would be longer fails.
pub const HANDLE_LEN_MAX: usize = 8 * 1024;
/// The most characters of a key id.
pub const KEY_ID_LEN_MAX: usize = 32;

const VERSION: &str = "v1";
const NONCE_LEN: usize = 24;

/// A key that handles are sealed with.
#[derive(Clone)]
pub struct HandleKey {
    /// The name of the key as it stands in handles: letters, digits, `-` and `_`.
    pub kid: String,
    /// The secret.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandleKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why a sealer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// There is no key to seal with.
    #[error("no handle key is configured; give at least one")]
    NoKey,
    /// A key id cannot stand in a handle.
    #[error("handle key id {0:?} is not 1 to {KEY_ID_LEN_MAX} letters, digits, `-` or `_`")]
    BadKeyId(String),
    /// Two keys have the same id.
    #[error("handle key id {0:?} occurs twice; give each key its own id")]
    DuplicateKeyId(String),
    /// The system gave no random bytes.
    #[error("the system's random number generator failed")]
    Random(#[source] getrandom::Error),
}

/// Why a handle could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The payload cannot be written as JSON.
    #[error("the handle's payload cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The handle would be longer than [`HANDLE_LEN_MAX`].
    #[error("the handle would be {len} characters long, of at most {HANDLE_LEN_MAX}")]
    TooLong {
        /// The length that it would have.
        len: usize,
    },
    /// The system gave no random bytes.
    #[error("the system's random number generator failed")]
    Random(#[source] getrandom::Error),
    /// The cipher refused, which no payload of this size makes it do.
    #[error("the handle could not be encrypted")]
    Cipher,
}

/// Why a handle was not opened. The difference is for the log only: every one of them reads the
/// same to a client, who must not learn which part of a forgery was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid or expired cursor; start again without it")]
pub enum HandleError {
    /// It is not of the form of a handle, or too long.
    Malformed,
    /// It names a key that is not configured (any more).
    UnknownKey,
    /// Its bytes are not those that were sealed.
    Tampered,
    /// It was sealed for another purpose.
    WrongPurpose,
    /// It was sealed for somebody else.
    WrongPrincipal,
    /// Its time is over.
    Expired,
}

/// Seals and opens handles with a list of keys: the first seals, all of them open.
pub struct Sealer {
    keys: Vec<(String, XChaCha20Poly1305)>,
    now: fn() -> SystemTime,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<_> = self.keys.iter().map(|(kid, _)| kid).collect();
        f.debug_struct("Sealer").field("kids", &kids).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer whose first key seals. To rotate, put the new key first and keep the old one for
    /// as long as its handles may live.
    pub fn new(keys: Vec<HandleKey>) -> Result<Self, SealerError> {
        let mut known: Vec<(String, XChaCha20Poly1305)> = Vec::with_capacity(keys.len());
        for HandleKey { kid, secret } in keys {
            let fits = (1..=KEY_ID_LEN_MAX).contains(&kid.len());
            if !fits || !kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(SealerError::BadKeyId(kid));
            }
            if known.iter().any(|(other, _)| *other == kid) {
                return Err(SealerError::DuplicateKeyId(kid));
            }
            known.push((kid, XChaCha20Poly1305::new(&Key::from(secret))));
        }
        if known.is_empty() {
            return Err(SealerError::NoKey);
        }
        Ok(Self { keys: known, now: SystemTime::now })
    }

    /// A sealer with a random key: its handles open in this process only.
    pub fn ephemeral() -> Result<Self, SealerError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(SealerError::Random)?;
        Self::new(vec![HandleKey { kid: "process".to_owned(), secret }])
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, now: fn() -> SystemTime) -> Self {
        self.now = now;
        self
    }

    fn seconds(&self) -> u64 {
        (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Seals `payload` for one purpose, such as `cursor/list_directory`, and one principal. It
    /// can be opened until `ttl` has passed, to the second.
    pub fn seal(
        &self,
        purpose: &str,
        principal: &str,
        ttl: Duration,
        payload: &impl Serialize,
    ) -> Result<String, SealError> {
        // `new` leaves no sealer without a key.
        let (kid, cipher) = self.keys.first().ok_or(SealError::Cipher)?;
        let mut plain = Vec::with_capacity(256);
        let expiry = self.seconds().saturating_add(ttl.as_secs());
        plain.extend_from_slice(&expiry.to_le_bytes());
        push_part(&mut plain, purpose)?;
        push_part(&mut plain, principal)?;
        serde_json::to_writer(&mut plain, payload).map_err(SealError::Encode)?;

        let mut sealed = [0u8; NONCE_LEN];
        getrandom::fill(&mut sealed).map_err(SealError::Random)?;
        let nonce = XNonce::from(sealed);
        let mut sealed = sealed.to_vec();
        let aad = associated(kid);
        let message = Payload { msg: &plain, aad: aad.as_bytes() };
        sealed.extend(cipher.encrypt(&nonce, message).map_err(|_| SealError::Cipher)?);

        let mut handle = aad;
        URL_SAFE_NO_PAD.encode_string(&sealed, &mut handle);
        if handle.len() > HANDLE_LEN_MAX {
            return Err(SealError::TooLong { len: handle.len() });
        }
        Ok(handle)
    }

    /// Opens a handle that [`Sealer::seal`] made for the same purpose and principal.
    pub fn open<T: DeserializeOwned>(
        &self,
        purpose: &str,
        principal: &str,
        handle: &str,
    ) -> Result<T, HandleError> {
        if handle.len() > HANDLE_LEN_MAX {
            return Err(HandleError::Malformed);
        }
        let mut parts = handle.splitn(3, '.');
        let (Some(VERSION), Some(kid), Some(sealed)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(HandleError::Malformed);
        };
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| HandleError::Malformed)?;
        let (nonce, sealed) =
            sealed.split_first_chunk::<NONCE_LEN>().ok_or(HandleError::Malformed)?;
        let (_, cipher) =
            self.keys.iter().find(|(known, _)| known == kid).ok_or(HandleError::UnknownKey)?;
        let aad = associated(kid);
        let message = Payload { msg: sealed, aad: aad.as_bytes() };
        let plain =
            cipher.decrypt(&XNonce::from(*nonce), message).map_err(|_| HandleError::Tampered)?;

        // From here on the bytes are our own; only a handle of another version could misfit.
        let (expiry, rest) = plain.split_first_chunk::<8>().ok_or(HandleError::Malformed)?;
        let (sealed_purpose, rest) = take_part(rest).ok_or(HandleError::Malformed)?;
        let (sealed_principal, rest) = take_part(rest).ok_or(HandleError::Malformed)?;
        if sealed_purpose != purpose.as_bytes() {
            return Err(HandleError::WrongPurpose);
        }
        if sealed_principal != principal.as_bytes() {
            return Err(HandleError::WrongPrincipal);
        }
        if self.seconds() >= u64::from_le_bytes(*expiry) {
            return Err(HandleError::Expired);
        }
        serde_json::from_slice(rest).map_err(|_| HandleError::Malformed)
    }
}

/// What stands before the sealed bytes and is authenticated with them.
fn associated(kid: &str) -> String {
    format!("{VERSION}.{kid}.")
}

/// Appends a string with its length before it.
fn push_part(out: &mut Vec<u8>, part: &str) -> Result<(), SealError> {
    let len = u16::try_from(part.len()).map_err(|_| SealError::TooLong { len: part.len() })?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part.as_bytes());
    Ok(())
}

fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}

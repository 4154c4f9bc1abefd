//! Signed checkpoints: what the head of a log was at some time, in a form that can leave the
//! machine and be believed elsewhere.
//!
//! A checkpoint is one line of JSON that ends with an Ed25519 signature over the exact bytes
//! before `,"sig":"`. It proves that the log held these lines then, not that the server told the
//! truth in them. Sending and keeping checkpoints is the operator's.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Deserialize;

use super::chain::{Head, LINE_END};
use super::escape::{hex, push_number, push_string};
use super::stamp::push_rfc3339;

const SIGNATURE_FIELD: &[u8] = b",\"sig\":\"";
const SIGNATURE_HEX: usize = 128;

/// The version of the statement, which is not that of the records.
const FORMAT: u8 = 1;

/// The secret that checkpoints are signed with.
pub struct CheckpointKey(SigningKey);

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CheckpointKey").field(&self.public().to_hex()).finish()
    }
}

impl CheckpointKey {
    /// The key with this secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What others need to check its signatures.
    pub fn public(&self) -> CheckpointPublicKey {
        CheckpointPublicKey(self.0.verifying_key())
    }
}

/// The public half of a [`CheckpointKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPublicKey(VerifyingKey);

impl CheckpointPublicKey {
    /// The key in hexadecimal, as checkpoints name it.
    pub fn to_hex(&self) -> String {
        String::from_utf8_lossy(&hex::<32, 64>(self.0.as_bytes())).into_owned()
    }

    /// The key of 64 hexadecimal digits, or nothing if they are no key.
    pub fn from_hex(text: &str) -> Option<Self> {
        VerifyingKey::from_bytes(&unhex(text.as_bytes())?).ok().map(Self)
    }
}

/// A checkpoint whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The boot id of the log, as in its boot line and its [`super::Summary`].
    pub boot: String,
    /// The name of the log's file.
    pub log: String,
    /// When it was signed, RFC 3339 in UTC.
    pub ts: String,
    /// The head of the log at that time.
    pub head: Head,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not of the form of a checkpoint.
    #[error("this is not a checkpoint")]
    Malformed,
    /// It was signed by a key that was not given.
    #[error("the checkpoint was signed by an unknown key")]
    UnknownKey,
    /// Its signature is not over these bytes.
    #[error("the checkpoint's signature is wrong")]
    BadSignature,
}

#[derive(Deserialize)]
struct Fields {
    v: u8,
    kind: String,
    boot: String,
    log: String,
    ts: String,
    seq: u64,
    hash: String,
    key: String,
}

impl Checkpoint {
    /// Reads one checkpoint, which may end with a line feed, and checks that one of `keys`
    /// signed it.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything else than an unchanged checkpoint of one of these keys.
    pub fn open(line: &[u8], keys: &[CheckpointPublicKey]) -> Result<Self, CheckpointError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (signed, signature) = split(line).ok_or(CheckpointError::Malformed)?;
        let fields: Fields =
            serde_json::from_slice(line).map_err(|_| CheckpointError::Malformed)?;
        if fields.v != FORMAT || fields.kind != "checkpoint" {
            return Err(CheckpointError::Malformed);
        }
        let key = keys.iter().find(|key| key.to_hex() == fields.key);
        let key = key.ok_or(CheckpointError::UnknownKey)?;
        key.0.verify_strict(signed, &signature).map_err(|_| CheckpointError::BadSignature)?;
        let head = Head { seq: fields.seq, hash: fields.hash };
        Ok(Self { boot: fields.boot, log: fields.log, ts: fields.ts, head })
    }
}

/// One checkpoint, without an end of line.
pub(super) fn sign(key: &CheckpointKey, boot: &str, log: &str, ts_us: u64, head: &Head) -> String {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"v\":1,\"kind\":\"checkpoint\",\"boot\":");
    push_string(&mut out, boot);
    out.extend_from_slice(b",\"log\":");
    push_string(&mut out, log);
    out.extend_from_slice(b",\"ts\":\"");
    push_rfc3339(&mut out, ts_us);
    out.extend_from_slice(b"\",\"seq\":");
    push_number(&mut out, head.seq);
    out.extend_from_slice(b",\"hash\":");
    push_string(&mut out, &head.hash);
    out.extend_from_slice(b",\"key\":");
    push_string(&mut out, &key.public().to_hex());
    let signature = key.0.sign(&out).to_bytes();
    out.extend_from_slice(SIGNATURE_FIELD);
    out.extend_from_slice(&hex::<64, SIGNATURE_HEX>(&signature));
    out.extend_from_slice(LINE_END);
    String::from_utf8_lossy(&out).into_owned()
}

/// The signed bytes of a line, and its signature.
fn split(line: &[u8]) -> Option<(&[u8], Signature)> {
    let rest = line.strip_suffix(LINE_END)?;
    let (rest, signature) = rest.split_last_chunk::<SIGNATURE_HEX>()?;
    let signed = rest.strip_suffix(SIGNATURE_FIELD)?;
    Some((signed, Signature::from_bytes(&unhex(signature)?)))
}

/// Bytes of exactly `2 * N` lower-case hexadecimal digits.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> CheckpointKey {
        CheckpointKey::from_seed(&[byte; 32])
    }

    fn line() -> String {
        let head = Head { seq: 7, hash: "ab".repeat(32) };
        sign(&key(1), "b00t", "audit-x.jsonl", 1_795_345_445_123_456, &head)
    }

    #[test]
    fn the_form_is_fixed_and_opens() {
        let public = key(1).public().to_hex();
        let start = format!(
            "{{\"v\":1,\"kind\":\"checkpoint\",\"boot\":\"b00t\",\"log\":\"audit-x.jsonl\",\"ts\":\"2026-11-22T11:04:05.123456Z\",\"seq\":7,\"hash\":\"{}\",\"key\":\"{public}\",\"sig\":\"",
            "ab".repeat(32)
        );
        assert!(line().starts_with(&start), "{}", line());
        let opened = Checkpoint::open(line().as_bytes(), &[key(1).public()]).unwrap();
        assert_eq!((opened.boot.as_str(), opened.head.seq), ("b00t", 7));
        let ended = line() + "\n";
        assert!(Checkpoint::open(ended.as_bytes(), &[key(2).public(), key(1).public()]).is_ok());
    }

    #[test]
    fn every_changed_byte_is_refused() {
        for at in 0..line().len() {
            let mut bytes = line().into_bytes();
            bytes[at] ^= 1;
            assert!(Checkpoint::open(&bytes, &[key(1).public()]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_key_is_refused_even_under_the_right_name() {
        let refused = Checkpoint::open(line().as_bytes(), &[key(2).public()]);
        assert_eq!(refused, Err(CheckpointError::UnknownKey));
        let renamed = line().replace(&key(1).public().to_hex(), &key(2).public().to_hex());
        let refused = Checkpoint::open(renamed.as_bytes(), &[key(2).public()]);
        assert_eq!(refused, Err(CheckpointError::BadSignature));
        assert_eq!(Checkpoint::open(b"{}", &[]), Err(CheckpointError::Malformed));
    }

    #[test]
    fn public_keys_travel_as_text_and_secrets_are_not_shown() {
        let public = key(1).public();
        assert_eq!(CheckpointPublicKey::from_hex(&public.to_hex()), Some(public.clone()));
        assert_eq!(CheckpointPublicKey::from_hex("ab"), None);
        assert_eq!(CheckpointPublicKey::from_hex(&"G".repeat(64)), None);
        assert!(!format!("{:?}", key(1)).contains(&"01".repeat(8)));
        assert!(format!("{:?}", key(1)).contains(&public.to_hex()));
    }
}

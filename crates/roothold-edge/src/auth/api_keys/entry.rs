//! One line of the keys file: a key without its secret.

use std::{sync::Arc, time::SystemTime};

use jiff::Timestamp;
use roothold_core::{Principal, Scopes};
use serde::{Deserialize, Serialize};

use super::key::{KeyHash, is_id};
use crate::auth::name::{PRINCIPAL_BYTES_MAX, is_principal_name, is_scope};

/// What `hash` begins with: the hash function.
const HASH_PREFIX: &str = "sha256:";
/// The most scopes one key can have.
const SCOPES_MAX: usize = 64;

/// An API key as the keys file holds it. Serializes to the file's line; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    id: String,
    principal: String,
    scopes: Vec<String>,
    hash: HashText,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Timestamp>,
}

impl KeyEntry {
    pub(super) fn new(
        id: String,
        principal: &str,
        scopes: &[String],
        hash: KeyHash,
        expires: Option<Timestamp>,
    ) -> Result<Self, String> {
        let entry = Self {
            id,
            principal: principal.to_owned(),
            scopes: scopes.to_vec(),
            hash: HashText(hash),
            created: now_in_seconds(),
            expires,
            revoked: None,
        };
        entry.check()?;
        Ok(entry)
    }

    /// One line of the file, checked. The error says what is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let entry: Self = serde_json::from_str(line).map_err(|error| json_reason(&error))?;
        entry.check()?;
        Ok(entry)
    }

    /// The line of the file, without its end.
    pub(super) fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings and times always serialize")
    }

    fn check(&self) -> Result<(), String> {
        if !is_id(&self.id) {
            return Err("`id` must be 12 characters of a-z and 0-9".to_owned());
        }
        if !is_principal_name(&self.principal) {
            return Err(format!(
                "`principal` must be 1 to {PRINCIPAL_BYTES_MAX} bytes without control characters and without space around it"
            ));
        }
        if self.scopes.len() > SCOPES_MAX {
            return Err(format!("`scopes` has more than {SCOPES_MAX} entries"));
        }
        match self.scopes.iter().find(|scope| !is_scope(scope)) {
            Some(scope) => Err(format!("{scope:?} is not a scope")),
            None => Ok(()),
        }
    }

    pub(super) fn revoke(&mut self) {
        self.revoked.get_or_insert_with(now_in_seconds);
    }

    pub(super) fn hash(&self) -> KeyHash {
        self.hash.0
    }

    pub(super) fn to_principal(&self) -> Principal {
        let scopes = self.scopes.iter().map(|scope| Arc::from(scope.as_str())).collect();
        Principal::new(self.principal.as_str(), Scopes::Only(scopes))
    }

    /// The public name of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose key it is.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The scopes it carries. None: it authenticates, and may do nothing that needs a scope.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        self.created.into()
    }

    /// From when on it is refused, if it ends by itself.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires.map(SystemTime::from)
    }

    /// When it was revoked, if it was.
    pub fn revoked(&self) -> Option<SystemTime> {
        self.revoked.map(SystemTime::from)
    }
}

/// The hash of a key as text: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct HashText(KeyHash);

impl TryFrom<String> for HashText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "`hash` must be `sha256:` and 64 hexadecimal digits";
        let digits = text.strip_prefix(HASH_PREFIX).ok_or(WRONG)?.as_bytes();
        if digits.len() != 64 {
            return Err(WRONG);
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(WRONG)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(WRONG)?;
            *byte = u8::try_from(high << 4 | low).map_err(|_| WRONG)?;
        }
        Ok(Self(KeyHash(bytes)))
    }
}

impl From<HashText> for String {
    fn from(hash: HashText) -> Self {
        let mut text = Self::from(HASH_PREFIX);
        for byte in hash.0.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).expect("four bits are one digit"));
            }
        }
        text
    }
}

/// The time, in whole seconds: enough for people, and shorter in the file.
fn now_in_seconds() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What serde says, with the column but without its line number, which is always 1 here.
fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("{reason} (column {})", error.column())
}

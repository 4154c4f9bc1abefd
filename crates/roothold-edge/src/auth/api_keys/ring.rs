//! Verifying keys: the whole file in memory, replaced as one when it changed.
//!
//! **Invariant**: a request sees one state of the file, never half of two.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use roothold_core::Principal;
use subtle::ConstantTimeEq;

use super::{
    entry::KeyEntry,
    file::{KeysFileError, check_mode, parse_entries},
    key::{KeyHash, id_of},
};
use crate::auth::{failure::FailureClass, watched_file::WatchedFile};

/// The keys that are accepted.
#[derive(Debug)]
pub struct KeyRing {
    file: WatchedFile,
    keys: RwLock<Arc<HashMap<String, Known>>>,
}

/// A key with everything that verifying it needs, so that a request allocates nothing.
#[derive(Debug)]
struct Known {
    hash: KeyHash,
    principal: Principal,
    expires: Option<SystemTime>,
    revoked: bool,
}

impl KeyRing {
    /// Reads the keys file.
    ///
    /// # Errors
    ///
    /// The file is missing, malformed (the error names the line), or writable by everyone.
    pub fn load(path: &Path) -> Result<Self, KeysFileError> {
        let ring = Self { file: WatchedFile::new(path), keys: RwLock::default() };
        ring.refresh()?;
        Ok(ring)
    }

    /// Reads the file again if it changed; returns whether it did. Blocking.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); the keys read before then stay in force.
    pub fn refresh(&self) -> Result<bool, KeysFileError> {
        let Some(changed) = self.file.read_if_changed()? else { return Ok(false) };
        check_mode(changed.mode)?;
        let keys = parse_entries(&changed.text)?
            .into_iter()
            .map(|entry| (entry.id().to_owned(), Known::from(&entry)))
            .collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        self.file.accept(&changed);
        Ok(true)
    }

    /// How many keys are known, revoked and expired ones included.
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in crate::auth) fn verify(
        &self,
        key: &str,
        now: SystemTime,
    ) -> Result<Principal, FailureClass> {
        let id = id_of(key).ok_or(FailureClass::Malformed)?;
        let keys = self.keys();
        let known = keys.get(id).ok_or(FailureClass::Unknown)?;
        // Comparing hashes leaks nothing about the secret; in constant time all the same, so that
        // nobody has to rely on that argument.
        if !bool::from(KeyHash::of(key).0.ct_eq(&known.hash.0)) {
            return Err(FailureClass::BadSecret);
        }
        if known.revoked {
            return Err(FailureClass::Revoked);
        }
        if known.expires.is_some_and(|expires| expires <= now) {
            return Err(FailureClass::Expired);
        }
        Ok(known.principal.clone())
    }

    fn keys(&self) -> Arc<HashMap<String, Known>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<&KeyEntry> for Known {
    fn from(entry: &KeyEntry) -> Self {
        Self {
            hash: entry.hash(),
            principal: entry.to_principal(),
            expires: entry.expires(),
            revoked: entry.revoked().is_some(),
        }
    }
}

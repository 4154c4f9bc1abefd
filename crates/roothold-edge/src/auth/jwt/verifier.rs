//! [`JwtVerifier`]: from a token to a principal.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roothold_core::Principal;

use super::{
    cache::TokenCache,
    claims::Claims,
    config::{JwtConfig, JwtConfigError},
    header::Header,
    keys::KeySet,
    strict_json,
};
use crate::auth::{failure::FailureClass, watched_file::WatchedFile};

/// Verifies access tokens against one issuer's key set.
pub struct JwtVerifier {
    config: JwtConfig,
    file: Option<WatchedFile>,
    active: RwLock<Arc<Active>>,
}

/// A key set and what has verified against it: replaced together.
struct Active {
    keys: KeySet,
    cache: TokenCache,
}

impl JwtVerifier {
    /// A verifier with the keys of a JWK set, given as JSON.
    ///
    /// # Errors
    ///
    /// An unusable setting, or a key set without a usable key.
    pub fn new(config: JwtConfig, jwks_json: &str) -> Result<Self, JwtConfigError> {
        config.check()?;
        let active = RwLock::new(Active::parse(&config, jwks_json)?);
        Ok(Self { config, file: None, active })
    }

    /// A verifier with the keys of a JWK set in a file, which [`refresh`](Self::refresh) reads
    /// again when it changed.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if the file cannot be read.
    pub fn from_file(config: JwtConfig, path: &Path) -> Result<Self, JwtConfigError> {
        let file = WatchedFile::new(path);
        let content = file.read()?;
        let verifier = Self::new(config, &content.text)?;
        file.accept(&content);
        Ok(Self { file: Some(file), ..verifier })
    }

    /// Replaces the keys: tokens signed with a key that is no longer there are refused from now on,
    /// those verified before included.
    ///
    /// # Errors
    ///
    /// A key set without a usable key; the keys from before then stay in force.
    pub fn reload(&self, jwks_json: &str) -> Result<(), JwtConfigError> {
        let active = Active::parse(&self.config, jwks_json)?;
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = active;
        Ok(())
    }

    /// Reads the key set file again if it changed; returns whether it did. Blocking.
    ///
    /// # Errors
    ///
    /// As [`reload`](Self::reload), and if the file cannot be read.
    pub fn refresh(&self) -> Result<bool, JwtConfigError> {
        let Some(file) = &self.file else { return Ok(false) };
        let Some(changed) = file.read_if_changed()? else { return Ok(false) };
        self.reload(&changed.text)?;
        file.accept(&changed);
        Ok(true)
    }

    pub(in crate::auth) fn verify(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Principal, FailureClass> {
        let active = Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner));
        let hash = TokenCache::hash(token);
        if let Some(claims) = active.cache.get(&hash) {
            claims.check_time(now, &self.config)?;
            return Ok(claims.principal.clone());
        }
        let claims = active.claims_of(token, &self.config)?;
        claims.check_time(now, &self.config)?;
        let principal = claims.principal.clone();
        active.cache.insert(hash, Arc::new(claims));
        Ok(principal)
    }

    #[cfg(test)]
    pub(super) fn cached_tokens(&self) -> usize {
        self.active.read().unwrap().cache.len()
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JwtVerifier").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Active {
    fn parse(config: &JwtConfig, jwks_json: &str) -> Result<Arc<Self>, JwtConfigError> {
        let keys = KeySet::parse(jwks_json, &config.algorithms)?;
        Ok(Arc::new(Self { keys, cache: TokenCache::default() }))
    }

    fn claims_of(&self, token: &str, config: &JwtConfig) -> Result<Claims, FailureClass> {
        let (message, signature) = token.rsplit_once('.').ok_or(FailureClass::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(FailureClass::Malformed)?;
        let decode = |part: &str| {
            // Refuses padding, other alphabets, and bits left over: one token, one spelling.
            URL_SAFE_NO_PAD.decode(part).map_err(|_| FailureClass::Malformed)
        };
        let header = strict_json::parse_object(&decode(header)?).ok_or(FailureClass::Malformed)?;
        let header = Header::check(&header, &config.algorithms, config.token_type)?;
        let signature = decode(signature)?;
        self.keys.verify(&header.kid, header.algorithm, message.as_bytes(), &signature)?;
        let claims = strict_json::parse_object(&decode(payload)?).ok_or(FailureClass::BadClaims)?;
        Claims::check(&claims, config)
    }
}

//! [`Authenticator`]: from a request's headers to a principal.
//!
//! It tries API keys and JWTs by the form of the credential; it never tries one after the other
//! failed. It knows nothing of policy.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use roothold_core::Principal;

use super::{
    api_keys::{KEY_PREFIX, KeyRing},
    bearer,
    challenge::{Challenges, ProtectedResource, ResourceError},
    failure::{AuthFailure, FailureClass},
    jwt::JwtVerifier,
    watched_file::RefreshError,
};

/// Authenticates requests by API key, by JWT, by both, or not at all. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: Option<Arc<KeyRing>>,
    jwt: Option<Arc<JwtVerifier>>,
    challenges: Challenges,
}

impl Authenticator {
    /// Every request is the local user's, with every scope.
    pub fn none() -> Self {
        Self { inner: Arc::new(Inner { keys: None, jwt: None, challenges: Challenges::bare() }) }
    }

    /// Starts an authenticator; with neither [`keys`](AuthenticatorBuilder::keys) nor
    /// [`jwt`](AuthenticatorBuilder::jwt) it will be [`none`](Self::none).
    pub fn builder() -> AuthenticatorBuilder {
        AuthenticatorBuilder { keys: None, jwt: None, resource: None }
    }

    /// Whether requests are not authenticated at all.
    pub fn is_none(&self) -> bool {
        self.inner.keys.is_none() && self.inner.jwt.is_none()
    }

    /// Returns who sent a request with these headers. Reads no file and waits for nothing.
    ///
    /// # Errors
    ///
    /// One [`AuthFailure`], whose class is for metrics, audit and log. The caller gets 401 with
    /// [`challenge`](Self::challenge), whatever the class.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthFailure> {
        self.authenticate_at(headers, SystemTime::now())
    }

    /// [`authenticate`](Self::authenticate) at a given time.
    ///
    /// # Errors
    ///
    /// As [`authenticate`](Self::authenticate).
    pub fn authenticate_at(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Principal, AuthFailure> {
        if self.is_none() {
            return Ok(Principal::local());
        }
        let credential = bearer::credential(headers)?;
        let verified = if credential.starts_with(KEY_PREFIX) {
            let keys = self.inner.keys.as_ref().ok_or(FailureClass::Unknown)?;
            keys.verify(credential, now)
        } else {
            let jwt = self.inner.jwt.as_ref().ok_or(FailureClass::Unknown)?;
            jwt.verify(credential, now)
        };
        Ok(verified?)
    }

    /// The `WWW-Authenticate` value of a 401. It tells whether a credential was there, and never
    /// why it was refused.
    pub fn challenge(&self, failure: AuthFailure) -> HeaderValue {
        self.inner.challenges.unauthorized(failure.credential_presented())
    }

    /// The `WWW-Authenticate` value of a 403 for a credential that lacks scopes. `needed` is every
    /// scope the request needs, held ones included, since a client asks for exactly this list.
    pub fn challenge_scopes(&self, needed: &[&str]) -> HeaderValue {
        self.inner.challenges.insufficient_scope(needed)
    }

    /// The protected resource metadata (RFC 9728) as JSON, where an issuer is configured.
    pub fn metadata_json(&self) -> Option<Bytes> {
        self.inner.challenges.metadata_json()
    }

    /// The path at which [`metadata_json`](Self::metadata_json) is to be served:
    /// `/.well-known/oauth-protected-resource/mcp` for a resource at `/mcp`.
    pub fn metadata_path(&self) -> Option<&str> {
        self.inner.challenges.metadata_path()
    }

    /// Reads changed key files again; returns whether anything was taken over.
    ///
    /// Blocking: call it from a blocking task every
    /// [`REFRESH_INTERVAL`](super::REFRESH_INTERVAL), and on SIGHUP. Unchanged files cost one
    /// read and one hash each.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is malformed changes nothing. One bad file does not keep the
    /// other from being reloaded.
    pub fn refresh(&self) -> Result<bool, RefreshError> {
        let keys = self.inner.keys.as_ref().map_or(Ok(false), |keys| keys.refresh());
        let jwks = self.inner.jwt.as_ref().map_or(Ok(false), |jwt| jwt.refresh());
        Ok(keys.map_err(RefreshError::Keys)? | jwks.map_err(RefreshError::Jwks)?)
    }
}

/// Builds an [`Authenticator`].
#[derive(Debug)]
pub struct AuthenticatorBuilder {
    keys: Option<Arc<KeyRing>>,
    jwt: Option<Arc<JwtVerifier>>,
    resource: Option<ProtectedResource>,
}

impl AuthenticatorBuilder {
    /// Accepts the API keys of this ring.
    #[must_use]
    pub fn keys(mut self, keys: impl Into<Arc<KeyRing>>) -> Self {
        self.keys = Some(keys.into());
        self
    }

    /// Accepts the access tokens that this verifier accepts.
    #[must_use]
    pub fn jwt(mut self, jwt: impl Into<Arc<JwtVerifier>>) -> Self {
        self.jwt = Some(jwt.into());
        self
    }

    /// Describes this server to OAuth clients, in challenges and in the metadata document.
    #[must_use]
    pub fn resource(mut self, resource: ProtectedResource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Returns the authenticator.
    ///
    /// # Errors
    ///
    /// A URL or scope of the resource that clients could not use.
    pub fn build(self) -> Result<Authenticator, ResourceError> {
        let challenges = match &self.resource {
            Some(resource) => Challenges::new(resource)?,
            None => Challenges::bare(),
        };
        let Self { keys, jwt, .. } = self;
        Ok(Authenticator { inner: Arc::new(Inner { keys, jwt, challenges }) })
    }
}

#[cfg(test)]
mod tests;

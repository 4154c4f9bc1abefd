//! Authentication: who sent this request, from its headers alone.
//!
//! | module | what it holds |
//! |---|---|
//! | `authenticator` | [`Authenticator`]: none, API keys, JWT, or both |
//! | `bearer` | the one place that reads a credential from a request |
//! | `api_keys` | the keys file, making and revoking keys, verifying them |
//! | `jwt` | access tokens in JWT form against a configured key set |
//! | `challenge` | `WWW-Authenticate` and the RFC 9728 metadata document |
//! | `rate` | limits per principal, and on failed attempts per address |
//!
//! It does not decide what a principal may do, and it fetches nothing: keys come from files.
//!
//! **Invariant**: a request's headers go in, a [`Principal`](roothold_core::Principal) or an
//! [`AuthFailure`] without any byte of the credential comes out. Nothing here blocks or awaits
//! while a request waits; [`Authenticator::refresh`] is the one call that reads files.

mod api_keys;
mod authenticator;
mod bearer;
mod challenge;
mod failure;
mod jwt;
mod name;
mod rate;
mod watched_file;

#[cfg(test)]
mod testing;

pub use api_keys::{ApiKey, KeyEntry, KeyRing, KeysFile, KeysFileError};
pub use authenticator::{Authenticator, AuthenticatorBuilder};
pub use bearer::CREDENTIAL_BYTES_MAX;
pub use challenge::{ProtectedResource, ResourceError};
pub use failure::{AuthFailure, FailureClass};
pub use jwt::{JwtAlgorithm, JwtConfig, JwtConfigError, JwtVerifier, TokenType};
pub use name::PRINCIPAL_BYTES_MAX;
pub use rate::{FailureLimit, RateLimit};
pub use watched_file::{REFRESH_INTERVAL, RefreshError};

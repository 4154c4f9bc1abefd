//! Access tokens in JWT form (RFC 9068), checked by the rules of RFC 8725.
//!
//! What is checked, and refused: anything but three base64url parts; a name that occurs twice in an
//! object; `crit`, encryption, compression, nesting; an algorithm outside the configured list or one
//! that does not fit the key; a `kid` that is not in the key set; a bad signature; another issuer or
//! audience, compared byte by byte; `exp` missing or over, `nbf` to come; times that are not numbers;
//! a `cnf` claim, since no proof of possession is looked at; a token that is not an access token.
//!
//! `jsonwebtoken` supplies the signatures only. Its claim checks read the clock themselves, keep the
//! last of two equal names and accept a list of issuers, so the checks here are our own.
//!
//! Nothing is fetched: `jku`, `x5u`, `jwk` and `x5c` headers are not looked at, and a `kid` is
//! compared and never used as a path or URL.
//!
//! **Invariant**: no claim is looked at before the signature over it has verified.

mod cache;
mod claims;
mod config;
mod header;
mod keys;
mod strict_json;
mod verifier;

pub use config::{JwtAlgorithm, JwtConfig, JwtConfigError, TokenType};
pub use verifier::JwtVerifier;

#[cfg(test)]
mod tests;

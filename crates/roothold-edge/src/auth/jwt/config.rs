//! What a verifier is told: issuer, audience, algorithms, leeway.

use std::{io, time::Duration};

use jsonwebtoken::Algorithm;

/// The most clock leeway that is taken.
const LEEWAY_MAX: Duration = Duration::from_mins(1);

/// Which access tokens are accepted.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// The one issuer, byte for byte: `https://issuer.example` is not `https://issuer.example/`.
    pub issuer: String,
    /// The names of this server; a token's `aud` must hold one of them, byte for byte. Usually the
    /// public URL of the MCP endpoint.
    pub audiences: Vec<String>,
    /// The algorithms that tokens may be signed with.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the issuer's clock may be off. At most 60 s.
    pub leeway: Duration,
    /// Which `typ` headers mark an access token.
    pub token_type: TokenType,
    /// The claim that names the principal.
    pub principal_claim: String,
}

impl JwtConfig {
    /// The defaults: [`JwtAlgorithm::DEFAULT`], 30 s leeway, `at+jwt` only, `sub`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            algorithms: JwtAlgorithm::DEFAULT.to_vec(),
            leeway: Duration::from_secs(30),
            token_type: TokenType::AtJwt,
            principal_claim: "sub".to_owned(),
        }
    }

    pub(super) fn check(&self) -> Result<(), JwtConfigError> {
        let refused = |what| Err(JwtConfigError::Setting(what));
        if self.issuer.is_empty() {
            return refused("the issuer is empty: give the `iss` of the tokens");
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return refused("an audience is empty: give the `aud` that names this server");
        }
        if self.algorithms.is_empty() {
            return refused("no algorithm is allowed: name at least one");
        }
        if self.leeway > LEEWAY_MAX {
            return refused("the clock leeway is over 60 s: set the clocks instead");
        }
        if self.principal_claim.is_empty() {
            return refused("the principal claim is empty: `sub` is the usual one");
        }
        Ok(())
    }
}

/// Why a verifier could not be made, or its keys not be replaced.
#[derive(Debug, thiserror::Error)]
pub enum JwtConfigError {
    /// A setting is unusable.
    #[error("{0}")]
    Setting(&'static str),
    /// An algorithm of another name than those of [`JwtAlgorithm`].
    #[error("{0:?} is not an algorithm that can be allowed: take from {names}", names = JwtAlgorithm::names())]
    Algorithm(String),
    /// The key set file could not be read.
    #[error("the token key set cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The key set is not a JWK set.
    #[error("the token key set is not a jwk set: {0}")]
    Json(String),
    /// A key of the set is unusable.
    #[error("key {index} of the token key set: {reason}")]
    Key {
        /// Counted from 1.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No key of the set can verify a signature of an allowed algorithm.
    #[error(
        "the token key set holds no key for an allowed algorithm: check `kty`, `alg`, `use` and `kid` of its keys"
    )]
    NoKey,
}

/// Which `typ` headers mark an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenType {
    /// `at+jwt` or `application/at+jwt` only, as RFC 9068 §4 demands.
    #[default]
    AtJwt,
    /// Also `JWT` and no `typ` at all, for issuers that do not follow RFC 9068. ID and refresh
    /// tokens are then told apart by their claims and by their audience, which is weaker.
    AcceptUntyped,
}

/// A signature algorithm that can be allowed. Asymmetric ones only: with a shared secret, whoever
/// verifies could also issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// EdDSA on Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// Every algorithm that can be allowed.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The algorithms that are allowed where none are named: one of each key type and size in
    /// common use.
    pub const DEFAULT: [Self; 5] =
        [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Its name in the `alg` header (RFC 7518, RFC 8037).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this exact name.
    ///
    /// # Errors
    ///
    /// `none`, `HS256` and every other name.
    pub fn parse(name: &str) -> Result<Self, JwtConfigError> {
        Self::by_name(name).ok_or_else(|| JwtConfigError::Algorithm(name.to_owned()))
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    pub(super) fn library(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

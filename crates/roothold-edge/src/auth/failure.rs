//! Why a credential was refused.
//!
//! The class is for metrics, audit and log. It never reaches the caller: whoever could tell a bad
//! signature from a bad audience could feel their way to a token that passes.

use std::fmt;

/// A refused credential. Holds its class and nothing of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("authentication failed: {class}")]
pub struct AuthFailure {
    class: FailureClass,
}

impl AuthFailure {
    /// A failure of this class.
    pub const fn new(class: FailureClass) -> Self {
        Self { class }
    }

    /// What was wrong: for metrics, audit and log only.
    pub const fn class(self) -> FailureClass {
        self.class
    }

    /// Whether the request carried any credential at all.
    pub fn credential_presented(self) -> bool {
        self.class != FailureClass::Missing
    }
}

impl From<FailureClass> for AuthFailure {
    fn from(class: FailureClass) -> Self {
        Self::new(class)
    }
}

/// The closed set of reasons for which a credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// No `Authorization` header.
    Missing,
    /// Several `Authorization` headers, another scheme, an over-long credential, or broken form.
    Malformed,
    /// An API key id or a token's `kid` that is not in the configured set.
    Unknown,
    /// The credential's time is over.
    Expired,
    /// The token's `nbf` lies in the future.
    NotYetValid,
    /// The signature does not verify.
    BadSignature,
    /// A known API key id with another secret.
    BadSecret,
    /// The token's `iss` is not the configured issuer.
    BadIssuer,
    /// The token's `aud` does not name this server.
    BadAudience,
    /// An algorithm that is not allowed, or that does not fit the key.
    BadAlgorithm,
    /// Not an access token: another `typ`, a nested or encrypted token, or an ID token.
    BadType,
    /// A claim is missing, doubled, or of the wrong type.
    BadClaims,
    /// The token is bound to a key (`cnf`) and came without proof of it.
    Unproven,
    /// The API key was revoked.
    Revoked,
}

impl FailureClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 14] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::NotYetValid,
        Self::BadSignature,
        Self::BadSecret,
        Self::BadIssuer,
        Self::BadAudience,
        Self::BadAlgorithm,
        Self::BadType,
        Self::BadClaims,
        Self::Unproven,
        Self::Revoked,
    ];

    /// The name used as a metric label and in audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::BadSecret => "bad_secret",
            Self::BadIssuer => "bad_issuer",
            Self::BadAudience => "bad_audience",
            Self::BadAlgorithm => "bad_algorithm",
            Self::BadType => "bad_type",
            Self::BadClaims => "bad_claims",
            Self::Unproven => "unproven",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

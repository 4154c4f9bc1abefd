//! The policy as configuration writes it, and why it can be refused.

use crate::pattern::PatternError;

/// What is excluded when the configuration does not say: files that hold secrets by custom.
pub const DEFAULT_EXCLUDES: &[&str] = &[
    ".env",
    ".env.*",
    "credentials.*",
    "*.key",
    "*.pem",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    "id_rsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".ssh",
    ".aws",
    ".gnupg",
    ".kube",
    "**/.docker/config.json",
];

/// Patterns over all roots; they see the path of the URI without its leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySpec {
    /// What may be read.
    pub read: Vec<String>,
    /// What may be written, in roots whose access is read-write.
    pub write: Vec<String>,
    /// What does not exist for any caller.
    pub exclude: Vec<String>,
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            read: vec!["**".to_owned()],
            write: vec!["**".to_owned()],
            exclude: DEFAULT_EXCLUDES.iter().map(|pattern| (*pattern).to_owned()).collect(),
        }
    }
}

/// What one principal is granted; `None` means everything that the policy allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrincipalSpec {
    /// The name that authentication yields, or `*` for everyone without an entry of their own.
    pub name: String,
    /// The scopes that the principal can use at most.
    pub scopes: Option<Vec<String>>,
    /// The roots, by name or URI.
    pub roots: Option<Vec<String>>,
    /// The tools, by name.
    pub tools: Option<Vec<String>>,
}

/// Why a policy is refused; each names the key and the mend.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A pattern cannot be used.
    #[error("{key}: {source}")]
    Pattern {
        /// The configuration key.
        key: String,
        /// Which pattern, and why.
        source: PatternError,
    },
    /// Two entries for one principal.
    #[error("[[principals]] names `{0}` twice; make it one entry")]
    DuplicatePrincipal(String),
    /// A principal's root does not exist.
    #[error(
        "[[principals]] `{principal}`: there is no root `{root}`; use the name or uri of a [[roots]] entry"
    )]
    UnknownRoot {
        /// The principal.
        principal: String,
        /// What was written.
        root: String,
    },
    /// A principal's root is the name of several.
    #[error(
        "[[principals]] `{principal}`: several roots are called `{root}`; use the uri of the one that is meant"
    )]
    AmbiguousRoot {
        /// The principal.
        principal: String,
        /// What was written.
        root: String,
    },
}

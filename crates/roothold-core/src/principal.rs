//! Who is calling, and with which scopes the credential was issued.
//!
//! A principal says nothing about what is allowed: that is [`crate::Policy::decide`]'s answer.

use std::sync::{Arc, LazyLock};

/// The authenticated caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: Arc<str>,
    scopes: Scopes,
}

impl Principal {
    /// A principal by name, with the scopes that its credential carries.
    pub fn new(name: impl Into<Arc<str>>, scopes: Scopes) -> Self {
        Self { name: name.into(), scopes }
    }

    /// The caller of a server without authentication: the one local user, with every scope.
    pub fn local() -> Self {
        static LOCAL: LazyLock<Principal> = LazyLock::new(|| Principal::new("local", Scopes::All));
        LOCAL.clone()
    }

    /// The stable name that policy, quotas and the audit log know the caller by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same name, shared: cloning it allocates nothing.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The scopes of the credential.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
}

/// The OAuth scopes of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// No restriction by scope: a local user without credentials.
    All,
    /// Exactly these.
    Only(Arc<[Arc<str>]>),
}

impl Scopes {
    /// Scopes from a space-separated list, the form of the OAuth `scope` claim (RFC 6749 §3.3).
    pub fn parse(list: &str) -> Self {
        Self::Only(list.split_ascii_whitespace().map(Arc::from).collect())
    }

    /// Whether `scope` is among them.
    pub fn contains(&self, scope: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.iter().any(|held| &**held == scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_list_holds_what_it_names_and_nothing_else() {
        let scopes = Scopes::parse("files:read  jobs:manage");
        assert!(scopes.contains("files:read"));
        assert!(scopes.contains("jobs:manage"));
        assert!(!scopes.contains("files:write"));
        assert!(!scopes.contains("files"));
        assert!(Scopes::All.contains("anything"));
    }
}

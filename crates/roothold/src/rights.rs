//! Who may do what by the configuration in force, and with which tools that are made of SQL. Another
//! configuration has others, which take their place as a whole.
//!
//! **Invariant**: a call, and all that is a part of it, is decided by the rights of one configuration.

use std::sync::{Arc, PoisonError, RwLock};

use roothold_core::Policy;

use crate::tools::SqlTools;

/// The rights of one configuration.
pub(crate) struct Rights {
    pub(crate) policy: Policy,
    pub(crate) sql_tools: SqlTools,
}

/// Those that are in force.
pub(crate) struct InForce(RwLock<Arc<Rights>>);

impl InForce {
    pub(crate) fn new(rights: Rights) -> Self {
        Self(RwLock::new(Arc::new(rights)))
    }

    pub(crate) fn now(&self) -> Arc<Rights> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides by others from now on. Calls that run end by those that they began with.
    pub(crate) fn take(&self, rights: Rights) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rights);
    }
}

//! The structured form of an answer on its way to a transport that writes it as the text that it is.
//!
//! The SDK's result holds it as a value, which for thousands of entries costs several times what
//! the text does. A transport that can do better leaves a place for it in the request's extensions.

use std::sync::{Arc, Mutex, PoisonError};

/// What a transport writes as it is, both as JSON in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The structured form, in pieces one behind the other; none if there is no such form.
    pub(crate) structured: Vec<String>,
    /// The text of the first block, a string, which the result then lacks.
    pub(crate) first_text: Option<String>,
}

/// The place of one answer; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verbatim(Arc<Mutex<Option<Parts>>>);

impl Verbatim {
    /// Leaves them for the transport.
    pub(crate) fn put(&self, parts: Parts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
    }

    /// What was left, if anything was.
    pub(crate) fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nothing was left, and nobody is there who could.
    pub(crate) fn is_given_up(&self) -> bool {
        Arc::strong_count(&self.0) == 1
            && self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

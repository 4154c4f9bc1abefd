//! How far a call is, for clients that asked to be told.

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};

/// How far a call is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How much is done; must grow from one message to the next.
    pub done: f64,
    /// How much there is, where that is known.
    pub total: Option<f64>,
    /// What was done, in a few words.
    pub message: Option<String>,
}

impl Progress {
    /// `done` of `total`.
    pub fn of(done: f64, total: f64) -> Self {
        Self { done, total: Some(total), message: None }
    }

    /// With a few words.
    #[must_use]
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

/// Where the progress of one call goes.
#[derive(Debug, Clone)]
pub(crate) struct ProgressSink {
    peer: Peer<RoleServer>,
    token: ProgressToken,
}

impl ProgressSink {
    pub(crate) fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self { peer, token }
    }

    pub(super) async fn send(&self, progress: Progress) {
        let mut param = ProgressNotificationParam::new(self.token.clone(), progress.done);
        param.total = progress.total;
        param.message = progress.message;
        // A client that went away is noticed by the call's own cancellation.
        if let Err(error) = self.peer.notify_progress(param).await {
            tracing::debug!(%error, "a progress message was not delivered");
        }
    }
}

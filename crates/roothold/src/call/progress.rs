//! How far a call is, for clients that asked to be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;

/// The least time between two messages of blocking work.
const PAUSE: Duration = Duration::from_millis(200);

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

/// By what blocking work says how far it is. It holds one message: the newest.
#[derive(Debug)]
pub struct Teller {
    news: Option<watch::Sender<Option<Progress>>>,
    told: Option<Instant>,
}

impl Teller {
    pub(super) fn new() -> (Self, watch::Receiver<Option<Progress>>) {
        let (news, hears) = watch::channel(None);
        (Self { news: Some(news), told: None }, hears)
    }

    pub(super) fn to_nobody() -> Self {
        Self { news: None, told: None }
    }

    /// Tells how far the work is, unless nobody listens or something was told just before; whether
    /// it was told.
    pub fn tell(&mut self, progress: impl FnOnce() -> Progress) -> bool {
        let Some(news) = &self.news else { return false };
        if self.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return false;
        }
        self.told = Some(Instant::now());
        news.send_replace(Some(progress()));
        true
    }
}

/// Where the progress of one call goes.
#[derive(Clone)]
pub(crate) struct ProgressSink(Listener);

#[derive(Clone)]
enum Listener {
    /// A client, over the protocol.
    Client { peer: Peer<RoleServer>, token: ProgressToken },
    /// This process.
    Here(Arc<dyn Fn(Progress) + Send + Sync>),
}

impl ProgressSink {
    pub(crate) fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self(Listener::Client { peer, token })
    }

    /// For a call of this process's own. `hear` must not block.
    pub(crate) fn here(hear: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Listener::Here(Arc::new(hear)))
    }

    /// Passes news on until no more can come.
    pub(super) async fn follow(&self, mut news: watch::Receiver<Option<Progress>>) {
        // The last news are heard before the end.
        while news.changed().await.is_ok() {
            let newest = news.borrow_and_update().clone();
            if let Some(progress) = newest {
                self.send(progress).await;
            }
        }
    }

    pub(super) async fn send(&self, progress: Progress) {
        let (peer, token) = match &self.0 {
            Listener::Here(hear) => return hear(progress),
            Listener::Client { peer, token } => (peer, token),
        };
        let mut param = ProgressNotificationParam::new(token.clone(), progress.done);
        param.total = progress.total;
        param.message = progress.message;
        // A client that went away is noticed by the call's own cancellation.
        if let Err(error) = peer.notify_progress(param).await {
            tracing::debug!(%error, "a progress message was not delivered");
        }
    }
}

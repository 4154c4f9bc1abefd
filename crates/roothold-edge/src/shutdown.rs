//! The phases of a shutdown, and the handle that begins it.
//!
//! The handle only tells: what each phase does stands in `serve.rs`.
//! Invariant: phases never go backwards.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where a front is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Takes traffic.
    Serving,
    /// `/ready` answers 503; connections are still accepted for the pre-stop delay.
    Unready,
    /// No new connections; requests under way are finished.
    Draining,
    /// Connections are closed; what is buffered is written.
    Flushing,
    /// Everything has ended.
    Stopped,
}

impl Phase {
    /// The name that logs and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Flushing => "flushing",
            Self::Stopped => "stopped",
        }
    }
}

/// A cloneable handle that stops a front.
#[derive(Debug, Clone)]
pub struct Shutdown {
    begun: CancellationToken,
    aborted: CancellationToken,
    draining: CancellationToken,
    cutting: CancellationToken,
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A handle for a front that is not stopping.
    pub fn new() -> Self {
        Self {
            begun: CancellationToken::new(),
            aborted: CancellationToken::new(),
            draining: CancellationToken::new(),
            cutting: CancellationToken::new(),
            phase: Arc::new(watch::Sender::new(Phase::Serving)),
        }
    }

    /// Begins the orderly shutdown. Calling it again changes nothing.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Ends the waiting of every phase at once: requests under way are cut. The flush still runs.
    pub fn abort(&self) {
        self.begun.cancel();
        self.aborted.cancel();
    }

    /// Returns the phase the front is in.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns a receiver that sees every later phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits until [`begin`](Self::begin) or [`abort`](Self::abort) was called.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until no new connection is accepted any more. Endless streams should end then.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until [`abort`](Self::abort) was called.
    pub async fn aborted(&self) {
        self.aborted.cancelled().await;
    }

    /// Waits until the time of the requests under way is over. What a handler answers at once then still reaches its
    /// client; a moment later connections are cut.
    pub async fn cutting(&self) {
        self.cutting.cancelled().await;
    }

    pub(crate) fn cut(&self) {
        self.cutting.cancel();
    }

    pub(crate) fn draining_token(&self) -> CancellationToken {
        self.draining.clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        if phase >= Phase::Draining {
            self.draining.cancel();
        }
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_never_go_backwards() {
        let shutdown = Shutdown::new();
        shutdown.enter(Phase::Draining);
        shutdown.enter(Phase::Unready);
        assert_eq!(shutdown.phase(), Phase::Draining);
        assert!(shutdown.is_draining());
    }
}

//! The time by which a worker waits: of this machine, and never going back.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Measures and waits.
pub trait Timer: Send + Sync + 'static {
    /// The time since some beginning. It never goes back.
    fn now(&self) -> Duration;

    /// Waits for this long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Waits until [`Timer::now`] is this.
    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        self.sleep(at.saturating_sub(self.now()))
    }
}

/// Tokio's timer.
#[derive(Debug, Clone, Copy)]
pub struct TokioTimer(Instant);

impl Default for TokioTimer {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

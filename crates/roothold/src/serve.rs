//! A server on its transports: HTTP with its private port, or stdio; and its end.

mod front;
mod observer;
mod pipes;
mod private;
mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rmcp::ServiceExt as _;
use roothold_edge::Shutdown;
use tokio::net::TcpListener;

use crate::builder::{Roothold, StartError};
use crate::call::Engine;

pub(crate) use front::authenticator;
pub use signals::on_signals;

/// What became of the calls when the server ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether everything that was running was answered and everything was stored.
    pub clean: bool,
}

impl Roothold {
    /// Serves over HTTP on `listener` until `shutdown`, and `/metrics` on the private port.
    ///
    /// # Errors
    /// A [`StartError`], when the configuration is unsafe, such as no authentication on an
    /// address that is not loopback, or the private port is taken.
    ///
    /// # Cancellation
    /// Dropping the future ends the server without waiting for what is running; use `shutdown`.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<Ended, StartError> {
        let edge = front::edge(&self)?;
        let private = private::listen(&self.config.telemetry.listen).await?;
        let metrics = private.map(|listener| {
            tokio::spawn(private::serve(listener, Arc::clone(&self.engine), shutdown.clone()))
        });
        let stored = AtomicBool::new(false);
        let drained = edge
            .serve(listener, shutdown, async {
                stored.store(flush(Arc::clone(&self.engine)).await, Ordering::Relaxed);
            })
            .await
            .map_err(|error| StartError::Front(error.to_string()))?;
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        Ok(Ended { clean: drained.is_clean() && stored.into_inner() })
    }

    /// Serves one client over stdin and stdout until the input ends or `shutdown` begins.
    ///
    /// # Errors
    /// When the transport fails.
    ///
    /// # Cancellation
    /// As [`Self::serve`].
    pub async fn stdio(self, shutdown: Shutdown) -> anyhow::Result<Ended> {
        let service = self.handler().serve(pipes::standard()).await;
        let service = match service {
            Ok(service) => service,
            // The client went away before it said anything.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => {
                return Ok(Ended { clean: flush(Arc::clone(&self.engine)).await });
            }
            Err(error) => return Err(error.into()),
        };
        let stop = service.cancellation_token();
        let ended = service.waiting();
        tokio::pin!(ended);
        tokio::select! {
            ended = &mut ended => { ended?; }
            () = shutdown.begun() => {
                stop.cancel();
                let _ = tokio::time::timeout(Duration::from_secs(self.config.server.drain_timeout_seconds), ended).await;
            }
        }
        Ok(Ended { clean: flush(Arc::clone(&self.engine)).await })
    }
}

/// How long calls that were told to stop may take to say how they ended.
const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends what is still running, so that its outcome is recorded, and stores what is in memory;
/// tells whether that worked.
async fn flush(engine: Arc<Engine>) -> bool {
    engine.stop.cancel();
    let deadline = Instant::now() + OUTCOMES_TIMEOUT;
    while engine.metrics.calls_in_flight() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closed = tokio::task::spawn_blocking(move || engine.audit.close()).await;
    let error = match closed {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(error, "the audit log could not be closed");
    false
}

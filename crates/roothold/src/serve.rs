//! A server on its transports: HTTP with its private port, or stdio; and its end.

mod front;
mod observer;
mod private;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use rmcp::ServiceExt as _;
use roothold_edge::{Drained, Shutdown};
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
        let audit = Arc::clone(&self.engine);
        let drained = edge
            .serve(listener, shutdown, async move { flush(audit).await })
            .await
            .map_err(|error| StartError::Front(error.to_string()))?;
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        Ok(Ended { clean: is_clean(&drained) && self.engine.audit.is_healthy() })
    }

    /// Serves one client over stdin and stdout until the input ends or `shutdown` begins.
    ///
    /// # Errors
    /// When the transport fails.
    ///
    /// # Cancellation
    /// As [`Self::serve`].
    pub async fn stdio(self, shutdown: Shutdown) -> anyhow::Result<Ended> {
        let service = self.handler().serve(rmcp::transport::stdio()).await;
        let service = match service {
            Ok(service) => service,
            // The client went away before it said anything.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => {
                flush(Arc::clone(&self.engine)).await;
                return Ok(Ended { clean: true });
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
        flush(Arc::clone(&self.engine)).await;
        Ok(Ended { clean: self.engine.audit.is_healthy() })
    }
}

fn is_clean(drained: &Drained) -> bool {
    drained.is_clean()
}

/// Stores what is still in memory.
async fn flush(engine: Arc<Engine>) {
    let closed = tokio::task::spawn_blocking(move || engine.audit.close()).await;
    match closed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the audit log could not be closed"),
        Err(error) => tracing::error!(%error, "the audit log could not be closed"),
    }
}

//! SIGTERM and SIGINT: the first begins the end, the second ends at once.

use roothold_edge::Shutdown;
use tokio::signal::unix::{SignalKind, signal};

/// Begins `shutdown` on the first signal and aborts it on the second. Runs until then.
///
/// # Errors
/// When the signals cannot be listened to.
pub fn on_signals(shutdown: Shutdown) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping; a second signal ends at once");
        shutdown.begin();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal; ending at once");
        shutdown.abort();
    })
}

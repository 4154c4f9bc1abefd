//! What the service manager is told that has started the server, if one has and wants to know:
//! systemd does where a unit says `Type=notify`, and names its socket in `NOTIFY_SOCKET`.
//!
//! **Invariant**: a manager that does not listen keeps nobody longer than [`TOLD_WITHIN`].

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// How long telling may take. The socket takes a message at once, unless its reader is stuck.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// The server answers.
pub(super) async fn ready(address: SocketAddr) {
    tell(vec![Word::Ready, Word::Status(format!("serving MCP at /mcp on {address}"))]).await;
}

/// The configuration is being read again; [`reloaded`] must follow.
pub(super) async fn reloading() {
    tell(vec![Word::Reloading]).await;
}

/// The server goes on, with another configuration or with the one that it had.
pub(super) async fn reloaded(is_taken: bool) {
    let status = if is_taken {
        "serving MCP; the configuration was read again"
    } else {
        "serving MCP; a changed configuration was not taken, the log says why"
    };
    tell(vec![Word::Ready, Word::Status(status.to_owned())]).await;
}

/// The end has begun, and may take as long as this.
pub(super) async fn stopping(longest: Duration) {
    let status = "answering what runs, and ending".to_owned();
    tell(vec![Word::Stopping, Word::Within(longest), Word::Status(status)]).await;
}

/// A word for the manager that can wait on another thread.
enum Word {
    Ready,
    Reloading,
    Stopping,
    /// It may take as long from now on.
    Within(Duration),
    /// For whoever asks the manager.
    Status(String),
}

async fn tell(words: Vec<Word>) {
    // A socket of datagrams blocks while its reader has a full queue.
    let told = tokio::task::spawn_blocking(move || {
        let states: Vec<_> = words.iter().flat_map(Word::states).collect();
        sd_notify::notify(&states)
    });
    match tokio::time::timeout(TOLD_WITHIN, told).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the service manager could not be told"),
        Ok(Err(error)) => tracing::warn!(%error, "the service manager could not be told"),
        Err(_) => tracing::warn!("the service manager does not listen"),
    }
}

impl Word {
    fn states(&self) -> Vec<NotifyState<'_>> {
        match self {
            Self::Ready => vec![NotifyState::Ready],
            // Newer managers want to know when, so that they know which reload has ended.
            Self::Reloading => {
                let now = NotifyState::monotonic_usec_now().ok();
                [NotifyState::Reloading].into_iter().chain(now).collect()
            }
            Self::Stopping => vec![NotifyState::Stopping],
            Self::Within(time) => {
                let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                vec![NotifyState::ExtendTimeoutUsec(micros)]
            }
            Self::Status(text) => vec![NotifyState::Status(text)],
        }
    }
}

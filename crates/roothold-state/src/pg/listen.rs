//! Wake-ups through LISTEN and NOTIFY, on a connection of its own.
//!
//! The task lives as long as the store. When its connection ends it makes another, and says that
//! something may have been missed.

use std::future::{pending, poll_fn};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_postgres::AsyncMessage;

use super::connect::Way;
use super::error::said;
use crate::change::{Bell, Change, What};
use crate::error::OpenError;
use crate::id::JobId;

/// How often the connection is asked whether it still lives.
const PULSE: Duration = Duration::from_secs(15);
/// How long after an outage it is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The task that listens; it ends when this is dropped.
pub(super) struct Listener(AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Starts it, and returns once it listens.
    pub(super) async fn start(
        way: Way,
        channel: String,
        timeout: Duration,
        bell: Bell,
    ) -> Result<Self, OpenError> {
        let (ready, listens) = oneshot::channel();
        let task = tokio::spawn(listen_for_ever(way, channel, bell, ready));
        let listener = Self(task.abort_handle());
        match tokio::time::timeout(timeout, listens).await {
            Ok(Ok(())) => Ok(listener),
            _ => Err(OpenError::Unreachable("it does not take LISTEN in time".to_owned())),
        }
    }
}

async fn listen_for_ever(way: Way, channel: String, bell: Bell, ready: oneshot::Sender<()>) {
    let (mut ready, mut pause) = (Some(ready), RETRY.0);
    loop {
        let told = || {
            bell.ring(Change::UNKNOWN);
            ready.take()
        };
        let (listened, error) = listen(&way, &channel, &bell, told).await;
        tracing::warn!(error, "the state store's wake-ups are interrupted");
        pause = if listened { RETRY.0 } else { (pause * 2).min(RETRY.1) };
        tokio::time::sleep(pause).await;
    }
}

/// Listens until the connection ends: whether it ever did, and why not any more.
async fn listen(
    way: &Way,
    channel: &str,
    bell: &Bell,
    told: impl FnOnce() -> Option<oneshot::Sender<()>>,
) -> (bool, String) {
    let (client, mut connection) = match way.config.connect(way.tls.clone()).await {
        Ok(pair) => pair,
        Err(error) => return (false, said(&error)),
    };
    let mut listened = false;
    let pulse = async {
        client.batch_execute(&way.greeting).await?;
        client.batch_execute(&format!("LISTEN \"{channel}\"")).await?;
        listened = true;
        if let Some(ready) = told() {
            let _ = ready.send(());
        }
        loop {
            tokio::time::sleep(PULSE).await;
            if tokio::time::timeout(PULSE, client.batch_execute("SELECT 1")).await.is_err() {
                return Ok::<(), tokio_postgres::Error>(());
            }
        }
    };
    let messages = async {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(note))) => bell.ring(read(note.payload())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return said(&error),
                None => return "the connection was closed".to_owned(),
            }
        }
    };
    let error = tokio::select! {
        biased;
        error = messages => error,
        silent = pulse => silent.map_or_else(|error| said(&error), |()| "no answer".to_owned()),
        () = pending() => String::new(),
    };
    (listened, error)
}

/// What is sent with NOTIFY.
pub(super) fn payload(job: JobId, what: What) -> String {
    let word = match what {
        What::Queued => "queued",
        What::Progress => "progress",
        What::CancelAsked => "cancel",
        What::Ended => "ended",
        What::Unknown => "unknown",
    };
    format!("{word} {job}")
}

/// What was sent; what does not read, as from another version, may be anything.
fn read(payload: &str) -> Change {
    let Some((word, job)) = payload.split_once(' ') else { return Change::UNKNOWN };
    let what = match word {
        "queued" => What::Queued,
        "progress" => What::Progress,
        "cancel" => What::CancelAsked,
        "ended" => What::Ended,
        _ => return Change::UNKNOWN,
    };
    job.parse().map_or(Change::UNKNOWN, |job| Change::of(job, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_and_anything_else_is_unknown() {
        let job = JobId::from_bytes([9; 16]);
        for what in [What::Queued, What::Progress, What::CancelAsked, What::Ended] {
            assert_eq!(read(&payload(job, what)), Change::of(job, what));
        }
        for other in ["", "queued", "queued job-1", "later job-00000000000000000000000000000000"] {
            assert_eq!(read(other), Change::UNKNOWN, "{other}");
        }
    }
}

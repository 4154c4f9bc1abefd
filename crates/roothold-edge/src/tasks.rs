//! Subscriptions to tasks: `taskIds` in the filter of `subscriptions/listen`, for which the SDK's
//! types have no place.
//!
//! Which of the named tasks may be followed is asked before the SDK sees the request; what it
//! acknowledges is then completed on its way out. It knows nothing of tasks themselves.
//! **Invariant**: a task that was not accepted is neither acknowledged nor in what the handler
//! finds, and no more than the first event of a stream is ever changed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use rmcp::model::{ClientCapabilities, ErrorData, Extensions};
use serde_json::Value;

use crate::caller::Caller;

/// Decides which tasks a client may follow. Given to
/// [`EdgeBuilder::task_listeners`](crate::EdgeBuilder::task_listeners).
pub trait TaskListeners: Send + Sync + 'static {
    /// Returns those of the named tasks that the caller may follow; without a caller, it is the
    /// local user's.
    ///
    /// # Errors
    /// An error of the protocol, when none can be followed now.
    ///
    /// # Cancellation
    /// Safe to drop.
    fn accept(
        &self,
        caller: Option<Arc<Caller>>,
        tasks: Vec<String>,
    ) -> BoxFuture<'static, Result<Vec<String>, ErrorData>>;
}

/// The tasks that a subscription may follow; see [`accepted_tasks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedTasks(pub Vec<String>);

/// Finds the accepted tasks of a `subscriptions/listen` in the extensions of its `RequestContext`.
pub fn accepted_tasks(extensions: &Extensions) -> Option<Arc<AcceptedTasks>> {
    if let Some(accepted) = extensions.get::<Arc<AcceptedTasks>>() {
        return Some(Arc::clone(accepted));
    }
    extensions.get::<http::request::Parts>()?.extensions.get::<Arc<AcceptedTasks>>().cloned()
}

/// The error for a client that did not declare the tasks extension with its request.
pub(crate) fn undeclared() -> ErrorData {
    let tasks = ClientCapabilities::builder().enable_tasks().build();
    ErrorData::missing_required_client_capability(tasks)
}

impl AcceptedTasks {
    /// The acknowledgement of a subscription, a whole JSON message, with these tasks in it;
    /// another message stays as it is.
    pub fn acknowledge(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut message: Value = serde_json::from_slice(message).ok()?;
        if message["method"] != "notifications/subscriptions/acknowledged" {
            return None;
        }
        message["params"]["notifications"]["taskIds"] = self.0.clone().into();
        serde_json::to_vec(&message).ok()
    }
}

/// The first events of a stream, until the acknowledgement among them has its tasks.
pub(crate) struct Acknowledging {
    accepted: Arc<AcceptedTasks>,
    held: BytesMut,
}

/// The acknowledgement is the first message of its stream, and smaller than this but for its URIs.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Acknowledging {
    pub(crate) fn new(accepted: Arc<AcceptedTasks>) -> Self {
        Self { accepted, held: BytesMut::new() }
    }

    /// Takes more of the stream; gives what may go out, and whether that was all there is to do.
    pub(crate) fn more(&mut self, data: &Bytes) -> (Bytes, bool) {
        self.held.extend_from_slice(data);
        let mut out = BytesMut::new();
        while let Some(end) = event_end(&self.held) {
            let event = self.held.split_to(end);
            match self.with_tasks(&event) {
                Some(event) => {
                    out.extend_from_slice(&event);
                    out.extend_from_slice(&self.held.split());
                    return (out.freeze(), true);
                }
                None => out.extend_from_slice(&event),
            }
        }
        if self.held.len() > HELD_BYTES_MAX {
            out.extend_from_slice(&self.held.split());
            return (out.freeze(), true);
        }
        (out.freeze(), false)
    }

    /// What is still held at the end of the stream.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// The event with its message completed, if it is the acknowledgement.
    fn with_tasks(&self, event: &[u8]) -> Option<Vec<u8>> {
        const FIELD: &[u8] = b"data:";
        let mut changed = None;
        let lines = event.split_inclusive(|byte| *byte == b'\n');
        let mut out = Vec::with_capacity(event.len() + 128);
        for line in lines {
            let message = line.strip_prefix(FIELD).and_then(|data| self.accepted.acknowledge(data));
            match message {
                Some(message) => {
                    for part in [FIELD, b" ", &message, b"\n"] {
                        out.extend_from_slice(part);
                    }
                    changed = Some(());
                }
                None => out.extend_from_slice(line),
            }
        }
        changed.map(|()| out)
    }
}

/// Where the first event of a stream ends, if all of it is there.
fn event_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acknowledging() -> Acknowledging {
        Acknowledging::new(Arc::new(AcceptedTasks(vec!["job-1".to_owned()])))
    }

    fn stream() -> Vec<u8> {
        let ack = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
            "params": {"_meta": {"x": 1}, "notifications": {"resourceSubscriptions": ["file:///a"]}}});
        let later = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged"});
        format!(": hello\n\nid: 0\ndata: {ack}\n\ndata: {later}\n\n").into_bytes()
    }

    #[test]
    fn the_acknowledgement_gets_its_tasks_however_the_stream_is_cut() {
        let stream = stream();
        let whole = acknowledging().more(&Bytes::from(stream.clone())).0;
        let text = String::from_utf8(whole.to_vec()).unwrap();
        assert!(text.contains(r#""taskIds":["job-1"]"#) && text.contains("file:///a"), "{text}");
        assert_eq!(text.matches("taskIds").count(), 1, "only the first: {text}");
        assert!(text.starts_with(": hello\n\nid: 0\ndata: {"), "{text}");
        for cut in 1..stream.len() {
            let (mut acknowledging, mut out, mut done) = (acknowledging(), Vec::new(), false);
            for part in [&stream[..cut], &stream[cut..]] {
                if done {
                    out.extend_from_slice(part);
                    continue;
                }
                let (bytes, is_done) = acknowledging.more(&Bytes::copy_from_slice(part));
                out.extend_from_slice(&bytes);
                done = is_done;
            }
            assert!(done && out == whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_acknowledgement_goes_on_unchanged() {
        let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "x"}});
        let stream = Bytes::from(format!("data: {error}\n\ndata: oops\n\n: ping\n\n"));
        let (out, done) = acknowledging().more(&stream);
        assert_eq!((out, done), (stream, false));
    }

    #[test]
    fn no_more_is_held_than_its_limit() {
        let mut acknowledging = acknowledging();
        let part = Bytes::from(vec![b'x'; 1024 * 1024]);
        let mut passed = 0;
        for _ in 0..5 {
            passed += acknowledging.more(&part).0.len();
        }
        assert_eq!(passed, 5 * part.len());
    }
}

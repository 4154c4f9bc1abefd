//! The end of an answer: told once, when its last byte was handed over or its client had gone.
//!
//! It measures; it changes nothing of the answer.

use std::sync::Arc;
use std::time::Instant;

use crate::conn::ConnState;
use crate::observer::{MethodClass, Observer, RequestFinished};
use crate::trace::TraceParent;

/// Tells the observer and the connection, when dropped, that a request is over.
pub(crate) struct Finish {
    observer: Arc<dyn Observer>,
    conn: Arc<ConnState>,
    started: Instant,
    pub(crate) method: MethodClass,
    pub(crate) fast: bool,
    /// Whether all of the request's body was taken.
    pub(crate) body_read: bool,
    pub(crate) status: u16,
    /// The span that the observer made of the request.
    pub(crate) span: Option<TraceParent>,
    /// The sender's span.
    pub(crate) parent: Option<TraceParent>,
    bytes: u64,
}

/// The status that is told for a client that hung up before there was an answer (nginx's code).
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Finish {
    pub(crate) fn begin(observer: Arc<dyn Observer>, conn: Arc<ConnState>) -> Self {
        conn.request_began();
        let (method, status) = (MethodClass::Other, CLIENT_CLOSED_REQUEST);
        Self {
            observer,
            conn,
            started: Instant::now(),
            method,
            fast: false,
            body_read: false,
            status,
            span: None,
            parent: None,
            bytes: 0,
        }
    }

    /// Says which span of its sender the request belongs to.
    pub(crate) fn belongs_to(&mut self, parent: Option<TraceParent>) {
        self.parent = parent;
        self.span = self.observer.request_began(parent);
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let now = Instant::now();
        self.conn.request_ended(now);
        self.observer.request_finished(&RequestFinished {
            status: self.status,
            method: self.method,
            duration: now.saturating_duration_since(self.started),
            fast: self.fast,
            bytes: self.bytes,
            started: self.started,
            span: self.span,
            parent: self.parent,
        });
    }
}

//! The metrics of the HTTP front.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::described::{self, Describe as _};
use super::system::whole;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    status: &'static str,
    path: &'static str,
}

/// The metrics of the HTTP front; cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct EdgeMetrics {
    requests: Family<RequestLabel, Counter>,
    /// The series of answers on the fast path that are no errors, once there is one.
    usual: OnceLock<Counter>,
    pub(crate) connections: Gauge,
    connections_refused: Family<ReasonLabel, Counter>,
    pub(crate) rate_limited: Counter,
    pub(crate) answers_held: Gauge,
    answers_max: Gauge,
    pub(crate) answers_refused: Counter,
    auth_failures: Family<ClassLabel, Counter>,
    pub(crate) auth_failures_unrecorded: Counter,
}

impl EdgeMetrics {
    /// Those of a front that holds answers of so many bytes at most.
    pub(super) fn new(answers_bytes_max: usize) -> Self {
        let metrics = Self::default();
        metrics.answers_max.set(whole(answers_bytes_max as u64));
        metrics
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::HTTP_REQUESTS, self.requests.clone());
        registry.describe(&described::HTTP_CONNECTIONS, self.connections.clone());
        registry.describe(&described::HTTP_CONNECTIONS_REFUSED, self.connections_refused.clone());
        registry.describe(&described::RATE_LIMITED, self.rate_limited.clone());
        registry.describe(&described::ANSWERS_HELD, self.answers_held.clone());
        registry.describe(&described::ANSWERS_MAX, self.answers_max.clone());
        registry.describe(&described::ANSWERS_REFUSED, self.answers_refused.clone());
        registry.describe(&described::AUTH_FAILURES, self.auth_failures.clone());
        let unrecorded = self.auth_failures_unrecorded.clone();
        registry.describe(&described::AUTH_FAILURES_UNRECORDED, unrecorded);
        // A rate over a series that begins with its first event does not see that one.
        for class in described::FAILURES.words() {
            let _ = self.auth_failures.get_or_create_owned(&ClassLabel { class });
        }
        for reason in ["total", "per_address"] {
            let _ = self.connections_refused.get_or_create_owned(&ReasonLabel { reason });
        }
        for status in ["2xx", "3xx", "4xx", "5xx"] {
            let _ = self.requests.get_or_create_owned(&RequestLabel { status, path: "full" });
            let _ = self.requests.get_or_create_owned(&RequestLabel { status, path: "fast" });
        }
    }

    /// One request ended; `fast` tells which way it took.
    pub(crate) fn request(&self, status: u16, fast: bool) {
        if let (200..300, true, Some(usual)) = (status, fast, self.usual.get()) {
            usual.inc();
            return;
        }
        let status = match status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let path = if fast { "fast" } else { "full" };
        let series = self.requests.get_or_create_owned(&RequestLabel { status, path });
        series.inc();
        if (status, path) == ("2xx", "fast") {
            self.usual.get_or_init(|| series);
        }
    }

    /// A connection was closed at once.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A credential was refused.
    pub(crate) fn auth_failure(&self, class: &'static str) {
        self.auth_failures.get_or_create(&ClassLabel { class }).inc();
    }
}

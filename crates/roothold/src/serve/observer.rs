//! What the front sees, as metrics and audit records.
//!
//! **Invariant**: whoever has no credential cannot fill the disk: at most
//! [`FAILURES_PER_SECOND_MAX`] refused credentials a second are recorded. The others are counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::Principal;
use roothold_core::audit::AuthFailure;
use roothold_edge::auth::FailureClass;
use roothold_edge::{Observer, Refusal, RequestFinished, TraceParent};

use crate::call::Engine;
use crate::telemetry::{EdgeMetrics, whole};

/// About 300 bytes each: half a gigabyte a day at the very most.
const FAILURES_PER_SECOND_MAX: u32 = 20;

pub(super) struct FrontObserver {
    metrics: EdgeMetrics,
    engine: Arc<Engine>,
    recorded: PerSecond,
}

impl FrontObserver {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let recorded = PerSecond::new(FAILURES_PER_SECOND_MAX);
        Self { metrics: engine.metrics.edge(), engine, recorded }
    }
}

impl Observer for FrontObserver {
    fn connection_opened(&self, _remote: IpAddr) {
        self.metrics.connections.inc();
    }

    fn connection_closed(&self, _remote: IpAddr) {
        self.metrics.connections.dec();
    }

    fn connection_refused(&self, _remote: IpAddr, reason: Refusal) {
        self.metrics.connection_refused(match reason {
            Refusal::Total => "total",
            Refusal::PerAddress => "per_address",
        });
    }

    fn request_began(&self, parent: Option<TraceParent>) -> Option<TraceParent> {
        self.engine.traces.request_began(parent)
    }

    fn request_finished(&self, request: &RequestFinished) {
        self.engine.traces.request_finished(request);
        self.metrics.request(request.status, request.fast);
    }

    fn authentication_failed(&self, remote: IpAddr, class: FailureClass, request_id: &str) {
        self.metrics.auth_failure(class.as_str());
        if !self.recorded.one_more(Instant::now()) {
            self.metrics.auth_failures_unrecorded.inc();
            return;
        }
        let failure = AuthFailure { class: class.as_str(), remote: Some(remote), request_id };
        let recorded = self.engine.audit.current().and_then(|log| log.auth_failure(&failure));
        if let Err(error) = recorded {
            self.metrics.auth_failures_unrecorded.inc();
            tracing::error!(%error, "a refused credential could not be recorded");
        }
    }

    fn rate_limited(&self, _principal: &Principal) {
        self.metrics.rate_limited.inc();
    }

    fn answer_held(&self, bytes: u64) {
        self.metrics.answers_held.inc_by(whole(bytes));
    }

    fn answer_released(&self, bytes: u64) {
        self.metrics.answers_held.dec_by(whole(bytes));
    }

    fn answer_refused(&self) {
        self.metrics.answers_refused.inc();
    }
}

/// Counts up to a limit in each second.
struct PerSecond {
    max: u32,
    /// When the second began, and how many it has had.
    second: Mutex<(Instant, u32)>,
}

impl PerSecond {
    fn new(max: u32) -> Self {
        Self { max, second: Mutex::new((Instant::now(), 0)) }
    }

    /// Whether the limit allows one more; counts it if so.
    fn one_more(&self, now: Instant) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(second.0) >= Duration::from_secs(1) {
            *second = (now, 0);
        }
        let allowed = second.1 < self.max;
        second.1 += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_count() {
        let limit = PerSecond::new(3);
        let start = Instant::now() + Duration::from_secs(2);
        let allowed = |at: Duration| (0..10).filter(|_| limit.one_more(start + at)).count();
        assert_eq!(allowed(Duration::ZERO), 3);
        assert_eq!(allowed(Duration::from_millis(999)), 0);
        assert_eq!(allowed(Duration::from_secs(1)), 3);
        assert_eq!(allowed(Duration::from_mins(1)), 3);
    }
}

//! What the front sees, as metrics and audit records.

use std::net::IpAddr;
use std::sync::Arc;

use roothold_core::Principal;
use roothold_core::audit::AuthFailure;
use roothold_edge::auth::FailureClass;
use roothold_edge::{Observer, RequestFinished};

use crate::call::Engine;
use crate::telemetry::EdgeMetrics;

pub(super) struct FrontObserver {
    metrics: EdgeMetrics,
    engine: Arc<Engine>,
}

impl FrontObserver {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { metrics: engine.metrics.edge(), engine }
    }
}

impl Observer for FrontObserver {
    fn connection_opened(&self, _remote: IpAddr) {
        self.metrics.connections.inc();
    }

    fn connection_closed(&self, _remote: IpAddr) {
        self.metrics.connections.dec();
    }

    fn request_finished(&self, request: &RequestFinished) {
        self.metrics.request(request.status, request.fast);
    }

    fn authentication_failed(&self, remote: IpAddr, class: FailureClass) {
        self.metrics.auth_failure(class.as_str());
        let failure = AuthFailure { class: class.as_str(), remote: Some(remote), request_id: "" };
        if let Err(error) = self.engine.audit.auth_failure(&failure) {
            tracing::error!(%error, "a refused credential could not be recorded");
        }
    }

    fn rate_limited(&self, _principal: &Principal) {
        self.metrics.rate_limited.inc();
    }
}

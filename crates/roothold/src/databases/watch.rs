//! The look at databases beside the calls: after the start and after a reload each is asked what its
//! role could do, and later those that do not answer, until they do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roothold_core::{Budget, Fault, FaultKind};
use serde_json::{Value, json};

use super::{Database, Databases};
use crate::databases::events::DatabaseAsked;

/// How long asking one may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest nap, where nothing is due.
const NAP_MAX: Duration = Duration::from_mins(1);
/// The shortest, so that a database that is always due keeps nobody busy.
const NAP_MIN: Duration = Duration::from_millis(100);

impl Databases {
    /// Begins to look, unless somebody looks already, until the databases are closed. Nothing is
    /// begun where there are none. Wants a runtime.
    pub(crate) fn watch(&self) {
        if self.all().is_empty() || self.0.is_watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let databases = self.clone();
        self.0.tasks.spawn(async move {
            let end = databases.0.end.clone();
            end.run_until_cancelled(databases.look_for_ever()).await
        });
    }

    async fn look_for_ever(&self) -> Infallible {
        loop {
            let all = self.all();
            let due = all.iter().filter(|one| one.due_in().is_some_and(|time| time.is_zero()));
            futures::future::join_all(due.map(|one| self.probe(one))).await;
            let nap = all.iter().filter_map(|one| one.due_in()).min().unwrap_or(NAP_MAX);
            // By then others may be there.
            drop(all);
            let _ = tokio::time::timeout(nap.clamp(NAP_MIN, NAP_MAX), self.0.wake.notified()).await;
        }
    }

    /// Asks each once.
    pub(crate) async fn ask_all(&self) {
        futures::future::join_all(self.all().iter().map(|one| self.probe(one))).await;
    }

    /// Asks one now.
    pub(super) async fn probe(&self, database: &Arc<Database>) {
        let began = Instant::now();
        let budget = Budget::new(0, 0, PROBE_TIMEOUT);
        let report = Box::pin(database.source.probe(&budget)).await.map_err(|fault| {
            if fault.kind() != FaultKind::Timeout {
                return fault;
            }
            Fault::new(FaultKind::Unavailable, "the database does not answer in time")
        });
        database.health.learn_of_probe(database, report.as_ref().err());
        let fault = report.as_ref().err().map(Fault::kind);
        let event = DatabaseAsked {
            kind: database.kind(),
            operation: "probe",
            rows: 0,
            duration: began.elapsed(),
            fault,
            trace_id: None,
        };
        event.emit(self.metrics());
    }

    /// Has the look be taken now, at those for which it is due.
    pub(super) fn look_soon(&self) {
        self.0.wake.notify_one();
    }

    /// What is known of each, for the operator: no caller sees it.
    pub(crate) fn status(&self) -> Value {
        self.all().iter().map(|database| database.status()).collect()
    }
}

impl Database {
    fn due_in(&self) -> Option<Duration> {
        self.health.due_in(self.section.required)
    }

    fn status(&self) -> Value {
        let report = self.source.report();
        let pool = self.source.pool();
        let mut status = json!({
            "name": self.section.name,
            "kind": self.section.kind,
            "access": self.section.access,
            "required": self.section.required,
            "state": self.health.state().as_str(),
            "connections": {"max": pool.connections_max, "open": pool.open, "in_use": pool.in_use},
            "findings": report.as_ref().map(|report| &report.findings),
        });
        if let Some(reason) = self.health.reason() {
            status["reason"] = reason.into();
        }
        status
    }
}

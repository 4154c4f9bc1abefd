//! The look at databases beside the calls: after the start and after a reload each is asked what its
//! role could do, and later those that do not answer, until they do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use roothold_core::{Budget, Fault, FaultKind};
use serde_json::{Value, json};

use super::{Database, Databases, Role};
use crate::databases::events::DatabaseAsked;

/// How long asking one may take.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest nap, where nothing is due.
const NAP_MAX: Duration = Duration::from_mins(1);
/// The shortest, so that a database that is always due keeps nobody busy.
const NAP_MIN: Duration = Duration::from_millis(100);
/// How many roles of one database are asked at a time: each takes a connection, and a process in some servers.
const ROLES_AT_ONCE: usize = 8;
/// A connection that nobody used for so long is closed; one of a principal's role sooner, since there
/// may be many of these.
const IDLE_MAX: Duration = Duration::from_mins(10);
const IDLE_MAX_OF_PRINCIPAL: Duration = Duration::from_mins(1);

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
            self.ask(&all, |_| true).await;
            for role in all.iter().flat_map(|database| database.roles()) {
                role.close_idle();
            }
            let nap = all.iter().filter_map(|one| one.due_in()).min().unwrap_or(NAP_MAX);
            // By then others may be there.
            drop(all);
            let _ = tokio::time::timeout(nap.clamp(NAP_MIN, NAP_MAX), self.0.wake.notified()).await;
        }
    }

    /// Asks each role once, that is by every way that there is into the databases.
    pub(crate) async fn ask_all(&self) {
        self.ask(&self.all(), |_| true).await;
    }

    /// Asks those roles for which it is time, of those that are wanted.
    pub(super) async fn ask(&self, all: &[Arc<Database>], wanted: impl Fn(&Role) -> bool + Copy) {
        let of_one = |database: &Arc<Database>| {
            let database = Arc::clone(database);
            async move {
                let due = database.due().filter(|role| wanted(role));
                let due: Vec<Arc<Role>> = due.cloned().collect();
                let asking = futures::stream::iter(due);
                asking.for_each_concurrent(ROLES_AT_ONCE, |role| self.probe(role)).await;
            }
        };
        futures::future::join_all(all.iter().map(of_one)).await;
    }

    /// Asks one now.
    async fn probe(&self, role: Arc<Role>) {
        let began = Instant::now();
        let budget = Budget::new(0, 0, PROBE_TIMEOUT);
        let report = Box::pin(role.source.probe(&budget)).await.map_err(|fault| {
            if fault.kind() != FaultKind::Timeout {
                return fault;
            }
            Fault::new(FaultKind::Timeout, "the database does not answer in time")
        });
        role.health.learn_of_probe(&role, report.as_ref().err());
        if role.principal().is_some() {
            // It was asked whether anybody will use it or not.
            role.source.close_idle(Duration::ZERO);
        }
        let fault = report.as_ref().err().map(Fault::kind);
        let event = DatabaseAsked {
            kind: role.kind(),
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
    /// Its roles, with how long it is until each is to be asked again.
    fn waits(&self) -> impl Iterator<Item = (&Arc<Role>, Option<Duration>)> {
        let watched = self.watched();
        self.roles().iter().map(move |role| {
            let is_watched = watched.is_some_and(|watched| Arc::ptr_eq(watched, role));
            (role, role.health.due_in(is_watched))
        })
    }

    fn due(&self) -> impl Iterator<Item = &Arc<Role>> {
        let is_due = |wait: Option<Duration>| wait.is_some_and(|wait| wait.is_zero());
        self.waits().filter(move |(_, wait)| is_due(*wait)).map(|(role, _)| role)
    }

    fn due_in(&self) -> Option<Duration> {
        self.waits().filter_map(|(_, wait)| wait).min()
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "name": self.section.name,
            "kind": self.section.kind,
            "access": self.section.access,
            "required": self.section.required,
        });
        let mut of_roles: Vec<Value> = self.roles().iter().map(|role| role.status()).collect();
        match &mut of_roles[..] {
            // What it says is the database's own.
            [Value::Object(role)] if self.section.roles.is_empty() => {
                status.as_object_mut().into_iter().for_each(|status| status.append(role));
            }
            _ => {
                status["state"] = self.state().as_str().into();
                status["roles"] = of_roles.into();
            }
        }
        status
    }
}

impl Role {
    fn close_idle(&self) {
        let of_principal = self.principal().is_some();
        let unused_for = if of_principal { IDLE_MAX_OF_PRINCIPAL } else { IDLE_MAX };
        self.source.close_idle(unused_for);
    }

    fn status(&self) -> Value {
        let report = self.source.report();
        let pool = self.source.pool();
        let mut status = json!({
            "state": self.health.state().as_str(),
            "connections": {"max": pool.connections_max, "open": pool.open, "in_use": pool.in_use},
            "findings": report.as_ref().map(|report| &report.findings),
        });
        if let Some(name) = self.principal() {
            status["principal"] = name.into();
        }
        if let Some(reason) = self.health.reason() {
            status["reason"] = reason.into();
        }
        status
    }
}

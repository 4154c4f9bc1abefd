//! What happens to databases, as structs whose `emit` writes the log line and the metric together;
//! and what their pools hold, looked at when it is asked for.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use roothold_core::{Fault, FaultKind};
use roothold_databases::{PoolFigures, SourceKind};
use roothold_edge::TraceId;
use tracing::field::display;

use super::health::for_operators;
use super::{Database, Role, State};
use crate::telemetry::described::{self, Describe as _};

/// Bounds in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AskedLabel {
    kind: &'static str,
    operation: &'static str,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    kind: &'static str,
    state: &'static str,
}

type NewHistogram = fn() -> Histogram;

/// The metrics of databases; cloning shares them.
#[derive(Clone)]
pub(crate) struct DatabaseMetrics {
    durations: Family<AskedLabel, Histogram, NewHistogram>,
    rows: Family<KindLabel, Counter>,
    connections: Family<StateLabel, Gauge>,
    waiting: Family<KindLabel, Gauge>,
    databases: Family<StateLabel, Gauge>,
    roles: Family<StateLabel, Gauge>,
}

impl Default for DatabaseMetrics {
    fn default() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as NewHistogram);
        Self {
            durations,
            rows: Family::default(),
            connections: Family::default(),
            waiting: Family::default(),
            databases: Family::default(),
            roles: Family::default(),
        }
    }
}

impl DatabaseMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::DATABASE_DURATION, self.durations.clone());
        registry.describe(&described::DATABASE_ROWS, self.rows.clone());
        registry.describe(&described::DATABASE_CONNECTIONS, self.connections.clone());
        registry.describe(&described::DATABASE_CALLS_WAITING, self.waiting.clone());
        registry.describe(&described::DATABASES, self.databases.clone());
        registry.describe(&described::DATABASE_ROLES, self.roles.clone());
    }

    /// Takes over what there is now.
    pub(super) fn observe(&self, all: &[Arc<Database>]) {
        // One of a kind that a reload took away counts none, instead of what it counted last.
        for family in [&self.connections, &self.databases, &self.roles] {
            family.clear();
        }
        self.waiting.clear();
        for database in all {
            let kind = database.kind().as_str();
            count(&self.databases, kind, database.state());
            for role in database.roles() {
                count(&self.roles, kind, role.health.state());
                self.observe_pool(kind, role.source.pool());
                let waiting = self.waiting.get_or_create_owned(&KindLabel { kind });
                waiting.inc_by(i64::try_from(role.waiting()).unwrap_or(i64::MAX));
            }
        }
    }

    fn observe_pool(&self, kind: &'static str, pool: PoolFigures) {
        let idle = pool.open.saturating_sub(pool.in_use);
        for (state, count) in
            [("in_use", pool.in_use), ("idle", idle), ("max", pool.connections_max)]
        {
            let gauge = self.connections.get_or_create_owned(&StateLabel { kind, state });
            gauge.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Counts one more in its state; the others are there with what they have.
fn count(family: &Family<StateLabel, Gauge>, kind: &'static str, is: State) {
    for state in State::ALL {
        let label = StateLabel { kind, state: state.as_str() };
        family.get_or_create_owned(&label).inc_by(i64::from(state == is));
    }
}

/// A database was asked.
pub(crate) struct DatabaseAsked {
    pub(crate) kind: SourceKind,
    /// `describe`, `query`, `explain`, `execute` or `probe`.
    pub(crate) operation: &'static str,
    /// Rows that it answered with.
    pub(crate) rows: u64,
    pub(crate) duration: Duration,
    pub(crate) fault: Option<FaultKind>,
    /// The trace of the call that asked.
    pub(crate) trace_id: Option<TraceId>,
}

impl DatabaseAsked {
    pub(crate) fn emit(&self, metrics: &DatabaseMetrics) {
        let Self { kind, operation, rows, duration, fault, trace_id } = *self;
        let (kind, error_type) = (kind.as_str(), fault.map_or("", FaultKind::code));
        let label = AskedLabel { kind, operation, error_type };
        metrics.durations.get_or_create(&label).observe(duration.as_secs_f64());
        if rows > 0 {
            metrics.rows.get_or_create(&KindLabel { kind }).inc_by(rows);
        }
        let duration_ms = duration.as_secs_f64() * 1e3;
        let trace_id = trace_id.map(display);
        tracing::debug!(kind, operation, trace_id, rows, duration_ms, error_type, "database asked");
    }
}

/// What is known of a role in a database is another thing than before.
pub(super) struct DatabaseTurned<'a> {
    pub(super) role: &'a Role,
    pub(super) state: State,
    pub(super) fault: Option<&'a Fault>,
}

impl DatabaseTurned<'_> {
    pub(super) fn emit(&self) {
        let (name, kind) = (&*self.role.section.name, self.role.kind().as_str());
        let role_of = self.role.principal();
        match self.state {
            State::Unasked | State::Ready => {
                tracing::info!(name, kind, role_of, "the database can be used");
            }
            State::Disabled => {
                let report = self.role.source.report();
                let finding =
                    report.as_ref().and_then(|report| report.disabled_by()).map(|one| &*one.text);
                tracing::error!(
                    name,
                    kind,
                    role_of,
                    finding,
                    "the database is disabled: it is to be read only; `roothold check` shows the SQL that mends its role"
                );
            }
            State::Down => {
                let reason = self.fault.map(for_operators);
                tracing::warn!(name, kind, role_of, reason, "the database does not answer");
            }
        }
    }
}

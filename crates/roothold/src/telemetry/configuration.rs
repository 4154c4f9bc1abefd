//! The configuration was read again, as a struct.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::described::{self, Describe as _};
use super::metrics::Metrics;
use crate::databases::Reloaded;
use crate::serve::Taken;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How readings of the configuration came out; cloning shares them.
#[derive(Clone, Default)]
pub(super) struct ConfigurationMetrics {
    reads: Family<OutcomeLabel, Counter>,
    refused: Gauge,
}

impl ConfigurationMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        // Both are there from the start: what begins to count is seen by its growth alone.
        for outcome in ["taken", "refused"] {
            self.reads.get_or_create_owned(&OutcomeLabel { outcome });
        }
        registry.describe(&described::CONFIG_READS, self.reads.clone());
        registry.describe(&described::CONFIG_REFUSED, self.refused.clone());
    }
}

/// The configuration was read again, and taken or refused as a whole.
pub(crate) struct ConfigurationRead {
    pub(crate) result: Result<Taken, String>,
}

impl ConfigurationRead {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let outcome = if self.result.is_ok() { "taken" } else { "refused" };
        metrics.configuration.reads.get_or_create_owned(&OutcomeLabel { outcome }).inc();
        metrics.configuration.refused.set(i64::from(self.result.is_err()));
        match &self.result {
            Ok(Taken { changed, databases: Reloaded { kept, made, closed } }) => {
                let said = if changed.is_empty() {
                    "the configuration was read again; nothing in it changed"
                } else {
                    "the configuration was read again"
                };
                tracing::info!(
                    changed = changed.join(", "),
                    roles_kept = kept,
                    roles_made = made,
                    roles_closed = closed,
                    "{said}"
                );
            }
            Err(reason) => tracing::error!(
                reason,
                "the configuration was not taken; the one before stays in force"
            ),
        }
    }
}

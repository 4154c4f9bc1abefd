//! What there is to measure: the name, kind, unit, labels and meaning of every metric, in one place.
//!
//! A metric is registered by its description ([`Describe`]), and the reference page is made from the
//! descriptions ([`super::reference`]), so neither can say what the other does not.
//!
//! **Invariant**: the values of a label are known here, or are names that the operator gave to tools.

mod groups;
mod list;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry, Unit};

pub(crate) use groups::GROUPS;
pub(crate) use list::*;

/// A metric, as it is described.
#[derive(Debug)]
pub(crate) struct Described {
    name: &'static str,
    kind: Kind,
    unit: Option<Measure>,
    labels: &'static [Label],
    about: &'static str,
}

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, and begins at 0 with the process.
    Counter,
    /// It is what it is now.
    Gauge,
    /// It counts by size.
    Histogram,
}

/// What is counted, where it is not a number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Bytes,
    Seconds,
}

/// A label with the values that it can have.
#[derive(Debug)]
pub(crate) struct Label {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

#[derive(Debug)]
pub(crate) enum Values {
    /// One of few words.
    Words(&'static [&'static str]),
    /// One of many words, which several metrics share.
    Set(&'static Set),
}

/// Values that several metrics share.
#[derive(Debug)]
pub(crate) struct Set {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// None, where they are names of the configuration.
    pub(super) words: &'static [&'static str],
}

/// Metrics that are about the same.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(super) about: &'static str,
    pub(crate) metrics: &'static [&'static Described],
}

impl Set {
    /// The values; none, where they are names of the configuration.
    pub(crate) fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    fn is(self, kind: MetricType) -> bool {
        match kind {
            MetricType::Counter => self == Self::Counter,
            MetricType::Gauge => self == Self::Gauge,
            MetricType::Histogram => self == Self::Histogram,
            _ => false,
        }
    }
}

impl Measure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }

    fn unit(self) -> Unit {
        match self {
            Self::Bytes => Unit::Bytes,
            Self::Seconds => Unit::Seconds,
        }
    }
}

impl Described {
    const fn new(kind: Kind, name: &'static str, about: &'static str) -> Self {
        Self { name, kind, unit: None, labels: &[], about }
    }

    const fn counter(name: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Counter, name, about)
    }

    const fn gauge(name: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Gauge, name, about)
    }

    const fn histogram(name: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Histogram, name, about)
    }

    const fn bytes(mut self) -> Self {
        self.unit = Some(Measure::Bytes);
        self
    }

    const fn seconds(mut self) -> Self {
        self.unit = Some(Measure::Seconds);
        self
    }

    const fn by(mut self, labels: &'static [Label]) -> Self {
        self.labels = labels;
        self
    }

    /// The name under which it is scraped; of a histogram, without what says which part of it.
    pub(crate) fn exposed(&self) -> String {
        let mut name = self.name.to_owned();
        if let Some(unit) = self.unit {
            name.push('_');
            name.push_str(unit.as_str());
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn labels(&self) -> &'static [Label] {
        self.labels
    }

    pub(crate) fn about(&self) -> &'static str {
        self.about
    }
}

/// Registering by description.
pub(crate) trait Describe {
    /// Registers a metric, which is of the kind that is described.
    fn describe(&mut self, what: &Described, metric: impl Metric);
}

impl Describe for Registry {
    fn describe(&mut self, what: &Described, metric: impl Metric) {
        debug_assert!(what.kind.is(metric.metric_type()), "{} is of another kind", what.name);
        match what.unit {
            None => self.register(what.name, what.about, metric),
            Some(unit) => self.register_with_unit(what.name, what.about, unit.unit(), metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_described_once_and_as_names_are() {
        let all: Vec<&Described> = GROUPS.iter().flat_map(|group| group.metrics).copied().collect();
        let names: BTreeSet<String> = all.iter().map(|one| one.exposed()).collect();
        assert_eq!(names.len(), all.len());
        for one in all {
            let name = one.exposed();
            let known = ["roothold_", "mcp_server_", "process_"];
            assert!(known.iter().any(|start| name.starts_with(start)), "{name}");
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(plain), "{name}");
            assert!(!one.about.is_empty() && !one.about.ends_with('.'), "{name}");
            for label in one.labels {
                assert!(label.name.chars().all(plain), "{name} {}", label.name);
            }
        }
    }

    #[test]
    fn the_codes_of_faults_are_those_that_calls_fail_with() {
        let codes = roothold_core::FaultKind::ALL.map(roothold_core::FaultKind::code);
        assert_eq!(FAULTS.words[0], "");
        assert_eq!(FAULTS.words[1..], codes);
    }
}

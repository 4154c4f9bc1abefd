//! Stores over the network: what they hold for agents, who may read them, and what they need.

use std::collections::BTreeSet;
use std::path::PathBuf;

use roothold_core::wall::Reach;
use roothold_core::{ObjectUrl, Roots, StoreRule};
use roothold_datasets::{StoreReach, Stores};

use super::source::{self, Part};
use super::{Dataset, Datasets};
use crate::builder::StartError;
use crate::config::{Config, ConfigError, StoreSection, resolve_store};
use crate::walls;

/// A store, as the tools know it.
#[derive(Debug)]
pub(crate) struct KnownStore {
    pub(crate) url: ObjectUrl,
    pub(crate) description: String,
    principals: Option<BTreeSet<String>>,
    tls_ca_file: Option<PathBuf>,
}

impl KnownStore {
    fn of(section: &StoreSection) -> Result<Self, ConfigError> {
        let principals = section.principals.as_ref();
        Ok(Self {
            url: section.object_url()?,
            description: section.description.clone(),
            principals: principals.map(|names| names.iter().cloned().collect()),
            tls_ca_file: section.tls_ca_file.clone(),
        })
    }
}

/// The stores of a configuration, in its order. Their variables and files are read here.
///
/// # Errors
/// A [`ConfigError`] that names the store.
pub(super) fn made(config: &Config) -> Result<(Vec<KnownStore>, Stores), ConfigError> {
    let known = config.stores.iter().map(KnownStore::of).collect::<Result<Vec<_>, _>>()?;
    let specs = config.stores.iter().map(resolve_store).collect::<Result<Vec<_>, _>>()?;
    let stores = Stores::new(&specs).map_err(|error| ConfigError::Value {
        key: "stores".to_owned(),
        reason: error.to_string(),
    })?;
    Ok((known, stores))
}

impl Datasets {
    /// Refuses datasets whose files lie in no root, or whose objects lie in no store.
    ///
    /// # Errors
    /// [`StartError::Front`], which names the dataset and the path.
    pub(crate) fn check_places(&self, roots: &Roots) -> Result<(), StartError> {
        for dataset in self.known.all() {
            for part in &dataset.parts {
                self.check_place(dataset, part, roots)?;
            }
        }
        Ok(())
    }

    fn check_place(&self, dataset: &Dataset, part: &Part, roots: &Roots) -> Result<(), StartError> {
        let (place, what) = match part {
            Part::File(path) | Part::Glob { directory: path, .. } => {
                let bytes = path.as_bytes();
                if roots.iter().any(|root| source::is_below(root.public(), bytes)) {
                    return Ok(());
                }
                let what = "lies in no root; name public paths, which begin with the URI of a root";
                (path.to_string(), what)
            }
            Part::Object(url) | Part::Objects { above: url, .. } => {
                if self.known.stores().iter().any(|store| store.url.below(url).is_some()) {
                    return Ok(());
                }
                (url.to_string(), "lies in no store; add a [[stores]] entry with its URL")
            }
            Part::Unknown(name) => (name.clone(), "is no path and no URL"),
        };
        let what = format!("datasets: `{}` names {place}, which {what}", dataset.name);
        Err(StartError::Front(what))
    }

    /// Who may read which store, for policy; in the order of the configuration.
    pub(crate) fn store_rules(&self) -> Vec<StoreRule> {
        let rule = |store: &super::KnownStore| StoreRule {
            url: store.url.clone(),
            principals: store.principals.clone(),
        };
        self.known.stores().iter().map(rule).collect()
    }

    /// What stores need behind the wall.
    pub(crate) fn stores_reach(&self) -> Reach {
        let known = self.known.stores();
        let all: Vec<(StoreReach, &KnownStore)> = self.stores.reaches().zip(known).collect();
        let ports: BTreeSet<u16> = all.iter().map(|(reach, _)| reach.port).collect();
        let looks_up = all.iter().any(|(reach, _)| reach.looks_up);
        let authorities = all.iter().any(|(reach, store)| reach.tls && store.tls_ca_file.is_none());
        walls::servers(ports, looks_up, authorities)
    }
}

//! The stores that a command line means, opened as they are.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use roothold_state::{Job, JobId, OpenError, StateError, StateStore as _, Whose};

use super::super::{ConfigArgs, disk, say};
use super::Which;
use crate::config::Config;
use crate::jobs::{Place, Store};

/// An open store, and where it is.
pub(super) struct Opened {
    pub(super) place: Place,
    pub(super) store: Store,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl Which {
    /// Whose jobs are asked for.
    pub(super) fn whose(&self) -> Whose<'_> {
        self.owner.as_deref().map_or(Whose::Anyone, Whose::Of)
    }

    /// The stores, in the order of their names.
    ///
    /// # Errors
    /// When there is none, with the places that were looked at; or one cannot be opened.
    pub(super) async fn open(&self) -> anyhow::Result<Vec<Opened>> {
        let config = self.load()?;
        let places = self.places(&config)?;
        let mut opened = Vec::new();
        for place in &places {
            match place.open_existing(&config.jobs).await {
                Ok(store) => opened.push(Opened { place: place.clone(), store }),
                Err(OpenError::Absent) => {}
                Err(error) if is_named(&config) => bail!("{place}: {error}"),
                // One that was only found must not hide the others.
                Err(error) => say(&format!("roothold: {place}: {error}; left out")),
            }
        }
        if opened.is_empty() {
            return Err(none(&config, &places));
        }
        Ok(opened)
    }

    /// The one that is named, or those below the directory that is, or else those of this user.
    fn places(&self, config: &Config) -> anyhow::Result<Vec<Place>> {
        if !is_named(config) {
            return below(&config.state_parent()?);
        }
        let place = Place::of(config)?;
        if let Some(dir) = &self.state_dir
            && !place.has_file()
        {
            let found = below(dir)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(vec![place])
    }

    fn load(&self) -> anyhow::Result<Config> {
        let mut more = Vec::new();
        if let Some(dir) = &self.state_dir {
            let dir = std::path::absolute(dir)?.to_string_lossy().into_owned();
            more.push(("state.dir", toml::Value::String(dir)));
        }
        let source = ConfigArgs { config: self.config.clone(), ..ConfigArgs::default() };
        source.load(&[], false, more)
    }
}

/// Those that servers have by default below a directory: one for each set of roots, which a command
/// line without roots cannot tell.
fn below(parent: &Path) -> anyhow::Result<Vec<Place>> {
    if !disk::is_directory(parent) {
        return Ok(Vec::new());
    }
    let names = disk::names(parent)?;
    let dirs = names.iter().map(|name| parent.join(name)).filter(|dir| disk::is_directory(dir));
    Ok(dirs.map(Place::Sqlite).filter(Place::has_file).collect())
}

fn none(config: &Config, places: &[Place]) -> anyhow::Error {
    match places {
        [place] if is_named(config) => anyhow!(
            "{place}: {}; name the configuration that the server is started with",
            OpenError::Absent
        ),
        _ => anyhow!(
            "no server of this user has kept a job below {}; name the server's --config, or its --state-dir",
            config.state_parent().unwrap_or_else(|_| PathBuf::from("the home directory")).display()
        ),
    }
}

fn is_named(config: &Config) -> bool {
    config.file.is_some() || config.state.dir.is_some() || config.state.postgres.is_some()
}

/// The job of this id, in the store that has it.
///
/// # Errors
/// A store that does not answer.
pub(super) async fn find<'a>(
    stores: &'a [Opened],
    id: JobId,
    whose: Whose<'_>,
) -> Result<Option<(&'a Opened, Job)>, StateError> {
    for opened in stores {
        match opened.store.get(id, whose).await {
            Ok(job) => return Ok(Some((opened, job))),
            Err(StateError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

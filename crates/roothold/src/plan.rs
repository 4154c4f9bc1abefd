//! What a server is made of, found out before anything of it is made: a start goes on from here, and
//! `roothold check` ends here, so that both refuse the same.
//!
//! **Invariant**: planning makes nothing, on the disk or on the network.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use roothold_core::audit::AuditLog;
use roothold_core::handle::Sealer;
use roothold_core::wall::Reach;
use roothold_core::{Policy, Root, RootError, Roots};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::builder::{Builder, StartError};
use crate::config::Config;
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::Datasets;
use crate::jobs::{Jobs, Place};
use crate::passing::is_of_the_disk;
use crate::telemetry::Traces;
use crate::tools::SqlTools;
use crate::{grants, serve, walls};

/// The parts of a server.
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) audit_dir: PathBuf,
    /// None, where no tool makes any.
    pub(crate) jobs: Option<Jobs>,
    #[cfg(feature = "datasets")]
    pub(crate) datasets: Datasets,
    pub(crate) databases: Databases,
    pub(crate) sql_tools: SqlTools,
    pub(crate) traces: Traces,
    pub(crate) sealer: Sealer,
    /// The addresses that `telemetry.listen` means. Behind the wall they could not be looked up.
    pub(crate) private: Vec<SocketAddr>,
}

impl Builder {
    /// What would be built.
    ///
    /// # Errors
    /// A [`StartError`], for a configuration that is unsafe or cannot work.
    pub(crate) fn plan(&self) -> Result<Plan, StartError> {
        let config = &self.config;
        config.check()?;
        grants::check(config, &self.catalog)?;
        let policy = open_policy(config)?;
        let audit_dir = config.audit_dir()?;
        refuse_place(&policy, "audit.dir", &audit_dir)?;
        let jobs = if self.without_jobs { None } else { Jobs::new(config, &self.catalog)? };
        if let Some(dir) = jobs.as_ref().and_then(|jobs| jobs.place().directory()) {
            refuse_served(&policy, "state.dir", dir)?;
            if jobs.as_ref().is_some_and(Jobs::is_named) {
                refuse_unwritable("state.dir", dir)?;
            }
        }
        #[cfg(feature = "datasets")]
        let (datasets, policy) = self.plan_datasets(&policy)?;
        let databases = self.databases.clone();
        let policy = databases.set(&config.databases, &policy)?;
        let sql_tools = SqlTools::default().again(config, &self.catalog, &databases)?;
        Ok(Plan {
            policy,
            audit_dir,
            jobs,
            #[cfg(feature = "datasets")]
            datasets,
            databases,
            sql_tools,
            traces: Traces::new(config)?,
            sealer: config.sealer()?,
            private: serve::private_addresses(&config.telemetry.listen)?,
        })
    }

    #[cfg(feature = "datasets")]
    fn plan_datasets(&self, policy: &Policy) -> Result<(Datasets, Policy), StartError> {
        let datasets = Datasets::new(&self.config, &self.datasets)?;
        datasets.check_places(policy.roots())?;
        refuse_spill(policy, &datasets)?;
        let policy = policy.with_stores(datasets.store_rules());
        Ok((datasets, policy))
    }
}

impl Plan {
    /// Makes the directories that are missing: behind the wall they could not be made, so those that are
    /// needed there alone wait for one.
    ///
    /// # Errors
    /// For one that cannot be made and is not there by default only.
    pub(crate) fn make_directories(&mut self, for_a_wall: bool) -> Result<(), StartError> {
        if for_a_wall {
            #[cfg(feature = "datasets")]
            self.datasets.make_directory()?;
            AuditLog::make_directory(&self.audit_dir)?;
        }
        if let Some(jobs) = &self.jobs
            && !jobs.make_place()?
        {
            self.jobs = None;
        }
        Ok(())
    }

    /// What must be within reach behind the wall, of what is there.
    ///
    /// # Errors
    /// For a collector that is none, or options of PostgreSQL that are wrong or unsafe.
    pub(crate) fn reach(&self, config: &Config) -> Result<Reach, StartError> {
        let is_there = |dir: &Path| dir.is_dir();
        let audit = Some(self.audit_dir.as_path()).filter(|dir| is_there(dir));
        let reach = walls::reach(config, audit, &self.private)?;
        let place = self.jobs.as_ref().map(Jobs::place);
        let place = place.filter(|place| place.directory().is_none_or(is_there));
        let reach = reach.and(place.map(Place::reach).transpose()?.unwrap_or_default());
        #[cfg(feature = "datasets")]
        let reach = reach.and(self.datasets.reach());
        Ok(reach.and(self.databases.reach()))
    }
}

/// Opens the roots and compiles the policy over them; touches nothing else.
pub(crate) fn open_policy(config: &Config) -> Result<Policy, StartError> {
    // A server of databases or stores alone has no files to serve.
    if config.roots.is_empty() && config.databases.is_empty() && config.stores.is_empty() {
        return Err(RootError::None.into());
    }
    let roots = Roots::open(&config.root_specs()?)?;
    Ok(Policy::new(roots, config.policy_spec(), &config.principal_specs())?)
}

/// What queries do not hold in memory is nothing for callers: a directory that was chosen for it
/// must not be theirs, and the usual one is at least excluded.
#[cfg(feature = "datasets")]
fn refuse_spill(policy: &Policy, datasets: &Datasets) -> Result<(), StartError> {
    let Some(dir) = datasets.spill_directory() else { return Ok(()) };
    let key = "dataset_engine.spill_dir";
    if !datasets.spill_is_configured() {
        return refuse_served(policy, key, dir);
    }
    if let Some(root) = dir.ancestors().find_map(|above| policy.roots().containing(above)) {
        let uri = root.uri();
        return Err(StartError::Place(format!(
            "{key}: lies below the root {uri}; name a directory outside every root"
        )));
    }
    refuse_place(policy, key, dir)
}

fn refuse_place(policy: &Policy, key: &str, own: &Path) -> Result<(), StartError> {
    refuse_served(policy, key, own)?;
    refuse_unwritable(key, own)
}

/// Below a root what is the server's own is excluded by the configuration; where it is the root
/// itself, nothing could be served, and everything that is kept there would be.
fn refuse_served(policy: &Policy, key: &str, own: &Path) -> Result<(), StartError> {
    let root_of = |dir: &Path| policy.roots().containing(dir).map(Root::uri);
    let Some(uri) = root_of(own) else { return Ok(()) };
    if own.parent().and_then(root_of) == Some(uri) {
        return Ok(());
    }
    Err(StartError::Place(format!(
        "{key}: is the directory of the root {uri}; name one outside every root"
    )))
}

fn refuse_unwritable(key: &str, dir: &Path) -> Result<(), StartError> {
    could_be_written(dir).map_err(|error| {
        let dir = dir.display();
        let what = format!(
            "{key}: {dir} cannot be written: {error}; name a directory that the server may write"
        );
        if is_of_the_disk(&error) { StartError::Unavailable(what) } else { StartError::Place(what) }
    })
}

/// Whether files can be made in a directory, which is made if it is missing: by what the kernel says of
/// it, or of the one in which the first directory that is missing would be.
fn could_be_written(dir: &Path) -> io::Result<()> {
    for at in std::path::absolute(dir)?.ancestors() {
        match rustix::fs::stat(at) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => {
                return Err(Errno::NOTDIR.into());
            }
            Ok(_) => {
                let asked = Access::WRITE_OK | Access::EXEC_OK;
                return Ok(rustix::fs::accessat(CWD, at, asked, AtFlags::empty())?);
            }
        }
    }
    Err(Errno::NOENT.into())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "sets up a temporary directory")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_can_be_written_or_made_or_not_and_nothing_is_made_to_know() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::write(at("file"), "").unwrap();
        symlink("nowhere/at/all", at("link")).unwrap();
        for good in ["", "missing", "missing/below", "nowhere/at/all"] {
            could_be_written(&at(good)).unwrap();
        }
        for bad in ["file", "file/below"] {
            let error = could_be_written(&at(bad)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{bad}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

//! What must be within reach of the process for its databases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roothold_core::wall::Reach;

use super::{Database, Role};
use crate::config::{DatabaseAccess, DatabaseSection};
use crate::walls;

/// Ports, directories, and whether names are looked up and authorities read.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    ports: BTreeSet<u16>,
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    looks_up: bool,
    authorities: bool,
}

impl Needs {
    pub(super) fn of_all(all: &[Arc<Database>]) -> Self {
        let mut needs = Self::default();
        for role in all.iter().flat_map(|database| database.roles()) {
            needs.add(role);
        }
        needs
    }

    /// The files that sections are read from, before one is opened.
    pub(super) fn of_files(sections: &[DatabaseSection]) -> Self {
        let files = sections.iter().flat_map(DatabaseSection::files_read_again);
        Self::default().and_read(files.flat_map(|file| walls::reach_of(file)))
    }

    /// With directories that are read.
    pub(super) fn and_read(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.read.extend(directories);
        self
    }

    fn add(&mut self, role: &Role) {
        let section = &role.section;
        let reach = role.source.reach();
        self.ports.extend(reach.ports);
        self.looks_up |= reach.looks_up;
        self.authorities |= reach.tls && section.tls_ca_file.is_none();
        for file in section.files_read_again() {
            self.read.extend(walls::reach_of(file));
        }
        // SQLite looks for files beside its own, and makes and removes some where it writes.
        let Some(directory) = reach.file.as_deref().and_then(Path::parent) else { return };
        // One that is not there is no reason not to start.
        if !directory.is_dir() {
            return;
        }
        let directories =
            if section.access == DatabaseAccess::Write { &mut self.write } else { &mut self.read };
        directories.insert(directory.to_path_buf());
    }

    pub(super) fn reach(&self) -> Reach {
        let reach = walls::servers(self.ports.iter().copied(), self.looks_up, self.authorities);
        let reach = self.read.iter().fold(reach, Reach::read);
        self.write.iter().fold(reach, Reach::write)
    }

    /// What `more` needs that is not within this, in words.
    pub(super) fn lacks(&self, more: &Self) -> Option<String> {
        if let Some(port) = more.ports.difference(&self.ports).next() {
            return Some(format!("port {port}"));
        }
        let below = |path: &&PathBuf, directories: &BTreeSet<PathBuf>| {
            directories.iter().any(|directory| path.starts_with(directory))
        };
        let written = |path: &&PathBuf| below(path, &self.write);
        if more.write.iter().any(|path| !written(&path))
            || more.read.iter().any(|path| !written(&path) && !below(&path, &self.read))
        {
            return Some("another directory".to_owned());
        }
        if more.looks_up && !self.looks_up {
            return Some("looking up a host".to_owned());
        }
        (more.authorities && !self.authorities).then(|| "the system's certificates".to_owned())
    }
}

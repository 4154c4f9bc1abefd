//! A workspace on disk for this crate's own tests.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{
    Access, Action, Actions, Budget, Fault, FilePath, Hardlinks, Permit, Policy, PolicySpec,
    Principal, RootPatterns, RootSpec, Roots, Verb,
};

pub(crate) struct Workspace {
    dir: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn disk(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.disk(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        let path = self.disk(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    pub(crate) fn root(&self, name: &str) -> RootSpec {
        fs::create_dir_all(self.disk(name)).unwrap();
        RootSpec {
            uri: format!("file:///{name}"),
            name: name.to_owned(),
            description: String::new(),
            path: self.disk(name),
            access: Access::ReadOnly,
            patterns: RootPatterns::default(),
            hardlinks: Hardlinks::Deny,
            mounts: Vec::new(),
        }
    }

    /// A policy with the default patterns over one read-only root `work`.
    pub(crate) fn policy(&self) -> Policy {
        policy(&[self.root("work")], PolicySpec::default())
    }
}

pub(crate) fn policy(roots: &[RootSpec], spec: PolicySpec) -> Policy {
    Policy::new(Roots::open(roots).unwrap(), spec, &[]).unwrap()
}

pub(crate) fn decide(policy: &Policy, verb: Verb, path: &str) -> Result<Permit, Fault> {
    let actions = Actions::one(Action::file(verb, FilePath::parse(path)?));
    policy.decide(&Principal::local(), "a_tool", &actions).map(|mut permits| permits.remove(0))
}

pub(crate) fn budget() -> Budget {
    Budget::new(64 * 1024, 10_000, Duration::from_mins(1))
}

/// A file system that is mounted at a directory until it is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn at(place: PathBuf) -> Self {
        Self::by(&["-t", "tmpfs", "tmpfs"], place)
    }

    pub(crate) fn by(args: &[&str], place: PathBuf) -> Self {
        fs::create_dir_all(&place).unwrap();
        let mut mount = Command::new("mount");
        let done = mount.args(args).arg(&place).status();
        assert!(done.unwrap().success());
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays", self.0.display());
    }
}

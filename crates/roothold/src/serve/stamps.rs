//! Whether the files changed that a configuration is read from: by what the kernel says of them,
//! without opening one. Behind the wall they may be out of reach, and what a pipe held is gone.
//!
//! A directory whose files are swapped all at once, as Kubernetes does with a link to another
//! directory, changes each of them: links are followed.
#![expect(
    clippy::disallowed_methods,
    reason = "the server's own files, named by its configuration, are not behind the gate"
)]

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, DatabaseSection};

/// How long files must have stayed the same before they are read: who writes one may not be done.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Files as they were when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    configuration: Option<Stamped>,
    /// What a configuration names that is read with it.
    named: Vec<Stamped>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamped {
    path: PathBuf,
    /// None where there is no regular file.
    stamp: Option<Stamp>,
}

/// What differs once a file was written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamped {
    fn now(path: PathBuf) -> Self {
        let file = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file);
        let stamp = file.map(|file| Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        });
        Self { path, stamp }
    }

    fn again(&self) -> Self {
        Self::now(self.path.clone())
    }
}

impl Stamps {
    /// Of a configuration file that is about to be read; of nothing where there is none.
    pub(crate) fn of(file: Option<&Path>) -> Self {
        let file = file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        Self { configuration: file.map(Stamped::now), named: Vec::new() }
    }

    /// With the files that a configuration names, which are about to be read.
    pub(crate) fn with(mut self, config: &Config) -> Self {
        let files = config.databases.iter().flat_map(DatabaseSection::files_read_again);
        self.named = files.cloned().map(Stamped::now).collect();
        self
    }

    /// The same files, as they are now.
    pub(super) fn again(&self) -> Self {
        Self {
            configuration: self.configuration.as_ref().map(Stamped::again),
            named: self.named.iter().map(Stamped::again).collect(),
        }
    }

    /// Ends when they have changed and stayed so for a moment; looks so often, and never for zero.
    pub(super) async fn changed(&self, every: Duration) {
        if every.is_zero() || *self == Self::default() {
            return std::future::pending().await;
        }
        let mut before = self.clone();
        loop {
            let pause = if before == *self { every } else { every.min(SETTLED_AFTER) };
            tokio::time::sleep(pause).await;
            let files = self.clone();
            // A file system that hangs is no reason that a signal should wait.
            let Ok(now) = tokio::task::spawn_blocking(move || files.again()).await else {
                continue;
            };
            if self.has_settled(&mut before, now) {
                return;
            }
        }
    }

    /// Whether what is there `now` is other than these, and what the look `before` found already.
    fn has_settled(&self, before: &mut Self, now: Self) -> bool {
        let is_settled = now != *self && now == *before;
        *before = now;
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory as a ConfigMap is mounted: the file leads through `..data` to the version in force.
    fn mounted(dir: &Path) -> PathBuf {
        fs::create_dir(dir.join("..1")).unwrap();
        fs::write(dir.join("..1/roothold.toml"), "a").unwrap();
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/roothold.toml", dir.join("roothold.toml")).unwrap();
        dir.join("roothold.toml")
    }

    #[test]
    fn a_swapped_directory_is_a_change_though_the_name_and_its_link_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let stamps = Stamps::of(Some(&mounted(dir.path())));
        assert_eq!(stamps.again(), stamps);
        fs::create_dir(dir.path().join("..2")).unwrap();
        fs::write(dir.path().join("..2/roothold.toml"), "b").unwrap();
        assert_eq!(stamps.again(), stamps);
        symlink("..2", dir.path().join("..next")).unwrap();
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
        assert_ne!(stamps.again(), stamps);
    }

    #[test]
    fn every_file_that_a_database_is_read_from_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config: Config = toml::from_str(&format!(
            "[[databases]]\nname = \"a\"\nkind = \"postgres\"\ndsn_file = \"{}\"\ntls_ca_file = \"{}\"\n\
             [[databases.roles]]\nprincipal = \"anna\"\ndsn_file = \"{}\"\n",
            path("all"),
            path("ca"),
            path("anna")
        ))
        .unwrap();
        for name in ["all", "ca", "anna"] {
            let stamps = Stamps::of(None).with(&config);
            fs::write(dir.path().join(name), "other").unwrap();
            assert_ne!(stamps.again(), stamps, "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_never_changes() {
        let dir = tempfile::tempdir().unwrap();
        let stamps = Stamps::of(Some(dir.path()));
        fs::write(dir.path().join("more"), "").unwrap();
        assert_eq!(stamps.again(), stamps);
        assert_eq!(Stamps::of(None), Stamps::default());
    }

    #[test]
    fn a_file_is_told_of_once_it_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let file = mounted(dir.path());
        let stamps = Stamps::of(Some(&file));
        let mut before = stamps.clone();
        assert!(!stamps.has_settled(&mut before, stamps.again()), "nothing changed");
        // Whoever writes on and on is waited for.
        for round in 0..20 {
            fs::write(&file, "x".repeat(100 + round)).unwrap();
            assert!(!stamps.has_settled(&mut before, stamps.again()), "round {round}");
        }
        assert!(stamps.has_settled(&mut before, stamps.again()));
        // Once it was read, it is no change any more.
        let stamps = stamps.again();
        assert!(!stamps.has_settled(&mut before, stamps.again()));
    }

    #[tokio::test]
    async fn where_nothing_is_to_be_looked_at_nothing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let stamps = Stamps::of(Some(&mounted(dir.path())));
        fs::write(dir.path().join("roothold.toml"), "other").unwrap();
        assert!(futures::poll!(std::pin::pin!(stamps.changed(Duration::ZERO))).is_pending());
        let told = stamps.changed(Duration::from_millis(1));
        tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    }
}

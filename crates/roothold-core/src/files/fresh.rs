//! Directories that a call made for what it was to put there, and that go again if that fails.
//!
//! **Invariant**: only what is empty is removed, only where it was made, and only while the name still
//! stands for what the call made: what others use by then stays.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;

use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::{open_entry, short};
use crate::path::shown;
use crate::policy::{Permit, join};

/// The device and inode number of a directory.
type Identity = (u64, u64);

/// New directories, one below the other. They are removed when this is dropped, unless they are kept.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// The directory in which the first is, and its path below the root.
    base: Option<(OwnedFd, Vec<u8>)>,
    /// Without an identity: somebody else was faster.
    names: Vec<(Vec<u8>, Option<Identity>)>,
}

impl Fresh {
    /// None yet, below a directory with this path.
    pub(super) fn below(base: &OwnedFd, rel: &[u8]) -> Result<Self, Fault> {
        let base = base.try_clone().map_err(Fault::internal)?;
        Ok(Self { base: Some((base, rel.to_vec())), names: Vec::new() })
    }

    /// One more, just made in the one above it, or found there.
    pub(super) fn add(&mut self, above: &OwnedFd, name: &[u8], is_made: bool) {
        let look = || identity(above, name).ok();
        self.names.push((name.to_vec(), is_made.then(look).flatten()));
    }

    /// They stay.
    pub(super) fn keep(&mut self) {
        self.names.clear();
    }

    /// Removes them after a fault, which says what stays all the same.
    pub(super) fn undo(&mut self, permit: &Permit, budget: &Budget, fault: Fault) -> Fault {
        let Some(left) = self.remove() else { return fault };
        budget.note_effect();
        match permit.root() {
            Ok((_, rules)) => fault.and(&format!(
                "apart from that the directory {} was made and stays, since it is in use or could not be removed",
                short(&shown(&rules.public_of(&left)))
            )),
            Err(_) => fault,
        }
    }

    /// Removes them from the lowest up. Returns the path of the lowest that stays.
    fn remove(&mut self) -> Option<Vec<u8>> {
        let mut left = None;
        while let Some((name, made)) = self.names.pop() {
            let (base, rel) = self.base.as_ref()?;
            let above = self.names.iter().fold(Vec::new(), |above, (name, _)| join(&above, name));
            // What is not empty refuses to go, and so does all that is above it.
            let gone = match made {
                Some(made) if left.is_none() => remove_one(base, &above, &name, made),
                Some(_) => false,
                None => continue,
            };
            if !gone && left.is_none() {
                left = Some(join(&join(rel, &above), &name));
            }
        }
        left
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whether a directory is gone that was made below another.
fn remove_one(base: &OwnedFd, above: &[u8], name: &[u8], made: Identity) -> bool {
    let parent = match above {
        [] => base.try_clone().map_err(|_| Errno::MFILE),
        above => open_entry(base.as_fd(), above),
    };
    let Ok(parent) = parent else { return false };
    match identity(&parent, name) {
        Ok(found) if found == made => unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok(),
        found => found == Err(Errno::NOENT),
    }
}

fn identity(above: &OwnedFd, name: &[u8]) -> Result<Identity, Errno> {
    statat(above, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Makes `a/b/c` and returns them.
    fn made(dir: &Path) -> Fresh {
        let base = OwnedFd::from(fs::File::open(dir).unwrap());
        let mut fresh = Fresh::below(&base, b"base").unwrap();
        let mut above = base;
        for (at, path) in [("a", "a"), ("b", "a/b"), ("c", "a/b/c")] {
            fs::create_dir(dir.join(path)).unwrap();
            fresh.add(&above, at.as_bytes(), true);
            above = OwnedFd::from(fs::File::open(dir.join(path)).unwrap());
        }
        fresh
    }

    #[test]
    fn what_is_empty_and_what_was_made_goes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(made(dir.path()).remove(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(made(dir.path()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        made(dir.path()).keep();
        assert!(dir.path().join("a/b/c").is_dir());
    }

    #[test]
    fn what_others_use_or_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut fresh = made(dir.path());
        fs::write(dir.path().join("a/b/file"), "x").unwrap();
        assert_eq!(fresh.remove(), Some(b"base/a/b".to_vec()));
        assert!(!dir.path().join("a/b/c").exists());
        fs::remove_dir_all(dir.path().join("a")).unwrap();

        // Another directory, a link or a file stands there now; or it is gone.
        let mut fresh = made(dir.path());
        fs::rename(dir.path().join("a/b/c"), dir.path().join("moved")).unwrap();
        fs::create_dir(dir.path().join("a/b/c")).unwrap();
        assert_eq!(fresh.remove(), Some(b"base/a/b/c".to_vec()));
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        let mut fresh = made(dir.path());
        fs::rename(dir.path().join("a/b"), dir.path().join("moved/b")).unwrap();
        std::os::unix::fs::symlink("../moved/b", dir.path().join("a/b")).unwrap();
        assert_eq!(fresh.remove(), Some(b"base/a/b/c".to_vec()));
        assert!(dir.path().join("moved/b/c").is_dir());
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        let mut fresh = made(dir.path());
        fs::remove_dir_all(dir.path().join("a/b/c")).unwrap();
        assert_eq!(fresh.remove(), None);
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn what_somebody_else_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut fresh = made(dir.path());
        fresh.names[1].1 = None;
        assert_eq!(fresh.remove(), Some(b"base/a".to_vec()));
        assert!(dir.path().join("a/b").is_dir() && !dir.path().join("a/b/c").exists());
    }
}

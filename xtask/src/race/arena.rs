//! The folders of a race: a root with one ring for each kind of swap, what is excluded in it,
//! and an outside.
//!
//! | ring | what is swapped there |
//! |---|---|
//! | `out` | the directory `a` and a link to the outside |
//! | `hidden` | the directory `a` and a link to the excluded directory |
//! | `file` | the file `a/x/f.txt` and a link to an outside file |
//! | `env` | the file `a/x/f.txt` and a link to an excluded file |
//! | `gone` | the directory `a` is moved out of the root, and back |
//! | `two` | two versions of `a/x/f.txt`, each put in place by a rename |
//! | `turn` | the link `a` leads inside, outside and to what is excluded in turn |
//! | `deep` | `a/x`, a directory on the way, and a link that climbs out of the root |

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(super) const RINGS: [&str; 8] = ["out", "hidden", "file", "env", "gone", "two", "turn", "deep"];
/// What a reader of `f.txt` may see: one of these, whole.
pub(super) const VERSIONS: [&str; 2] =
    ["PUBLIC-ONE first version\n", "PUBLIC-TWO second, longer\n"];
pub(super) const OUTSIDE_MARK: &str = "CANARY-OUT";
pub(super) const EXCLUDED_MARK: &str = "CANARY-EXC";
/// Sizes that no other file here has.
pub(super) const OUTSIDE_BYTES: usize = 77_777;
pub(super) const EXCLUDED_BYTES: usize = 66_666;
/// Names that nobody asks for, so that they stand in an answer only if it lists the place.
pub(super) const OUTSIDE_NAME: &str = "only-outside.txt";
pub(super) const EXCLUDED_NAME: &str = "only-excluded.txt";

pub(super) struct Arena {
    base: tempfile::TempDir,
    outside: BTreeMap<PathBuf, Vec<u8>>,
    excluded: BTreeMap<PathBuf, Vec<u8>>,
}

impl Arena {
    pub(super) fn new() -> anyhow::Result<Self> {
        let base = crate::scratch::scratch()?;
        let at = |path: &str| base.path().join(path);
        let secret = |mark: &str, bytes: usize| mark.to_owned() + &".".repeat(bytes - mark.len());
        for (place, mark, bytes, own) in [
            ("outside", OUTSIDE_MARK, OUTSIDE_BYTES, OUTSIDE_NAME),
            ("root/secrets", EXCLUDED_MARK, EXCLUDED_BYTES, EXCLUDED_NAME),
        ] {
            std::fs::create_dir_all(at(&format!("{place}/x")))?;
            for name in ["f.txt", "e.txt", "leak.txt", own] {
                std::fs::write(at(&format!("{place}/x/{name}")), secret(mark, bytes))?;
            }
        }
        std::fs::write(at("root/.env"), secret(EXCLUDED_MARK, EXCLUDED_BYTES))?;
        std::fs::write(at("secret.txt"), secret(OUTSIDE_MARK, OUTSIDE_BYTES))?;
        for ring in RINGS {
            let home = at(&format!("root/{ring}"));
            std::fs::create_dir_all(home.join("a/x"))?;
            std::fs::write(home.join("a/x/f.txt"), VERSIONS[0])?;
            std::fs::write(home.join("a/x/e.txt"), "PUBLIC-E old\n")?;
        }
        let outside = at("outside");
        symlink(&outside, at("root/out/b"))?;
        symlink("../secrets", at("root/hidden/b"))?;
        symlink(outside.join("x/f.txt"), at("root/file/b"))?;
        symlink("../../../.env", at("root/env/b"))?;
        symlink("../../../outside/x", at("root/deep/a/b"))?;
        std::fs::rename(at("root/turn/a"), at("root/turn/inside"))?;
        symlink("inside", at("root/turn/a"))?;
        let (outside, excluded) = (contents(&outside)?, contents(&at("root/secrets"))?);
        Ok(Self { base, outside, excluded })
    }

    pub(super) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.base().join("root")
    }

    /// The files outside, and the excluded ones, that are not as they were.
    pub(super) fn touched(&self) -> anyhow::Result<(usize, usize)> {
        let outside = differing(&self.outside, &contents(&self.base().join("outside"))?);
        let excluded = differing(&self.excluded, &contents(&self.root().join("secrets"))?);
        let env = std::fs::read(self.root().join(".env")).unwrap_or_default();
        Ok((outside, excluded + usize::from(env.len() != EXCLUDED_BYTES)))
    }

    /// Files in the rings that neither the race nor a tool was asked to make.
    pub(super) fn left_behind(&self) -> anyhow::Result<Vec<String>> {
        const EXPECTED: [&str; 10] =
            ["f.txt", "e.txt", "w.txt", "v.txt", "a", "b", "d", "x", "inside", "next"];
        let mut found = Vec::new();
        for ring in RINGS {
            let files = contents(&self.root().join(ring))?.into_keys();
            let names = files.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
            found.extend(names.filter(|name| !EXPECTED.contains(&name.as_str())));
        }
        Ok(found)
    }
}

/// Every file below a directory with its content, and every link with its target.
fn contents(directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("listing {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let kind = std::fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() {
                found.insert(path.clone(), Vec::new());
                ahead.push(path);
            } else if kind.is_file() {
                let content = std::fs::read(&path)?;
                found.insert(path, content);
            } else {
                found.insert(path, b"a link".to_vec());
            }
        }
    }
    Ok(found)
}

fn differing(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let changed = before.iter().filter(|(path, content)| after.get(*path) != Some(content)).count();
    changed + after.keys().filter(|path| !before.contains_key(*path)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_outside_is_seen() {
        let arena = Arena::new().unwrap();
        assert_eq!(arena.touched().unwrap(), (0, 0));
        std::fs::write(arena.base().join("outside/x/w.txt"), "x").unwrap();
        std::fs::write(arena.base().join("outside/x/e.txt"), "x").unwrap();
        std::fs::create_dir(arena.root().join("secrets/d")).unwrap();
        assert_eq!(arena.touched().unwrap(), (2, 1));
        assert!(arena.left_behind().unwrap().is_empty());
        std::fs::write(arena.root().join("two/.tmp-1"), "x").unwrap();
        assert_eq!(arena.left_behind().unwrap(), [".tmp-1"]);
    }
}

//! The files of the repository, without what builds and installs leave there.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Folders that hold no source of ours. `.venv`, `.tools` and the like begin with a dot.
const SKIPPED: &[&str] = &["target", "node_modules", "__pycache__"];
/// Folders with a dot that are ours all the same.
const KEPT: &[&str] = &[".ci", ".cargo", ".github"];

/// Every file below `root`, relative to it, in order.
pub(super) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && !KEPT.contains(&name.as_str());
                if !hidden && !SKIPPED.contains(&name.as_str()) {
                    folders.push(entry.path());
                }
            // In a worktree `.git` is a file, with a path of the machine.
            } else if kind.is_file() && name != ".git" {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

//! Golden files: outputs that other people's tools read, kept in the tree and reviewed as part
//! of the interface.
//!
//! A test that compares with one has `golden` in its name, and writes the file instead of
//! comparing when `UPDATE_GOLDEN` is set. This task only sets that and runs those tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(["test", "--workspace", "--quiet", "golden"])
        .env("UPDATE_GOLDEN", "1")
        .current_dir(root)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "a golden test failed for another reason than its file");
    println!("golden files are written; review them with git diff");
    Ok(())
}

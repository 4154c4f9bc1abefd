//! The command line's own files: what the person who runs it named, with that person's rights.
//!
//! Nothing here serves callers; their bytes go through the gate of roothold-core.
#![expect(
    clippy::disallowed_methods,
    reason = "the files of the person at the command line are no roots"
)]

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Reads a text of at most `bytes_max`.
pub(super) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let reading = || format!("{} cannot be read", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(reading)?;
    file.take(bytes_max + 1).read_to_string(&mut text).with_context(reading)?;
    anyhow::ensure!(
        text.len() as u64 <= bytes_max,
        "{} has more than {bytes_max} bytes; this is not the right file",
        path.display()
    );
    Ok(text)
}

/// As [`read`], or `None` if there is no such file.
pub(super) fn read_if_there(path: &Path, bytes_max: u64) -> anyhow::Result<Option<String>> {
    if fs::exists(path).with_context(|| format!("{} cannot be read", path.display()))? {
        read(path, bytes_max).map(Some)
    } else {
        Ok(None)
    }
}

/// Opens a file for reading.
pub(super) fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes a file that must not be there yet, making its directories.
pub(super) fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let writing = || format!("{} cannot be written", path.display());
    make_directory(path.parent().unwrap_or(Path::new("")))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(path).with_context(writing)?;
    file.write_all(text.as_bytes()).with_context(writing)
}

/// Puts `text` in the place of a file in one step, and keeps what was there beside it.
///
/// Returns where the old content is, if there was any. A link is followed, and the mode is kept.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<Option<PathBuf>> {
    let writing = || format!("{} cannot be written", path.display());
    make_directory(path.parent().unwrap_or(Path::new("")))?;
    let there = fs::exists(path).with_context(writing)?;
    let path = if there { &fs::canonicalize(path).with_context(writing)? } else { path };
    let (mut mode, mut backup) = (0o600, None);
    if there {
        mode = fs::metadata(path).with_context(writing)?.permissions().mode() & 0o777;
        let kept = beside(path, ".backup");
        fs::copy(path, &kept).with_context(|| format!("{} cannot be written", kept.display()))?;
        backup = Some(kept);
    }
    let new = beside(path, &format!(".new-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(writing)?;
    Ok(backup)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a directory with its parents, for the user alone.
pub(super) fn make_directory(path: &Path) -> anyhow::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display()))
}

/// Whether there is anything at a path.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether a path is a directory.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let names: io::Result<Vec<String>> = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
    });
    let mut names = names.with_context(|| format!("{} cannot be read", directory.display()))?;
    names.sort();
    Ok(names)
}

/// A variable of the environment, if it is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// A directory of the user by its XDG variable, if it has one, or else below the home directory.
pub(super) fn user_directory(variable_name: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    let named = variable(variable_name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|path| path.is_absolute());
    named
        .or_else(|| home().map(|home| home.join(below_home)))
        .context("the user has no home directory; name a place on the command line")
}

/// Writes a golden file.
#[cfg(test)]
pub(super) fn overwrite(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

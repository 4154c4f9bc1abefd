//! The command line's own files: what the person who runs it named, with that person's rights.
//!
//! Nothing here serves callers; their bytes go through the gate of roothold-core.
#![expect(
    clippy::disallowed_methods,
    reason = "the files of the person at the command line are no roots"
)]

use std::env;
use std::fs::{self, File, OpenOptions, Permissions};
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

/// Whether a file is empty and was never anything else, as far as its times tell: where the file system keeps no
/// time of making, it is not known, and so it was.
pub(super) fn was_never_written(file: &File) -> bool {
    let Ok(found) = file.metadata() else { return false };
    let times = (found.created(), found.modified());
    found.is_file()
        && found.len() == 0
        && matches!(times, (Ok(made), Ok(changed)) if changed <= made)
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
/// Returns where the old content is, if there was any: in a new file, never over an older one. A
/// link is followed, one to nothing is refused, and the mode is kept.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<Option<PathBuf>> {
    let writing = || format!("{} cannot be written", path.display());
    make_directory(path.parent().unwrap_or(Path::new("")))?;
    let there = is_there(path);
    let target = if there {
        fs::canonicalize(path).with_context(|| {
            format!("{} leads to nothing; remove the link, or name the file itself", path.display())
        })?
    } else {
        path.to_owned()
    };
    let (mut mode, mut backup) = (0o600, None);
    if there {
        let found = fs::metadata(&target).with_context(writing)?;
        anyhow::ensure!(found.is_file(), "{} is no file; name another one", path.display());
        mode = found.permissions().mode() & 0o777;
        backup = Some(keep(&target, mode)?);
    }
    let new = beside(&target, &format!(".new-{}", std::process::id()));
    let mut file = create(&new, mode).with_context(writing)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, &target));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(writing)?;
    Ok(backup)
}

/// Most backups of one file.
const BACKUPS_MAX: u32 = 1000;

/// Copies a file beside itself under the first name that is free.
fn keep(path: &Path, mode: u32) -> anyhow::Result<PathBuf> {
    for at in 1..=BACKUPS_MAX {
        let suffix = if at == 1 { ".backup".to_owned() } else { format!(".backup-{at}") };
        let kept = beside(path, &suffix);
        let writing = || format!("{} cannot be written", kept.display());
        let mut backup = match create(&kept, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.with_context(writing)?,
        };
        let copied = open(path)
            .and_then(|mut old| io::copy(&mut old, &mut backup).with_context(writing))
            .and_then(|_| backup.sync_all().with_context(writing));
        if copied.is_err() {
            let _ = fs::remove_file(&kept);
        }
        return copied.map(|()| kept);
    }
    anyhow::bail!("{} has {BACKUPS_MAX} backups; remove those not needed", path.display())
}

/// Makes a file of this mode where there is nothing yet, not even a link.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
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

/// What is at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A pipe, a socket or a device.
    Other,
}

/// What is at a path, links followed; none, if there is nothing.
pub(super) fn kind(path: &Path) -> anyhow::Result<Option<Kind>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(Kind::File)),
        Ok(found) if found.is_dir() => Ok(Some(Kind::Directory)),
        Ok(_) => Ok(Some(Kind::Other)),
        // A part of the path that is a file has nothing below it.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be looked at", path.display())),
    }
}

/// The absolute path without links of what is there.
pub(super) fn real(path: &Path) -> anyhow::Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("{} cannot be looked at", path.display()))
}

/// The directory that a file is in, or would be.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Writes a file in one step, with the mode that new files of the user have. What is there is
/// replaced only if `overwrite` says so.
pub(super) fn put(path: &Path, text: &str, overwrite: bool) -> anyhow::Result<()> {
    let writing = || format!("{} cannot be written", path.display());
    let new = beside(path, &format!(".new-{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&new).with_context(writing)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        if overwrite {
            return fs::rename(&new, path);
        }
        // A link fails where something is by now; a rename would not. Not every disk has links.
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !is_there(path) => {
                fs::rename(&new, path)
            }
            linked => linked,
        }
    });
    let _ = fs::remove_file(&new);
    written.with_context(writing)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_backup_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.json");
        let at = |name: &str| read(&dir.path().join(name), 100).unwrap();
        assert_eq!(replace(&path, "first").unwrap(), None);
        // a backup of somebody else's, and a link in the place of the next one
        fs::write(dir.path().join("mcp.json.backup"), "precious").unwrap();
        fs::write(dir.path().join("elsewhere"), "precious too").unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("mcp.json.backup-2")).unwrap();
        let kept = replace(&path, "second").unwrap().unwrap();
        assert!(kept.ends_with("mcp.json.backup-3"));
        assert!(replace(&path, "third").unwrap().unwrap().ends_with("mcp.json.backup-4"));
        assert_eq!(at("mcp.json"), "third");
        assert_eq!(
            (at("mcp.json.backup-3"), at("mcp.json.backup-4")),
            ("first".into(), "second".into())
        );
        assert_eq!(
            (at("mcp.json.backup"), at("elsewhere")),
            ("precious".into(), "precious too".into())
        );
    }

    #[test]
    fn a_file_is_put_where_nothing_is_and_elsewhere_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        put(&path, "first", false).unwrap();
        assert!(put(&path, "second", false).is_err());
        assert_eq!(read(&path, 9).unwrap(), "first");
        put(&path, "second", true).unwrap();
        assert_eq!(read(&path, 9).unwrap(), "second");
        assert!(put(&dir.path().join("no/page.html"), "x", true).is_err());
        assert_eq!(names(dir.path()).unwrap(), ["page.html"]);
        assert_eq!(kind(&path).unwrap(), Some(Kind::File));
        assert_eq!(kind(&path.join("below")).unwrap(), None);
        assert_eq!(kind(Path::new("/dev/null")).unwrap(), Some(Kind::Other));
        assert_eq!(directory_of(Path::new("a")), Path::new("."));
    }

    #[test]
    fn a_link_is_written_through_and_one_to_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("dotfiles.json"), dir.path().join("mcp.json"));
        symlink(&target, &link).unwrap();
        let refused = replace(&link, "new").unwrap_err().to_string();
        assert!(refused.contains("leads to nothing"), "{refused}");
        assert!(is_there(&link) && !is_there(&target));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
        let kept = replace(&link, "new").unwrap().unwrap();
        assert!(kept.ends_with("dotfiles.json.backup"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            (read(&target, 9).unwrap(), read(&kept, 9).unwrap()),
            ("new".into(), "old".into())
        );
        for path in [&target, &kept] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        assert!(replace(dir.path(), "new").is_err());
    }
}

//! The keys file: JSON, one key a line, so that an error names its line and a revoked key is one
//! changed line in a diff. Empty lines and lines that begin with `#` are kept as they are.
//!
//! It is made with mode 0600 and replaced as a whole: a temporary file in the same directory, fsync,
//! rename, fsync of the directory. Writers hold a lock on the directory, so two of them cannot lose
//! each other's change; readers need none.
//!
//! **Invariant**: a reader finds the old file or the new one, and no secret in either.

use std::{
    collections::HashMap,
    fs::{File, Metadata, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::Timestamp;

use super::{
    entry::KeyEntry,
    key::{ApiKey, KeyHash},
};
use crate::auth::watched_file::{mode, open, read_text, resolved};

/// What a new file begins with.
const HEADER: &str = "\
# API keys of Roothold, one a line, each without its secret: a lost key is revoked, not recovered.
# Made and revoked with `roothold keys`; a change is seen within two seconds.
";

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; `roothold keys new` makes it, in a directory that is there",
        _ => "",
    }
}

/// Why the keys file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysFileError {
    /// Reading or writing failed.
    #[error("the api keys file cannot be read or written: {0}{hint}", hint = hint(.0))]
    Io(#[from] io::Error),
    /// A line is not a key.
    #[error("line {line} of the api keys file: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Anyone on the machine could add a key.
    #[error("the api keys file is writable by everyone (mode {mode:04o}): run chmod 0600 on it")]
    Writable {
        /// The permission bits.
        mode: u32,
    },
    /// A new key was refused.
    #[error("{0}")]
    Refused(String),
    /// There is no key of this id.
    #[error("there is no api key with id {0:?}: `roothold keys list` shows those there are")]
    UnknownId(String),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

/// The keys file, to be listed and changed. To verify keys, see [`KeyRing`](super::KeyRing).
#[derive(Debug)]
pub struct KeysFile {
    path: PathBuf,
}

impl KeysFile {
    /// Opens the keys file, which need not exist yet. A link is followed once, here: changes go
    /// to the file it leads to.
    ///
    /// # Errors
    ///
    /// The file exists and is malformed, or cannot be read, or the path is a link to nothing.
    pub fn open(path: &Path) -> Result<Self, KeysFileError> {
        let file = Self { path: resolved(path)? };
        file.list()?;
        Ok(file)
    }

    /// Returns every key, revoked and expired ones included, in the order of the file.
    ///
    /// # Errors
    ///
    /// The file is malformed, or cannot be read.
    pub fn list(&self) -> Result<Vec<KeyEntry>, KeysFileError> {
        parse_entries(&self.read()?)
    }

    /// Makes a key for `principal` and stores it. The secret is in the returned [`ApiKey`] and
    /// nowhere else.
    ///
    /// # Errors
    ///
    /// The name or a scope is malformed, `expires` is not in the future, or the file cannot be
    /// written.
    pub fn new_key(
        &self,
        principal: &str,
        scopes: &[String],
        expires: Option<SystemTime>,
    ) -> Result<(KeyEntry, ApiKey), KeysFileError> {
        if expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(KeysFileError::Refused("the key would have expired already".to_owned()));
        }
        let expires = expires.map(Timestamp::try_from).transpose();
        let expires = expires.map_err(|error| KeysFileError::Refused(error.to_string()))?;
        let (id, key) = ApiKey::generate().map_err(KeysFileError::Random)?;
        let entry = KeyEntry::new(id, principal, scopes, KeyHash::of(key.reveal()), expires)
            .map_err(KeysFileError::Refused)?;
        let _lock = self.lock()?;
        let mut text = self.read()?;
        parse_entries(&text)?;
        if text.is_empty() {
            text.push_str(HEADER);
        } else if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&entry.to_line());
        text.push('\n');
        self.replace(&text)?;
        Ok((entry, key))
    }

    /// Revokes a key. Revoking it again changes nothing.
    ///
    /// # Errors
    ///
    /// There is no such key, or the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<KeyEntry, KeysFileError> {
        let _lock = self.lock()?;
        let text = self.read()?;
        let mut entries = parse_entries(&text)?.into_iter();
        let mut revoked = None;
        let mut changed = String::with_capacity(text.len() + 64);
        for line in text.lines() {
            let entry = if is_entry(line) { entries.next() } else { None };
            match entry {
                Some(mut entry) if entry.id() == id => {
                    entry.revoke();
                    changed.push_str(&entry.to_line());
                    revoked = Some(entry);
                }
                _ => changed.push_str(line),
            }
            changed.push('\n');
        }
        let revoked = revoked.ok_or_else(|| KeysFileError::UnknownId(id.to_owned()))?;
        self.replace(&changed)?;
        Ok(revoked)
    }

    /// The text of the file; empty if there is none.
    fn read(&self) -> Result<String, KeysFileError> {
        match open(&self.path) {
            Ok(mut file) => {
                check_mode(mode(&file.metadata()?))?;
                Ok(read_text(&mut file)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps other writers out until dropped. The directory is locked, since the file itself is
    /// another one after each change.
    fn lock(&self) -> io::Result<File> {
        let directory = open(self.directory())?;
        directory.lock()?;
        Ok(directory)
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".keys-");
        let mut temporary = builder.tempfile_in(self.directory())?;
        temporary.write_all(text.as_bytes())?;
        self.keep_permissions(temporary.as_file())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path).map_err(|error| error.error)?;
        open(self.directory())?.sync_all()
    }

    /// A file that is replaced keeps its owner and mode: a key revoked by root must reach the
    /// server that runs as someone else. A new file is for its owner alone.
    fn keep_permissions(&self, temporary: &File) -> io::Result<()> {
        match open(&self.path) {
            Ok(old) => {
                let old = old.metadata()?;
                keep_owner(temporary, &old)?;
                temporary.set_permissions(old.permissions())
            }
            Err(_) => temporary.set_permissions(owner_only(temporary)?),
        }
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

/// Every key of the text.
pub(super) fn parse_entries(text: &str) -> Result<Vec<KeyEntry>, KeysFileError> {
    let mut entries = Vec::new();
    let mut lines = HashMap::new();
    for (index, text) in text.lines().enumerate().filter(|(_, text)| is_entry(text)) {
        let line = index + 1;
        let entry = KeyEntry::parse(text).map_err(|reason| KeysFileError::Line { line, reason })?;
        if let Some(first) = lines.insert(entry.id().to_owned(), line) {
            let reason = format!("the same `id` as line {first}");
            return Err(KeysFileError::Line { line, reason });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn is_entry(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// Refuses a file that anyone on the machine may change.
pub(super) fn check_mode(mode: u32) -> Result<(), KeysFileError> {
    if mode & 0o002 == 0 { Ok(()) } else { Err(KeysFileError::Writable { mode }) }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "the other platforms have to ask the file")]
fn owner_only(_file: &File) -> io::Result<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Ok(Permissions::from_mode(0o600))
}

#[cfg(unix)]
fn keep_owner(temporary: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = temporary.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(temporary, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every platform")]
fn keep_owner(_temporary: &File, _old: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn owner_only(file: &File) -> io::Result<Permissions> {
    Ok(file.metadata()?.permissions())
}

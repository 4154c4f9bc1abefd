//! A small file that is read again when it changed: the API keys, the token issuer's key set.
//!
//! A change is seen by the content, not by times and inode numbers: those can stay the same over a
//! quick change, and a revoked key must not slip through. The files are small. It does not poll by
//! itself: the composer calls [`Authenticator::refresh`](super::Authenticator::refresh).
//!
//! **Invariant**: what was read last stays in force until something newer was read *and* accepted.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{api_keys::KeysFileError, jwt::JwtConfigError};

/// How often the composer should call [`Authenticator::refresh`](super::Authenticator::refresh):
/// with it, a revoked key or a withdrawn signing key is refused after at most two seconds.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a changed file was not taken over; what was in force before still is.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The API keys file.
    #[error("the api keys file was not reloaded, and the keys read before stay in force: {0}")]
    Keys(#[source] KeysFileError),
    /// The key set of the token issuer.
    #[error("the token key set was not reloaded, and the keys read before stay in force: {0}")]
    Jwks(#[source] JwtConfigError),
}

/// A file and the digest of what was last accepted of it.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    accepted: Mutex<Option<Digest>>,
}

/// Stands for a file's content.
type Digest = [u8; 32];

/// What a file holds now.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    /// The permission bits; 0 where the platform has none.
    pub(super) mode: u32,
    digest: Digest,
}

impl WatchedFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), accepted: Mutex::new(None) }
    }

    /// What the file holds, to be handed to [`accept`](Self::accept) once it proved good.
    pub(super) fn read(&self) -> io::Result<Content> {
        let mut file = open(&self.path)?;
        let mode = mode(&file.metadata()?);
        let text = read_text(&mut file)?;
        let digest = Sha256::digest(text.as_bytes()).into();
        Ok(Content { text, mode, digest })
    }

    /// [`read`](Self::read), or `None` if that content is the one accepted last.
    pub(super) fn read_if_changed(&self) -> io::Result<Option<Content>> {
        let content = self.read()?;
        let accepted = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((accepted != Some(content.digest)).then_some(content))
    }

    pub(super) fn accept(&self, content: &Content) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(content.digest);
    }
}

/// Opens a configuration file of this server for reading.
#[expect(
    clippy::disallowed_methods,
    reason = "the server's own files, named by its configuration, are not behind the gate"
)]
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The file that a path leads to, through links: what replaces a configuration file must not
/// replace the link to it. A path where there is nothing stays as it is.
#[expect(
    clippy::disallowed_methods,
    reason = "the server's own files, named by its configuration, are not behind the gate"
)]
pub(super) fn resolved(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if std::fs::symlink_metadata(path).is_ok() {
                let text = "it is a link to nothing; name the file itself";
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Ok(path.to_owned())
        }
        found => found,
    }
}

/// Reads at most 4 MiB of UTF-8.
pub(super) fn read_text(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

/// The permission bits; 0 where the platform has none.
#[cfg(unix)]
pub(super) fn mode(meta: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o7777
}

/// The permission bits; 0 where the platform has none.
#[cfg(not(unix))]
pub(super) fn mode(_meta: &Metadata) -> u32 {
    0
}

//! Where jobs are kept, as configured, and how that is opened.

use std::fmt;
use std::path::{Path, PathBuf};

use roothold_core::wall::Reach;
use roothold_state::{Limits, OpenError, PgOptions, PgStore, SqliteStore, StateStore as _, Store};

use crate::builder::StartError;
use crate::config::{self, Config, ConfigError};
use crate::passing::is_of_the_disk;
use crate::walls;

/// Where jobs are kept.
#[derive(Clone)]
pub(crate) enum Place {
    /// In a file of SQLite in this directory.
    Sqlite(PathBuf),
    /// In a PostgreSQL database, which replicas share.
    Postgres(Box<PgOptions>),
}

/// The name of the file.
const FILE: &str = "state.sqlite3";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(dir) => write!(f, "SQLite, {}", dir.join(FILE).display()),
            Self::Postgres(options) => write!(f, "PostgreSQL, schema {}", options.schema),
        }
    }
}

impl Place {
    /// The place that a configuration names.
    ///
    /// # Errors
    /// A [`ConfigError`] of `[state]`, or of `[handles]` where the store is shared.
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        match config.state_postgres()? {
            Some(options) => Ok(Self::Postgres(Box::new(options))),
            None => config.state_dir().map(Self::Sqlite),
        }
    }

    /// The directory of ours that it is in, if it is in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(dir) => Some(dir),
            Self::Postgres(_) => None,
        }
    }

    /// Whether a file is there that may be the store; of a database it is not asked.
    pub(crate) fn has_file(&self) -> bool {
        self.directory().is_some_and(|dir| dir.join(FILE).is_file())
    }

    /// What of it must be within reach behind the wall.
    ///
    /// # Errors
    /// When the options of PostgreSQL are wrong or unsafe.
    pub(crate) fn reach(&self) -> Result<Reach, StartError> {
        let options = match self {
            // SQLite makes and removes files beside its own.
            Self::Sqlite(dir) => return Ok(Reach::default().write(dir)),
            Self::Postgres(options) => options,
        };
        let needs =
            options.reach().map_err(|error| StartError::State(named("state.postgres", &error)))?;
        let authorities = needs.tls && options.ca_pem.is_none();
        Ok(walls::servers(needs.ports, needs.looks_up, authorities))
    }

    /// Makes the directory, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made.
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's own directory, named by its configuration, is not behind the gate"
    )]
    pub(crate) fn make_directory(&self) -> Result<(), StartError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let Some(dir) = self.directory() else { return Ok(()) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
            let dir = dir.display();
            let what = format!(
                "state.dir: {dir} cannot be made: {error}; name a directory that the server may write"
            );
            if is_of_the_disk(&error) { StartError::Unavailable(what) } else { StartError::State(what) }
        })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Why not, in one sentence with the key and the mend.
    pub(super) async fn open(&self, settings: &config::Jobs) -> Result<Store, StartError> {
        let limits = limits(settings);
        match self {
            Self::Sqlite(dir) => {
                let file = dir.join(FILE);
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&file, limits));
                let opened = opened.await.map_err(|error| StartError::State(error.to_string()))?;
                opened.map(Store::Sqlite).map_err(|error| refused("state.dir", &error))
            }
            Self::Postgres(options) => {
                let opened = PgStore::connect(options, limits).await;
                opened.map(Store::Postgres).map_err(|error| refused("state.postgres", &error))
            }
        }
    }

    /// Whether [`Self::open`] would open what is there, if anything is.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) async fn could_be_opened(&self, settings: &config::Jobs) -> Result<(), String> {
        match self.open_existing(settings).await {
            Ok(store) => store.close().await,
            // Those a start makes, or brings up to date.
            Err(OpenError::Absent | OpenError::Older { .. }) => {}
            Err(error) => return Err(named("state.dir", &error)),
        }
        Ok(())
    }

    /// Opens the store as it is: none is made, and none is brought up to date.
    ///
    /// # Errors
    /// Why not; `Absent` where there is none.
    pub(crate) async fn open_existing(&self, settings: &config::Jobs) -> Result<Store, OpenError> {
        let limits = limits(settings);
        match self {
            Self::Sqlite(dir) => {
                let file = dir.join(FILE);
                let open = move || SqliteStore::open_existing(&file, limits);
                let opened = tokio::task::spawn_blocking(open).await;
                let failed =
                    |error: tokio::task::JoinError| OpenError::Unreachable(error.to_string());
                Ok(Store::Sqlite(opened.map_err(failed)??))
            }
            Self::Postgres(options) => {
                Ok(Store::Postgres(PgStore::connect_existing(options, limits).await?))
            }
        }
    }
}

fn limits(settings: &config::Jobs) -> Limits {
    Limits {
        live_per_owner_max: settings.live_per_principal_max,
        running_per_owner_max: settings.running_per_principal_max,
        kept_per_owner_max: settings.kept_per_principal_max,
        result_bytes_max: settings.result_bytes_max,
        ..Limits::default()
    }
}

/// Why a store cannot be opened, with the key, unless it names one itself.
fn named(key: &str, error: &OpenError) -> String {
    let text = error.to_string();
    if text.starts_with("state.") { text } else { format!("{key}: {text}") }
}

/// The same for a start, which may be tried again where the store does not answer.
fn refused(key: &str, error: &OpenError) -> StartError {
    let what = named(key, error);
    match error {
        OpenError::Unreachable(_) => StartError::Unavailable(what),
        _ => StartError::State(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_does_not_answer_may_later_and_one_that_is_foreign_never() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("postgresql://roothold@{nobody}/roothold?sslmode=disable");
        let options = PgOptions { url, ..PgOptions::default() };
        let away = Place::Postgres(Box::new(options)).open(&config::Jobs::default()).await;
        let error = away.err().unwrap();
        assert!(error.to_string().starts_with("state.postgres: ") && error.may_pass(), "{error}");
        let foreign = refused("state.dir", &OpenError::Foreign("no database"));
        assert!(foreign.to_string().starts_with("state.dir: ") && !foreign.may_pass(), "{foreign}");
    }
}

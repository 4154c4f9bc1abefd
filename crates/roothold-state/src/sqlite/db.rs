//! The connection: how it is opened, migrated and asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::change::Bell;
use crate::error::{OpenError, StateError};
use crate::limits::Limits;
use crate::migrations::{self, SQLITE};
use crate::time::{Clock, UnixMillis};

/// `application_id` of the file: "ROOT".
const APPLICATION: i64 = 0x524f_4f54;
/// How long a transaction waits for another process's.
const BUSY_MAX: Duration = Duration::from_secs(5);

pub(super) struct Db {
    conn: Connection,
    clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) bell: Bell,
}

impl Db {
    pub(super) fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        limits: Limits,
        bell: Bell,
    ) -> Result<Self, OpenError> {
        limits.check()?;
        make_private(path)
            .map_err(|error| OpenError::Unreachable(format!("its file: {}", error.kind())))?;
        let mut conn = connect(path)?;
        let mode = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL";
        conn.execute_batch(mode).map_err(|error| unreachable(&error))?;
        let mode: String = conn
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .map_err(|error| unreachable(&error))?;
        if mode != "wal" {
            let what = "its file system does not support a write-ahead log; use a local disk";
            return Err(OpenError::Unreachable(what.to_owned()));
        }
        set_up(&conn)?;
        migrate(&mut conn, clock.now())?;
        Ok(Self { conn, clock, limits, bell })
    }

    /// Opens what is there, and makes nothing.
    pub(super) fn open_existing(
        path: &Path,
        clock: Arc<dyn Clock>,
        limits: Limits,
        bell: Bell,
    ) -> Result<Self, OpenError> {
        limits.check()?;
        let there = path.try_exists();
        if !there.map_err(|error| OpenError::Unreachable(error.kind().to_string()))? {
            return Err(OpenError::Absent);
        }
        let conn = connect(path)?;
        set_up(&conn)?;
        let applied = existing(&conn)?.ok_or(OpenError::Absent)?;
        migrations::complete(SQLITE, &applied)?;
        Ok(Self { conn, clock, limits, bell })
    }

    pub(super) fn in_memory(
        clock: Arc<dyn Clock>,
        limits: Limits,
        bell: Bell,
    ) -> Result<Self, OpenError> {
        limits.check()?;
        let mut conn = Connection::open_in_memory().map_err(|error| unreachable(&error))?;
        set_up(&conn)?;
        migrate(&mut conn, clock.now())?;
        Ok(Self { conn, clock, limits, bell })
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// Does `work` in one transaction: all of it, or, when it fails, nothing.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }

    pub(super) fn read(&self) -> &Connection {
        &self.conn
    }

    /// Changes whenever another connection changed the file.
    pub(super) fn file_version(&self) -> Option<i64> {
        self.conn.pragma_query_value(None, "data_version", |row| row.get(0)).ok()
    }

    /// Whether it can be read and written.
    pub(super) fn check(&mut self) -> Result<(), StateError> {
        self.write(|tx| Ok(tx.query_row("SELECT count(*) FROM migrations", [], |_| Ok(()))?))
    }
}

/// Opens a file that is there.
fn connect(path: &Path) -> Result<Connection, OpenError> {
    // Without URI: a name is a name, whatever it holds.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| unreachable(&error))?;
    conn.busy_timeout(BUSY_MAX).map_err(|error| unreachable(&error))?;
    Ok(conn)
}

/// What holds for this connection alone.
fn set_up(conn: &Connection) -> Result<(), OpenError> {
    // FULL: a job is on the disk before its id is told.
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 67108864",
    )
    .map_err(|error| unreachable(&error))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Makes the file, for its owner alone; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[expect(clippy::disallowed_methods, reason = "the server's own file, which no caller names")]
    options.open(path).map(drop)
}

fn migrate(conn: &mut Connection, now: UnixMillis) -> Result<(), OpenError> {
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| unreachable(&error))?;
    let applied = applied(&tx)?;
    for migration in migrations::pending(SQLITE, &applied)? {
        let version = migration.version;
        tx.execute_batch(migration.sql)
            .and_then(|()| {
                let row = (version, migration.hash(), now.0);
                tx.execute("INSERT INTO migrations (version, hash, at) VALUES (?1, ?2, ?3)", row)
            })
            .map_err(|error| OpenError::Migration { version, cause: error.to_string() })?;
    }
    tx.commit().map_err(|error| unreachable(&error))
}

type Applied = Vec<(i64, Vec<u8>)>;

/// What was done before; a file without tables becomes ours.
fn applied(tx: &Transaction<'_>) -> Result<Applied, OpenError> {
    refuse_foreign(tx)?;
    let read = || {
        tx.pragma_update(None, "application_id", APPLICATION)?;
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (
                 version INTEGER PRIMARY KEY, hash BLOB NOT NULL, at INTEGER NOT NULL) STRICT",
        )?;
        steps(tx)
    };
    read().map_err(|error| unreachable(&error))
}

/// What was done before, if the file is ours.
fn existing(conn: &Connection) -> Result<Option<Applied>, OpenError> {
    if refuse_foreign(conn)? == 0 {
        return Ok(None);
    }
    steps(conn).map(Some).map_err(|error| unreachable(&error))
}

/// How many tables and indexes there are, all of them ours.
fn refuse_foreign(conn: &Connection) -> Result<i64, OpenError> {
    let look = || -> rusqlite::Result<(i64, i64)> {
        let application = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let count = "SELECT count(*) FROM sqlite_schema";
        Ok((application, conn.query_row(count, [], |row| row.get(0))?))
    };
    let (application, tables) = look().map_err(|error| unreachable(&error))?;
    if application != APPLICATION && tables > 0 {
        return Err(OpenError::Foreign(
            "another program's database; name a file of its own in state.dir",
        ));
    }
    Ok(tables)
}

fn steps(conn: &Connection) -> rusqlite::Result<Applied> {
    let mut select = conn.prepare("SELECT version, hash FROM migrations ORDER BY version")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// The code's own words: SQLite's longer ones may name a path.
fn unreachable(error: &rusqlite::Error) -> OpenError {
    if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        return OpenError::Foreign(
            "a file that is no database of SQLite; name a directory of its own in state.dir",
        );
    }
    OpenError::Unreachable(match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.to_string(),
        _ => "SQLite met an unexpected condition".to_owned(),
    })
}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

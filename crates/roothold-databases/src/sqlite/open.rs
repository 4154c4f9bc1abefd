//! Opening the file: which one, in which mode, and what a connection may do at most.
//!
//! Nothing is made beside a file that is only read. A file in WAL mode needs its `-wal` and `-shm`
//! to be read; where nobody has it open these are not there, the file is whole by itself, and it is
//! opened as one that does not change. It is looked at again before and after each statement.
#![expect(
    clippy::disallowed_methods,
    reason = "the path is the operator's, and SQLite opens by path; no caller names a file"
)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roothold_core::{Fault, FaultKind};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::functions;
use crate::spec::{SourceAccess, SourceSpec, SpecError};

/// The largest text, blob or row that SQLite makes or reads for ourselves.
const LENGTH_MAX: i32 = 16 << 20;
/// And for a caller, in bytes: a function reads as much in one step, which nobody can stop.
pub(super) const LENGTH_BYTES_MAX: usize = 1 << 20;
/// All the values that a caller's statement can hold at once, in bytes: as many as it has words.
const VALUES_BYTES_MAX: usize = 128 << 20;
/// Values are as large as this in every statement, in bytes.
const LENGTH_BYTES_MIN: usize = 8 << 10;
/// The longest pattern of `LIKE` and `GLOB`, in bytes: each part of it is compared with each of a text.
const PATTERN_BYTES_MAX: i32 = 100;
/// The pages that one connection keeps in memory, in KiB; sorting takes as much again before it
/// goes to a temporary file.
const CACHE_KIB: i32 = 8 << 10;
/// How long a statement waits for somebody who writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A file's identity and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
    /// Whether somebody has it open in WAL mode, or left something there.
    has_wal: bool,
    in_wal_mode: bool,
}

/// The path of a source.
pub(super) fn path(spec: &SourceSpec) -> Result<PathBuf, SpecError> {
    let text = spec.dsn.expose();
    let path = text.strip_prefix("sqlite://").unwrap_or(text);
    if !path.starts_with('/') || path.contains('\0') {
        return Err(spec.wrong("a SQLite source names its file by an absolute path"));
    }
    Ok(PathBuf::from(path))
}

impl Look {
    /// Looks at the file.
    ///
    /// # Errors
    /// `Unavailable`, for what is not a database file; no path is in it.
    pub(super) fn at(spec: &SourceSpec, path: &Path) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| {
            unavailable("the database's file cannot be opened")
                .with_source(error.kind().to_string())
        };
        let meta = std::fs::symlink_metadata(path).map_err(failed)?;
        if !meta.is_file() {
            return Err(unavailable("the database's file is a link, or no file at all"));
        }
        let mut header = Vec::new();
        File::open(path).map_err(failed)?.take(20).read_to_end(&mut header).map_err(failed)?;
        let is_database = header.is_empty() || header.starts_with(b"SQLite format 3\0");
        if !is_database {
            return Err(unavailable("the database's file is no SQLite database"));
        }
        let wal = std::fs::symlink_metadata(beside(path, "-wal")).is_ok();
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
            has_wal: wal,
            // Whoever writes opens it with all that belongs to it.
            in_wal_mode: spec.access == SourceAccess::Read
                && (header.get(18) == Some(&2) || header.get(19) == Some(&2)),
        })
    }

    /// Whether it is opened as a file that does not change, although it may.
    pub(super) fn is_taken_as_fixed(&self) -> bool {
        self.in_wal_mode && !self.has_wal
    }

    /// Whether a connection of this look can still be used.
    pub(super) fn still_serves(&self, now: &Self) -> bool {
        let same_file = (self.device, self.inode) == (now.device, now.inode);
        let same_way = self.is_taken_as_fixed() == now.is_taken_as_fixed();
        same_file && same_way && (!self.is_taken_as_fixed() || self == now)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn unavailable(text: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, text)
}

/// A connection with every wall up but the authorizer's.
pub(super) fn open(spec: &SourceSpec, path: &Path, look: &Look) -> Result<Connection, Fault> {
    let failed = |error: rusqlite::Error| {
        unavailable("the database's file cannot be opened").with_source(code(&error))
    };
    let reads = spec.access == SourceAccess::Read;
    let mode =
        if reads { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let flags = mode
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let fixed = reads && (spec.immutable || look.is_taken_as_fixed());
    let conn = Connection::open_with_flags(uri(path, reads, fixed)?, flags).map_err(failed)?;
    harden(&conn, spec, reads).map_err(failed)?;
    Ok(conn)
}

fn harden(conn: &Connection, spec: &SourceSpec, reads: bool) -> rusqlite::Result<()> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, !reads),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, reads),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        // "x" is a name, and an error where there is none of it, rather than a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        conn.set_db_config(setting, on)?;
    }
    let parameters = i32::try_from(spec.limits.parameters_max.max(1)).unwrap_or(i32::MAX);
    let sql = i32::try_from(spec.limits.sql_bytes_max + 100).unwrap_or(i32::MAX);
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, LENGTH_MAX),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, sql),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES_MAX),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, parameters),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        conn.set_limit(limit, most)?;
    }
    functions::replace_slow(conn)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let only = if reads { "PRAGMA query_only = ON; " } else { "" };
    conn.execute_batch(&format!(
        "{only}PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -{CACHE_KIB};"
    ))
}

/// Lets values be as large as a statement of so many words may have them; of ours with `None`.
pub(super) fn limit_values(conn: &Connection, words: Option<usize>) -> rusqlite::Result<()> {
    let most = words.map_or(LENGTH_MAX, |words| {
        let each = VALUES_BYTES_MAX / words.max(1);
        i32::try_from(each.clamp(LENGTH_BYTES_MIN, LENGTH_BYTES_MAX)).unwrap_or(LENGTH_MAX)
    });
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, most).map(drop)
}

/// The path as a URI. Its folder may be behind links, which are the operator's; the file may not.
fn uri(path: &Path, reads: bool, fixed: bool) -> Result<String, Fault> {
    let failed = || unavailable("the database's folder cannot be opened");
    let (folder, name) = (path.parent().ok_or_else(failed)?, path.file_name().ok_or_else(failed)?);
    let real = folder.canonicalize().map_err(|_| failed())?.join(name);
    let mut uri = String::from("file://");
    for byte in real.as_os_str().as_bytes() {
        match byte {
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                uri.push(*byte as char);
            }
            other => write!(uri, "%{other:02x}").expect("text can always be appended"),
        }
    }
    uri.push_str(if reads { "?mode=ro" } else { "?mode=rw" });
    if fixed {
        uri.push_str("&immutable=1");
    }
    Ok(uri)
}

/// The code of an error, for the log: its text may name the file.
pub(super) fn code(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(error) => format!("SQLite error {}", error.extended_code),
        None => "an error of the driver".to_owned(),
    }
}

//! The section of users' databases: `[[databases]]`.

mod resolve;
mod roles;

use std::collections::BTreeSet;
use std::path::PathBuf;

use roothold_databases::SourceKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::{KIB, MIB};
use super::load::ConfigError;
use super::sections::PrincipalSection;

pub(super) use resolve::read as read_own;
pub(crate) use resolve::resolve;
pub use roles::DatabaseRoleSection;

/// The most databases of a server.
const DATABASES_MAX: usize = 100;
/// The most entries of one list of names.
const NAMES_MAX: usize = 10_000;
const NAME_LEN_MAX: usize = 64;

/// A database that agents can describe and ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSection {
    /// The name by which callers know it: up to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// What it holds, for agents.
    #[serde(default)]
    pub description: String,
    /// Which program keeps it.
    pub kind: DatabaseKind,
    /// How it is reached: `postgresql://user:password@host/database`, or `key=value …`; `mysql://user:password@host/database`. It holds a password, so write `${VARIABLE}`; one that holds none may be written out.
    #[serde(default)]
    pub dsn: Option<String>,
    /// A file that holds the `dsn` instead; it is read at start and on reload.
    #[serde(default)]
    pub dsn_file: Option<PathBuf>,
    /// SQLite: the file. No caller can read it as a file.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// `read`: nothing can be changed, and a role that could change something disables the database; `write`: statements that change data run too, for who has the scope `databases:write`.
    #[serde(default)]
    pub access: DatabaseAccess,
    /// The principals who may use it; for others it is not there. Default: everyone who has the scope `databases:read`.
    #[serde(default)]
    pub principals: Option<Vec<String>>,
    /// PostgreSQL and MySQL: roles that principals have in it, a login and a pool each. Who has one asks by it, and by no other.
    #[serde(default)]
    pub roles: Vec<DatabaseRoleSection>,
    /// Whether only those may use it who have a role of their own in `roles`; there is no `dsn` then. Default: others use `dsn`.
    #[serde(default)]
    pub role_per_principal: bool,
    /// Whether `/ready` fails while it cannot be used: by `dsn`, or, with `role_per_principal`, by any role.
    #[serde(default)]
    pub required: bool,
    /// Whether a person confirms each statement that changes data; `never` lets clients change data that cannot ask one.
    #[serde(default)]
    pub confirm: ConfirmWord,
    /// The most connections at once, of each role; calls beyond wait.
    #[serde(default = "default_pool_size")]
    pub pool_size: usize,
    /// How long a call waits for a connection, in seconds.
    #[serde(default = "default_pool_wait")]
    pub pool_wait_seconds: u64,
    /// The most rows of one page.
    #[serde(default = "default_rows")]
    pub rows_max: usize,
    /// The most bytes of one page's rows, as JSON; `limits.result_bytes_ceiling` bounds the answer besides.
    #[serde(default = "default_bytes")]
    pub bytes_max: u64,
    /// How long a statement may run, in seconds.
    #[serde(default = "default_query_timeout")]
    pub query_timeout_seconds: u64,
    /// The highest cost of a plan that is run, in the database's own units. Default: no limit. Not for SQLite.
    #[serde(default)]
    pub cost_max: Option<f64>,
    /// The tables that are there for callers: `table`, `schema.table` or `schema.*`. Default: all.
    #[serde(default)]
    pub tables: Option<Vec<String>>,
    /// Tables that are not there for callers.
    #[serde(default)]
    pub hidden_tables: Vec<String>,
    /// Columns that are not there for callers: `table.column` or `schema.table.column`.
    #[serde(default)]
    pub hidden_columns: Vec<String>,
    /// A file of certificates, in PEM, of the authorities to trust instead of the system's.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// Whether another machine may be talked to in the clear.
    #[serde(default)]
    pub plaintext: bool,
    /// `schema.name` of functions that callers are meant to run: in PostgreSQL of those that are `SECURITY DEFINER`, in MySQL of any. Not for SQLite.
    #[serde(default)]
    pub functions_trusted: Vec<String>,
    /// SQLite: whether nobody changes the file, so that no lock is taken.
    #[serde(default)]
    pub immutable: bool,
}

fn default_pool_size() -> usize {
    4
}

fn default_pool_wait() -> u64 {
    10
}

fn default_rows() -> usize {
    1_000
}

fn default_bytes() -> u64 {
    MIB
}

fn default_query_timeout() -> u64 {
    30
}

/// Which program keeps a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// A MySQL server, 8.0 or later, or a MariaDB server, 10.5 or later.
    MySql,
    /// A PostgreSQL server, 13 or later.
    Postgres,
    /// A file of SQLite.
    Sqlite,
}

impl DatabaseKind {
    pub(crate) fn source_kind(self) -> SourceKind {
        match self {
            Self::MySql => SourceKind::MySql,
            Self::Postgres => SourceKind::Postgres,
            Self::Sqlite => SourceKind::Sqlite,
        }
    }
}

/// What can be done in a database at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseAccess {
    /// Nothing can be changed.
    #[default]
    Read,
    /// Statements that change data run too.
    Write,
}

impl DatabaseAccess {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Whether a person confirms a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfirmWord {
    /// Before each.
    #[default]
    Always,
    /// Never.
    Never,
}

/// Whether the sections can be used, as far as that is known without the environment and files.
///
/// # Errors
/// A [`ConfigError::Value`] that names the database and the key.
pub(super) fn check(
    databases: &[DatabaseSection],
    principals: &[PrincipalSection],
) -> Result<(), ConfigError> {
    if databases.len() > DATABASES_MAX {
        return Err(refuse(format!("there are more than {DATABASES_MAX}")));
    }
    let mut names = BTreeSet::new();
    for database in databases {
        let name = &database.name;
        if !is_name(name) {
            return Err(refuse(format!(
                "`{}` is no name; write up to {NAME_LEN_MAX} letters, digits, _ and -",
                name.escape_debug()
            )));
        }
        if !names.insert(name) {
            return Err(refuse(format!("two are called `{name}`; give each its own name")));
        }
        database.check(principals).map_err(|reason| refuse(format!("`{name}`: {reason}")))?;
    }
    Ok(())
}

fn refuse(reason: String) -> ConfigError {
    ConfigError::Value { key: "databases".to_owned(), reason }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl DatabaseSection {
    /// The files that are read with the configuration, and again with it. They are replaced by others
    /// of their name.
    pub(crate) fn files_read_again(&self) -> impl Iterator<Item = &PathBuf> {
        let of_roles = self.roles.iter().flat_map(|role| &role.dsn_file);
        self.dsn_file.iter().chain(of_roles).chain(&self.tls_ca_file)
    }

    /// The files that are the server's own: no root shows them.
    pub(crate) fn own_files(&self) -> Vec<PathBuf> {
        let of_roles = self.roles.iter().flat_map(|role| &role.dsn_file);
        let mut files: Vec<PathBuf> = self.dsn_file.iter().chain(of_roles).cloned().collect();
        if let Some(path) = &self.path {
            // What SQLite keeps beside a database holds its rows, too.
            for ending in ["", "-wal", "-shm", "-journal"] {
                let mut name = path.clone().into_os_string();
                name.push(ending);
                files.push(PathBuf::from(name));
            }
        }
        files
    }

    fn check(&self, principals: &[PrincipalSection]) -> Result<(), String> {
        self.check_numbers()?;
        self.check_place()?;
        self.check_kind()?;
        for (key, list) in [
            ("tables", self.tables.as_deref().unwrap_or_default()),
            ("hidden_tables", &self.hidden_tables),
            ("hidden_columns", &self.hidden_columns),
            ("functions_trusted", &self.functions_trusted),
            ("principals", self.principals.as_deref().unwrap_or_default()),
        ] {
            if list.len() > NAMES_MAX {
                return Err(format!("{key} has more than {NAMES_MAX} entries"));
            }
        }
        check_principals(self.principals.as_deref(), principals)?;
        self.check_roles(principals)
    }

    fn check_numbers(&self) -> Result<(), String> {
        let bounds = [
            ("pool_size", self.pool_size as u64, 1, 100),
            ("pool_wait_seconds", self.pool_wait_seconds, 1, 600),
            ("rows_max", self.rows_max as u64, 1, 100_000),
            ("bytes_max", self.bytes_max, KIB, 64 * MIB),
            ("query_timeout_seconds", self.query_timeout_seconds, 1, 600),
        ];
        for (key, is, min, max) in bounds {
            if is < min || is > max {
                return Err(format!("{key}: {is} is out of bounds; write {min} to {max}"));
            }
        }
        Ok(())
    }

    /// Whether exactly one key says where the database is.
    fn check_place(&self) -> Result<(), String> {
        let named = [
            ("dsn", self.dsn.is_some()),
            ("dsn_file", self.dsn_file.is_some()),
            ("path", self.path.is_some()),
        ];
        let named: Vec<&str> = named.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        match (self.kind, &named[..]) {
            (DatabaseKind::Sqlite, ["path"]) => Ok(()),
            (DatabaseKind::Sqlite, _) => {
                Err("a SQLite database is named by path, and by nothing else".to_owned())
            }
            (_, []) if self.role_per_principal => Ok(()),
            (_, _) if self.role_per_principal => {
                Err("with role_per_principal nobody would use its dsn; remove that".to_owned())
            }
            (_, ["dsn" | "dsn_file"]) => Ok(()),
            (_, _) => Err("a server is named by dsn or dsn_file, and by one of them".to_owned()),
        }?;
        check_dsn(self.dsn.as_deref())
    }

    /// Whether nothing is said that has no meaning for the kind: it was meant to change something.
    fn check_kind(&self) -> Result<(), String> {
        let is_file = self.kind == DatabaseKind::Sqlite;
        let misplaced = [
            ("immutable", self.immutable && !is_file),
            ("roles", !self.roles.is_empty() && is_file),
            ("role_per_principal", self.role_per_principal && is_file),
            ("cost_max", self.cost_max.is_some() && is_file),
            ("tls_ca_file", self.tls_ca_file.is_some() && is_file),
            ("plaintext", self.plaintext && is_file),
            ("functions_trusted", !self.functions_trusted.is_empty() && is_file),
        ];
        match misplaced.iter().find(|(_, is)| *is) {
            Some((key, _)) => Err(format!("{key} means nothing for this kind; remove it")),
            None => Ok(()),
        }
    }
}

/// Whether those who are named are granted anything at all.
pub(super) fn check_principals(
    named: Option<&[String]>,
    principals: &[PrincipalSection],
) -> Result<(), String> {
    let named = named.unwrap_or_default();
    if named.iter().any(|name| name == "*") {
        return Err("`*` is the name of nobody; leave principals out for everyone".to_owned());
    }
    let known = |name: &str| principals.iter().any(|principal| principal.name == name);
    if principals.is_empty() || known("*") {
        return Ok(());
    }
    match named.iter().find(|name| !known(name)) {
        Some(name) => Err(format!(
            "principals names `{name}`, to whom [[principals]] grants nothing; add an entry, or correct the name"
        )),
        None => Ok(()),
    }
}

/// Whether a connection string may stand in the configuration.
fn check_dsn(dsn: Option<&str>) -> Result<(), String> {
    if dsn.is_some_and(holds_password) {
        let reason = "dsn holds a password, which stands in the configuration then; write \
                      \"${VARIABLE}\" and nothing else there, or name a dsn_file";
        return Err(reason.to_owned());
    }
    Ok(())
}

/// Whether a connection string that is written out holds a password.
fn holds_password(dsn: &str) -> bool {
    if is_variable(dsn) {
        return false;
    }
    // Drivers take whatever stands before an `@` for user and password, and decode names of keys.
    let before_at = dsn.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    let in_user = before_at.is_some_and(|(user, _)| user.contains(':'));
    let words = decoded(dsn).to_ascii_lowercase();
    let says = |word: &str| words.contains(word);
    in_user || says("password") || says("passfile") || says("${")
}

/// A text with what is percent-encoded in it decoded.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let code = more.get(..2).and_then(|code| str::from_utf8(code).ok());
        let code = code.filter(|_| *first == b'%');
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a text is one variable, as the whole of it. What is no name could be a secret, and must not
/// be looked up, since that fails with its name.
pub(super) fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

#[cfg(test)]
mod tests;

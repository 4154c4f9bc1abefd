//! What a source is: where its database lies, who may do what there at most, and how much.

use std::fmt;
use std::time::Duration;

use crate::tables::Tables;

/// Text that must not be seen: it has no form for logs, and no comparison.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which program keeps the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// One file, read by the SQLite in this process.
    Sqlite,
    /// A PostgreSQL server, 13 or later.
    Postgres,
    /// A MySQL server, 8.0 or later, or a MariaDB server, 10.5 or later.
    MySql,
}

impl SourceKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MySql];

    /// The stable word for it, for answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// What can be done in a source at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceAccess {
    /// Nothing can be changed; a role that could change something disables the source.
    #[default]
    Read,
    /// Statements that change data run too, when they are asked for as such.
    Write,
}

/// How much one call may take of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLimits {
    /// The most rows of one page. 1 to 100,000.
    pub rows_max: usize,
    /// The most bytes of one page, as JSON; a row that is larger is refused. 1 KiB to 64 MiB.
    pub bytes_max: usize,
    /// How long one statement may run. 100 ms to 10 minutes.
    pub time: Duration,
    /// The highest cost that a plan may have, in the database's own units. Not for SQLite.
    pub cost_max: Option<f64>,
    /// The longest statement, in bytes. 100 bytes to 1 MiB.
    pub sql_bytes_max: usize,
    /// The most parameters of one statement. 0 to 1,000.
    pub parameters_max: usize,
    /// How long a call waits for a connection. 10 ms to 10 minutes.
    pub wait: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            rows_max: 1_000,
            bytes_max: 1 << 20,
            time: Duration::from_secs(30),
            cost_max: None,
            sql_bytes_max: 100_000,
            parameters_max: 100,
            wait: Duration::from_secs(10),
        }
    }
}

/// A source as the configuration writes it.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// What callers call it: letters, digits, `_` and `-`, 1 to 64 of them.
    pub name: String,
    /// Which program keeps it.
    pub kind: SourceKind,
    /// Where it is: a connection string, for SQLite the path of the file. It is in no message and no
    /// log line.
    pub dsn: Secret,
    /// What can be done at most.
    pub access: SourceAccess,
    /// How much one call may take.
    pub limits: SourceLimits,
    /// Connections at once. 1 to 100.
    pub connections_max: usize,
    /// Which tables and columns are there for callers.
    pub tables: Tables,
    /// Whether the server is not ready without it.
    pub required: bool,
    /// Servers: certificates, in PEM, of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Servers: whether another machine may be talked to in the clear.
    pub plaintext: bool,
    /// PostgreSQL: `schema.name` of `SECURITY DEFINER` functions that callers are meant to run; MySQL:
    /// of any function.
    pub functions_trusted: Vec<String>,
    /// SQLite: whether nobody changes the file while it is read, so that no lock is taken.
    pub immutable: bool,
}

impl SourceSpec {
    /// A source that is read, with every limit at its default.
    pub fn new(name: impl Into<String>, kind: SourceKind, dsn: Secret) -> Self {
        Self {
            name: name.into(),
            kind,
            dsn,
            access: SourceAccess::Read,
            limits: SourceLimits::default(),
            connections_max: 4,
            tables: Tables::default(),
            required: false,
            ca_pem: None,
            plaintext: false,
            functions_trusted: Vec::new(),
            immutable: false,
        }
    }

    /// Whether names and limits are within bounds.
    ///
    /// # Errors
    /// [`SpecError`], naming the setting and its bounds.
    pub fn check(&self) -> Result<(), SpecError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(fits) {
            return Err(SpecError::Name);
        }
        let limits = &self.limits;
        let millis = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
        let bounds = [
            ("rows_max", limits.rows_max, 1, 100_000),
            ("bytes_max", limits.bytes_max, 1 << 10, 64 << 20),
            ("time_ms", millis(limits.time), 100, 600_000),
            ("sql_bytes_max", limits.sql_bytes_max, 100, 1 << 20),
            ("parameters_max", limits.parameters_max, 0, 1_000),
            ("wait_ms", millis(limits.wait), 10, 600_000),
            ("connections_max", self.connections_max, 1, 100),
        ];
        for (setting, is, min, max) in bounds {
            if is < min || is > max {
                let source = self.name.clone();
                return Err(SpecError::Limit { source_name: source, setting, min, max, is });
            }
        }
        if limits.cost_max.is_some_and(|cost| !cost.is_finite() || cost <= 0.0) {
            return Err(self.wrong("cost_max is a number above 0"));
        }
        if self.kind == SourceKind::Sqlite && limits.cost_max.is_some() {
            return Err(self.wrong("SQLite plans have no cost: leave cost_max out"));
        }
        Ok(())
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> SpecError {
        SpecError::Setting { source_name: self.name.clone(), what: what.into() }
    }
}

/// Why a source cannot be as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name does not fit.
    #[error("a database's name has 1 to 64 letters, digits, _ and -")]
    Name,
    /// A limit is out of bounds.
    #[error("database {source_name}: {setting} is {is}; it must be from {min} to {max}")]
    Limit {
        /// The source.
        source_name: String,
        /// The setting.
        setting: &'static str,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
        /// What it is.
        is: usize,
    },
    /// A setting does not read, or is unsafe. No part of the connection string is in the text.
    #[error("database {source_name}: {what}")]
    Setting {
        /// The source.
        source_name: String,
        /// What is wrong and how to mend it.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> SourceSpec {
        SourceSpec::new("shop", SourceKind::Postgres, Secret::new("postgresql://u:s3cr3t@h/d"))
    }

    #[test]
    fn the_connection_string_has_no_form_for_logs() {
        assert!(!format!("{:?}", spec()).contains("s3cr3t"));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert!(spec().check().is_ok());
        let said = |change: &dyn Fn(&mut SourceSpec)| {
            let mut spec = spec();
            change(&mut spec);
            spec.check().unwrap_err().to_string()
        };
        assert!(said(&|s| s.name = "a b".into()).contains("name"));
        assert!(said(&|s| s.limits.rows_max = 0).contains("rows_max is 0; it must be from 1"));
        assert!(said(&|s| s.limits.time = Duration::ZERO).contains("time_ms"));
        assert!(said(&|s| s.connections_max = 101).contains("connections_max"));
        assert!(said(&|s| s.limits.cost_max = Some(f64::NAN)).contains("cost_max"));
        let sqlite = |s: &mut SourceSpec| {
            s.kind = SourceKind::Sqlite;
            s.limits.cost_max = Some(1.0);
        };
        assert!(said(&sqlite).contains("no cost"));
    }
}

//! From sections to sources: variables and files are read here.
#![expect(
    clippy::disallowed_methods,
    reason = "files that the configuration names are read here; no caller names one"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use roothold_databases::{Secret, SourceAccess, SourceLimits, SourceSpec, Tables};
use sha2::{Digest as _, Sha256};

use super::{DatabaseAccess, DatabaseKind, DatabaseSection, refuse};
use crate::config::load::{ConfigError, expand};

/// The largest file that holds a connection string or certificates, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A source as it is to be made, and what tells it from one that is reached in another way.
pub(crate) struct Resolved {
    pub(crate) spec: SourceSpec,
    /// Over what the variable and the files hold; the section says the rest.
    pub(crate) secrets: [u8; 32],
}

/// What a section means for the role of `principal`, or of nobody, with its variable and its files read.
///
/// # Errors
/// A [`ConfigError::Value`] that names the database and the key, and shows nothing of a secret.
pub(crate) fn resolve(
    section: &DatabaseSection,
    principal: Option<&str>,
) -> Result<Resolved, ConfigError> {
    let name = &section.name;
    let wrong = |reason: String| match principal {
        Some(whose) => refuse(format!("`{name}`: roles: `{}`: {reason}", whose.escape_debug())),
        None => refuse(format!("`{name}`: {reason}")),
    };
    let place = place(section).map_err(wrong)?;
    let ca_pem = section.tls_ca_file.as_ref().map(|file| read(file));
    let ca_pem = ca_pem.transpose().map_err(|reason| wrong(format!("tls_ca_file {reason}")))?;
    let tables =
        Tables::new(section.tables.as_deref(), &section.hidden_tables, &section.hidden_columns);
    let mut digest = Sha256::new();
    for part in [place.as_bytes(), ca_pem.as_deref().unwrap_or_default()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let spec = SourceSpec {
        access: match section.access {
            DatabaseAccess::Read => SourceAccess::Read,
            DatabaseAccess::Write => SourceAccess::Write,
        },
        limits: SourceLimits {
            rows_max: section.rows_max,
            bytes_max: usize::try_from(section.bytes_max).unwrap_or(usize::MAX),
            time: Duration::from_secs(section.query_timeout_seconds),
            cost_max: section.cost_max,
            wait: Duration::from_secs(section.pool_wait_seconds),
            ..SourceLimits::default()
        },
        connections_max: section.pool_size,
        tables: tables.map_err(wrong)?,
        required: section.required,
        ca_pem,
        plaintext: section.plaintext,
        functions_trusted: section.functions_trusted.clone(),
        immutable: section.immutable,
        ..SourceSpec::new(name, section.kind.source_kind(), Secret::new(place))
    };
    Ok(Resolved { spec, secrets: digest.finalize().into() })
}

/// Where the database is.
fn place(section: &DatabaseSection) -> Result<String, String> {
    if section.kind == DatabaseKind::Sqlite {
        let path = section.path.as_deref().unwrap_or(Path::new(""));
        let path = std::path::absolute(path).map_err(|error| format!("path: {error}"))?;
        return path.into_os_string().into_string().map_err(|_| "path is not UTF-8".to_owned());
    }
    if let Some(file) = &section.dsn_file {
        let bytes = read(file).map_err(|reason| format!("dsn_file {reason}"))?;
        let text = String::from_utf8(bytes).map_err(|_| "dsn_file is not UTF-8".to_owned())?;
        return filled(text.trim(), "dsn_file");
    }
    let dsn = section.dsn.as_deref().unwrap_or_default();
    let text = expand(dsn).map_err(|reason| format!("dsn: {reason}"))?;
    filled(text.trim(), "dsn")
}

fn filled(text: &str, key: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("{key} is empty")) } else { Ok(text.to_owned()) }
}

/// The whole of a file that is not large.
///
/// # Errors
/// Why it cannot be read.
pub(in crate::config) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let failed = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let meta = fs::metadata(file).map_err(failed)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(format!("{shown} is no file of at most {FILE_BYTES_MAX} bytes"));
    }
    fs::read(file).map_err(failed)
}

//! From a file, the environment and flags to a checked [`Config`].
#![expect(
    clippy::disallowed_methods,
    reason = "the configuration is read here, and the environment nowhere else"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roothold_core::handle::{HandleKey, KEY_ID_LEN_MAX, Sealer};
use roothold_core::{Access, Hardlinks, PolicySpec, RootPatterns, RootSpec};
use roothold_state::PgOptions;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::databases::DatabaseSection;
use super::sections::{AccessWord, Config, HardlinksWord, RootSection};
use super::stores::StoreSection;

const ENV_PREFIX: &str = "ROOTHOLD_";

/// Why a configuration is refused: one sentence with the key and the mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key does not exist or has the wrong type.
    #[error("{place}: {reason}")]
    Content {
        /// The file, or the variables.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A key's value cannot be used.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what to write.
        reason: String,
    },
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// Overrides by flags, as `("server.listen", value)`; they win over everything.
    pub overrides: Vec<(String, Value)>,
}

/// Reads the configuration: the file, the environment over it, the overrides over both.
///
/// # Errors
/// A [`ConfigError`] that names the key and the mend.
pub fn load(source: &Source) -> Result<Config, ConfigError> {
    let mut table = match &source.file {
        Some(path) => read_table(path)?,
        None => Table::new(),
    };
    for (name, text) in variables(env::vars_os())? {
        let key = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        if key.contains('.') {
            set(&mut table, &key, parse_value(&text), &name)?;
        }
    }
    for (key, value) in &source.overrides {
        set(&mut table, key, value.clone(), key)?;
    }
    let place = source
        .file
        .as_ref()
        .map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
    let mut config: Config = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        ConfigError::Content { place, reason: one_line(error.message()) }
    })?;
    let base = source.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
    anchor(&mut config, &base);
    config.file = source.file.as_ref().and_then(|path| std::path::absolute(path).ok());
    config.check()?;
    Ok(config)
}

/// Our variables, by name. Others may hold what they like, also bytes that are no text.
fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut ours = Vec::new();
    for (name, text) in all {
        let Ok(name) = name.into_string() else { continue };
        if !name.starts_with(ENV_PREFIX) {
            continue;
        }
        let text = text.into_string().map_err(|_| ConfigError::Value {
            key: name.clone(),
            reason: "is not UTF-8; set the variable to text".to_owned(),
        })?;
        ours.push((name, text));
    }
    ours.sort();
    Ok(ours)
}

fn read_table(path: &Path) -> Result<Table, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_path_buf(), source })?;
    // Parsed twice: with types for errors that have a line, as a table to be overridden.
    let content = |error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::Content {
            place: format!("{}, line {line}", path.display()),
            reason: one_line(error.message()),
        }
    };
    toml::from_str::<Config>(&text).map_err(content)?;
    text.parse::<Table>().map_err(content)
}

fn one_line(message: &str) -> String {
    if message.trim() == "invalid socket address syntax" {
        return "it is no address; write IP:PORT, such as 127.0.0.1:8000 or [::]:8000".to_owned();
    }
    message
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// A variable's text as TOML where it is that, and as a string where it is not.
fn parse_value(text: &str) -> Value {
    let parsed =
        format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, key: &str, value: Value, named: &str) -> Result<(), ConfigError> {
    let (parents, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut at = table;
    for part in parents.split('.').filter(|part| !part.is_empty()) {
        let entry = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = entry.as_table_mut().ok_or_else(|| ConfigError::Value {
            key: named.to_owned(),
            reason: format!("`{part}` is a list or a value, which cannot be overridden by parts; set it in the file"),
        })?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// Makes relative paths relative to the file that names them.
fn anchor(config: &mut Config, base: &Path) {
    let fix = |path: &mut PathBuf| *path = base.join(&*path);
    config.roots.iter_mut().for_each(|root| fix(&mut root.path));
    config.auth.keys_file.iter_mut().for_each(fix);
    config.auth.jwt.iter_mut().for_each(|jwt| fix(&mut jwt.jwks_file));
    config.audit.dir.iter_mut().for_each(fix);
    config.state.dir.iter_mut().for_each(fix);
    config.state.tls_ca_file.iter_mut().for_each(fix);
    config.dataset_engine.spill_dir.iter_mut().for_each(fix);
    config.telemetry.otlp_ca_file.iter_mut().for_each(fix);
    for database in &mut config.databases {
        database.path.iter_mut().for_each(fix);
        database.dsn_file.iter_mut().for_each(fix);
        database.roles.iter_mut().flat_map(|role| &mut role.dsn_file).for_each(fix);
        database.tls_ca_file.iter_mut().for_each(fix);
    }
    for store in &mut config.stores {
        store.credentials_file.iter_mut().for_each(fix);
        store.tls_ca_file.iter_mut().for_each(fix);
    }
}

impl Config {
    /// Whether callers prove who they are.
    pub fn authenticates(&self) -> bool {
        self.auth.keys_file.is_some() || self.auth.jwt.is_some()
    }

    /// Serves directories instead of the configured roots: each is a root whose URI is its
    /// absolute path, readable throughout, and writable only if `write` says so.
    pub fn set_directories(&mut self, directories: &[PathBuf], write: bool) {
        let access = if write { AccessWord::Rw } else { AccessWord::Ro };
        self.roots = directories.iter().map(|path| RootSection::of(path.clone(), access)).collect();
        if !write {
            self.policy.write = Some(Vec::new());
        }
    }

    /// The patterns over all roots.
    pub fn policy_spec(&self) -> PolicySpec {
        let default = PolicySpec::default();
        PolicySpec {
            read: self.policy.read.clone().unwrap_or(default.read),
            write: self.policy.write.clone().unwrap_or(default.write),
            exclude: self.policy.exclude.clone().unwrap_or(default.exclude),
        }
    }

    /// The roots as the core opens them.
    ///
    /// # Errors
    /// For a path that is not absolute and has no working directory to be relative to.
    pub fn root_specs(&self) -> Result<Vec<RootSpec>, ConfigError> {
        let several_users = self.has_several_users();
        let mut specs = self
            .roots
            .iter()
            .map(|root| root_spec(root, several_users))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = self.auth.keys_file.iter().chain(self.auth.jwt.iter().map(|jwt| &jwt.jwks_file));
        let places = [self.audit_dir().ok(), self.state_parent().ok(), self.spill_dir().ok()];
        let databases = self.databases.iter().flat_map(DatabaseSection::own_files);
        let stores = self.stores.iter().flat_map(StoreSection::own_files);
        let sources: Vec<PathBuf> = databases.chain(stores).collect();
        let ca = &self.telemetry.otlp_ca_file;
        for own in places.iter().flatten().chain(keys).chain(&self.file).chain(ca).chain(&sources) {
            for spec in &mut specs {
                hide(spec, own);
                // Where it is a link, whoever replaces that replaces what is read.
                if let Some((above, name)) = own.parent().zip(own.file_name())
                    && let Ok(above) = fs::canonicalize(above)
                {
                    hide_real(spec, &above.join(name));
                }
            }
        }
        Ok(specs)
    }

    /// The directory of the audit log.
    ///
    /// # Errors
    /// When none is configured and the user has no home.
    pub fn audit_dir(&self) -> Result<PathBuf, ConfigError> {
        self.audit.dir.clone().map_or_else(|| in_users_state("roothold/audit", "audit.dir"), Ok)
    }

    /// The name of this replica.
    pub(crate) fn replica(&self) -> String {
        self.audit.replica.clone().unwrap_or_else(|| crate::process::host_name().to_owned())
    }

    /// The directory of the SQLite file that jobs are kept in. Where none is configured, servers of
    /// other roots have another: a job is for whoever can do the same.
    ///
    /// # Errors
    /// When none is configured and the user has no home.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, ConfigError> {
        let parent = self.state_parent()?;
        if self.state.dir.is_some() {
            return Ok(parent);
        }
        let mut digest = Sha256::new();
        for root in &self.roots {
            let path = std::path::absolute(&root.path).unwrap_or_else(|_| root.path.clone());
            let access = if root.access == AccessWord::Rw { "rw" } else { "ro" };
            for part in [path.as_os_str().as_encoded_bytes(), access.as_bytes()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        let digest = digest.finalize();
        let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(parent.join(name))
    }

    /// The directory that is configured, or the one that holds those of all servers.
    pub(crate) fn state_parent(&self) -> Result<PathBuf, ConfigError> {
        self.state.dir.clone().map_or_else(|| in_users_state("roothold/state", "state.dir"), Ok)
    }

    /// The directory for what queries over datasets do not hold in memory.
    ///
    /// # Errors
    /// When none is configured and the user has no home.
    pub(crate) fn spill_dir(&self) -> Result<PathBuf, ConfigError> {
        match (&self.dataset_engine.spill_dir, &self.state.dir) {
            (Some(dir), _) => Ok(dir.clone()),
            // It can be written, as one beside it perhaps cannot.
            (None, Some(state)) => Ok(state.join("spill")),
            (None, None) => in_users_state("roothold/spill", "dataset_engine.spill_dir"),
        }
    }

    /// How the PostgreSQL database is reached that jobs are kept in, if one is configured.
    ///
    /// # Errors
    /// For a variable that is not set, certificates that cannot be read, and a shared database without
    /// `handles.keys`.
    pub(crate) fn state_postgres(&self) -> Result<Option<PgOptions>, ConfigError> {
        let refuse = |key: &str, reason: String| ConfigError::Value { key: key.to_owned(), reason };
        let state = &self.state;
        let Some(text) = &state.postgres else { return Ok(None) };
        if self.handles.keys.is_empty() {
            let reason = "is not set, and state.postgres is shared by replicas: a cursor that one seals \
                          the others could not open; give all of them the same keys";
            return Err(refuse("handles.keys", reason.to_owned()));
        }
        let url = expand(text).map_err(|reason| refuse("state.postgres", reason))?;
        let unreadable = |error: std::io::Error| {
            refuse("state.tls_ca_file", format!("cannot be read: {error}; name a PEM file"))
        };
        let ca_pem = state.tls_ca_file.as_ref().map(fs::read).transpose().map_err(unreadable)?;
        let (schema, plaintext) = (state.schema.clone(), state.plaintext);
        Ok(Some(PgOptions { url, ca_pem, plaintext, schema, ..PgOptions::default() }))
    }

    /// The sealer of cursors.
    ///
    /// # Errors
    /// For a key that is not `kid:secret` with 32 bytes, or names a variable that is not set.
    pub fn sealer(&self) -> Result<Sealer, ConfigError> {
        let refuse = |reason: String| ConfigError::Value { key: "handles.keys".to_owned(), reason };
        if self.handles.keys.is_empty() {
            return Sealer::ephemeral().map_err(|error| refuse(error.to_string()));
        }
        let keys = self
            .handles
            .keys
            .iter()
            .map(|text| handle_key(text).map_err(refuse))
            .collect::<Result<Vec<_>, _>>()?;
        Sealer::new(keys).map_err(|error| refuse(error.to_string()))
    }
}

/// A directory of ours among what the user's programs keep.
fn in_users_state(name: &str, key: &str) -> Result<PathBuf, ConfigError> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        state.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")));
    state.map(|state| state.join(name)).ok_or_else(|| ConfigError::Value {
        key: key.to_owned(),
        reason: "is not set and the user has no home; name a directory on persistent storage"
            .to_owned(),
    })
}

fn handle_key(text: &str) -> Result<HandleKey, String> {
    // Nothing of a key that is written the wrong way round may be shown: it is the secret.
    let is_id = |kid: &&str| {
        (1..=KEY_ID_LEN_MAX).contains(&kid.len())
            && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let (kid, secret) = text
        .split_once(':')
        .filter(|(kid, _)| is_id(kid))
        .ok_or("each key is written kid:secret, with 1 to 32 letters, digits, - or _ as its kid")?;
    let secret = expand(secret)?;
    let bytes = URL_SAFE_NO_PAD
        .decode(secret.trim().trim_end_matches('='))
        .map_err(|_| format!("the secret of `{kid}` is not base64url"))?;
    let secret =
        bytes.try_into().map_err(|_| format!("the secret of `{kid}` does not have 32 bytes"))?;
    Ok(HandleKey { kid: kid.to_owned(), secret })
}

/// `${NAME}` from the environment; other text is itself.
pub(super) fn expand(text: &str) -> Result<String, String> {
    match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        None => Ok(text.to_owned()),
        Some(name) => env::var(name).map_err(|_| format!("the variable {name} is not set")),
    }
}

fn root_spec(root: &RootSection, several_users: bool) -> Result<RootSpec, ConfigError> {
    let absolute = std::path::absolute(&root.path).map_err(|error| ConfigError::Value {
        key: "roots.path".to_owned(),
        reason: format!("{} is not usable: {error}", root.path.display()),
    })?;
    let uri = root.uri.clone().unwrap_or_else(|| directory_uri(&absolute));
    let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let hardlinks = match root.hardlinks {
        Some(HardlinksWord::Deny) => Hardlinks::Deny,
        None if several_users => Hardlinks::Deny,
        Some(HardlinksWord::Allow) | None => Hardlinks::Allow,
    };
    Ok(RootSpec {
        name: root.name.clone().unwrap_or_else(|| last.to_owned()),
        uri,
        description: root.description.clone(),
        path: absolute,
        access: match root.access {
            AccessWord::Ro => Access::ReadOnly,
            AccessWord::Rw => Access::ReadWrite,
        },
        patterns: RootPatterns {
            read: root.read.clone(),
            write: root.write.clone(),
            exclude: root.exclude.clone(),
            write_exclude: root.write_exclude.clone(),
        },
        hardlinks,
        mounts: root.mounts.clone(),
    })
}

/// Excludes what is the server's own from a root that it lies in, such as the audit log below a
/// home directory that is served, the keys, or the configuration: who writes those is anybody.
fn hide(spec: &mut RootSpec, own: &Path) {
    let real = |path: &Path| {
        // What is not there yet will be made below what is.
        path.ancestors().find_map(|above| {
            let below = path.strip_prefix(above).ok()?;
            Some(fs::canonicalize(above).ok()?.join(below))
        })
    };
    if let Some(own) = real(own) {
        hide_real(spec, &own);
    }
}

/// The same for a path whose directories are no links.
fn hide_real(spec: &mut RootSpec, own: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let Ok(root) = fs::canonicalize(&spec.path) else { return };
    let Ok(below) = own.strip_prefix(&root) else { return };
    let below = String::from_utf8_lossy(below.as_os_str().as_bytes()).into_owned();
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '!' | '\\');
    let pattern = below.chars().fold(String::from("/"), |mut pattern, c| {
        if special(c) {
            pattern.push('\\');
        }
        pattern.push(c);
        pattern
    });
    if pattern.len() > 1 && !spec.patterns.exclude.contains(&pattern) {
        spec.patterns.exclude.push(pattern);
    }
}

/// The URI of a directory whose public path is its own, without `.` and `..`.
fn directory_uri(absolute: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut clean = PathBuf::new();
    for component in absolute.components() {
        match component {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    let bytes = clean.as_os_str().as_bytes();
    roothold_core::uri(bytes.strip_prefix(b"/").unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn what_is_the_servers_own_is_excluded_from_a_root_that_it_lies_in() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/real[1]"), "").unwrap();
        std::os::unix::fs::symlink("real[1]", root.join("etc/keys")).unwrap();
        let mut config = Config {
            roots: vec![RootSection::of(root.clone(), AccessWord::Rw)],
            file: Some(root.join("roothold.toml")),
            ..Config::default()
        };
        config.audit.dir = Some(dir.path().join("audit"));
        config.auth.keys_file = Some(root.join("etc/keys"));
        let specs = config.root_specs().unwrap();
        let own = ["/etc/real\\[1\\]", "/etc/keys", "/roothold.toml"];
        assert_eq!(specs[0].patterns.exclude, own);
    }

    #[test]
    fn only_our_variables_must_be_text() {
        let broken = || OsString::from_vec(b"\xff".to_vec());
        let theirs = [(broken(), "x".into()), ("PATHS".into(), broken()), (broken(), broken())];
        let ours = ("ROOTHOLD_SERVER__LISTEN".into(), "127.0.0.1:1".into());
        let all = theirs.into_iter().chain([ours]);
        let found = variables(all).unwrap();
        assert_eq!(found, [("ROOTHOLD_SERVER__LISTEN".to_owned(), "127.0.0.1:1".to_owned())]);
        let error = variables([("ROOTHOLD_AUDIT__DIR".into(), broken())].into_iter());
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "ROOTHOLD_AUDIT__DIR: is not UTF-8; set the variable to text");
    }
}

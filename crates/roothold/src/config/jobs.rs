//! The sections of durable work: `[state]`, where it is kept, and `[jobs]`, how much of it there
//! may be.

use std::path::PathBuf;
use std::time::Duration;

use roothold_state::PgOptions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::{DAY, HOUR, KIB, MIB, within};
use super::load::ConfigError;

/// Where jobs are kept. By default in a file of SQLite, which servers of the same roots on one machine share; replicas on several machines share a PostgreSQL database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// The directory of the SQLite file, on a local disk. Default: `roothold/state` in the user's state directory, and below it one directory for each set of roots; where that cannot be made, there are no jobs.
    pub dir: Option<PathBuf>,
    /// A PostgreSQL database instead: `postgresql://user:password@host/database`, or `key=value …`. It holds a password, so write `${VARIABLE}`. Other machines are reached over TLS, and their certificate is verified. It wants `handles.keys`: what one replica seals the others must open.
    #[serde(deserialize_with = "secret")]
    pub postgres: Option<String>,
    /// The schema that holds the tables; it is made if the role may.
    pub schema: String,
    /// A file of certificates, in PEM, of the authorities to trust instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Whether `sslmode=disable` may send jobs and password in the clear to another machine.
    pub plaintext: bool,
}

impl Default for State {
    fn default() -> Self {
        let postgres = PgOptions::default();
        Self {
            dir: None,
            postgres: None,
            schema: postgres.schema,
            tls_ca_file: None,
            plaintext: postgres.plaintext,
        }
    }
}

impl State {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, reason: &str| {
            Err(ConfigError::Value { key: key.to_owned(), reason: reason.to_owned() })
        };
        if self.postgres.is_none() {
            if self.tls_ca_file.is_some() || self.plaintext {
                let reason = "is not set, and other keys of [state] are about it";
                return refuse("state.postgres", reason);
            }
            return Ok(());
        }
        if self.dir.is_some() {
            return refuse("state.dir", "is set, and so is state.postgres; keep one of them");
        }
        Ok(())
    }
}

/// A secret. What is none is refused without being shown.
fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let refused =
        || serde::de::Error::custom("state.postgres must be a text, such as \"${VARIABLE}\"");
    Option::<String>::deserialize(from).map_err(|_| refused())
}

/// Work that goes on after the answer to the call which began it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// The most jobs that this replica works on at once; 0 leaves them to others.
    pub running_max: usize,
    /// The most jobs of one principal that run at once, in all replicas together.
    pub running_per_principal_max: u32,
    /// The most jobs of one principal that wait or run.
    pub live_per_principal_max: u32,
    /// The most ended jobs of one principal that are kept; the oldest go first.
    pub kept_per_principal_max: u32,
    /// How long a replica may be silent before another goes on with its job, in seconds.
    pub lease_seconds: u64,
    /// How long a job may take from its submission on, in seconds.
    pub deadline_seconds: u64,
    /// How long an ended job and its result are kept, in seconds.
    pub retention_seconds: u64,
    /// How often a job may be started without getting any further; then it fails.
    pub attempts_max: u32,
    /// The largest result of a job, in bytes.
    pub result_bytes_max: u64,
    /// From how many bytes of input on a call becomes a task, for clients with the tasks extension.
    pub task_bytes_min: u64,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            running_max: 2,
            running_per_principal_max: 2,
            live_per_principal_max: 32,
            kept_per_principal_max: 500,
            lease_seconds: 15,
            deadline_seconds: DAY,
            retention_seconds: DAY,
            attempts_max: 5,
            result_bytes_max: 4 * MIB,
            task_bytes_min: 64 * MIB,
        }
    }
}

impl Jobs {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("jobs.running_max", self.running_max, 0..=1000)?;
        within("jobs.running_per_principal_max", self.running_per_principal_max, 1..=10_000)?;
        within("jobs.live_per_principal_max", self.live_per_principal_max, 1..=100_000)?;
        within("jobs.kept_per_principal_max", self.kept_per_principal_max, 1..=1_000_000)?;
        within("jobs.lease_seconds", self.lease_seconds, 2..=300)?;
        within("jobs.deadline_seconds", self.deadline_seconds, 1..=366 * DAY)?;
        within("jobs.retention_seconds", self.retention_seconds, HOUR / 60..=366 * DAY)?;
        within("jobs.attempts_max", self.attempts_max, 1..=1000)?;
        within("jobs.result_bytes_max", self.result_bytes_max, KIB..=256 * MIB)?;
        within("jobs.task_bytes_min", self.task_bytes_min, 0..=1024 * 1024 * MIB)
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_seconds)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_number_of_jobs_has_bounds_and_an_error_that_names_it() {
        let defaults = serde_json::to_value(Jobs::default()).unwrap();
        for key in defaults.as_object().unwrap().keys() {
            let with = |value: Value| {
                let mut config = serde_json::to_value(Config::default()).unwrap();
                config["jobs"][key] = value;
                serde_json::from_value::<Config>(config).unwrap().check()
            };
            let is_u32 = key.ends_with("_principal_max") || key == "attempts_max";
            let huge = if is_u32 { json!(u32::MAX) } else { json!(i64::MAX) };
            let error = with(huge).unwrap_err().to_string();
            assert!(error.starts_with(&format!("jobs.{key}: ")), "{key}: {error}");
            let zero_has_a_sense = key == "running_max" || key == "task_bytes_min";
            assert_eq!(with(json!(0)).is_ok(), zero_has_a_sense, "{key}");
        }
        Config::default().check().unwrap();
    }

    fn checked(text: &str) -> Result<(), String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_place_for_jobs_is_one_and_a_wrong_secret_is_not_shown() {
        assert_eq!(checked("[state]\npostgres = \"postgresql://u:p@h/d\"\n"), Ok(()));
        for (text, key) in [
            ("dir = \"d\"\npostgres = \"postgresql://h/d\"", "state.dir: "),
            ("plaintext = true", "state.postgres: "),
            ("tls_ca_file = \"ca.pem\"", "state.postgres: "),
        ] {
            let error = checked(&format!("[state]\n{text}\n")).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
        let error = checked("[state]\npostgres = [\"hunter2\"]\n").unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("VARIABLE"), "{error}");
    }
}

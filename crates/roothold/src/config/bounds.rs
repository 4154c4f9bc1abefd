//! The bounds of the numbers in a configuration, so that a slip of the pen is a sentence at start
//! and not a panic, or a server that answers nothing.
//!
//! It does not judge whether a number within its bounds is wise.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::cache::Cache;
use super::load::ConfigError;
use super::sections::{Audit, Config, Limits, Server};

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const HOUR: u64 = 60 * 60;
pub(super) const DAY: u64 = 24 * HOUR;

impl Config {
    /// Whether every number and address can be used.
    ///
    /// # Errors
    /// A [`ConfigError::Value`] that names the first key out of bounds, and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        self.server.check()?;
        self.cache.check()?;
        self.jobs.check()?;
        self.state.check()?;
        self.audit.check()?;
        super::datasets::check(&self.datasets)?;
        super::stores::check(&self.stores, &self.principals)?;
        self.dataset_engine.check()?;
        super::databases::check(&self.databases, &self.principals)?;
        super::tools::check(&self.tools, &self.databases, &self.principals)?;
        self.telemetry.check()
    }
}

impl Limits {
    /// Whether every limit is within its bounds.
    ///
    /// # Errors
    /// A [`ConfigError::Value`] that names the first key out of bounds, and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_answers()?;
        let count = |key, value: usize, max: usize| within(key, value, 1..=max);
        count("limits.calls_max", self.calls_max, 1_000_000)?;
        count("limits.calls_per_principal_max", self.calls_per_principal_max, 1_000_000)?;
        count("limits.connections_max", self.connections_max, 1_000_000)?;
        count("limits.blocking_threads_max", self.blocking_threads_max, 4096)?;
        within("limits.body_bytes_max", self.body_bytes_max as u64, KIB..=256 * MIB)?;
        // The largest answer must have room, and what its clients have not read fit into a machine.
        let room = self.result_bytes_ceiling.max(64 * KIB)..=64 * 1024 * MIB;
        within("limits.answers_bytes_max", self.answers_bytes_max as u64, room)?;
        within("limits.call_timeout_seconds", self.call_timeout_seconds, 1..=DAY)?;
        within("limits.long_call_timeout_seconds", self.long_call_timeout_seconds, 1..=DAY)?;
        within("limits.admission_timeout_seconds", self.admission_timeout_seconds, 0..=HOUR)?;
        within("limits.header_timeout_seconds", self.header_timeout_seconds, 1..=HOUR)?;
        within("limits.body_timeout_seconds", self.body_timeout_seconds, 1..=HOUR)?;
        within("limits.keep_alive_timeout_seconds", self.keep_alive_timeout_seconds, 1..=DAY)?;
        within("limits.peer_timeout_seconds", self.peer_timeout_seconds, 4..=DAY)?;
        within("limits.requests_burst", self.requests_burst, 1..=1_000_000)?;
        within("limits.auth_failures_burst", self.auth_failures_burst, 1..=1_000_000)?;
        self.check_subscriptions()?;
        rate("limits.requests_per_second", self.requests_per_second)?;
        rate("limits.auth_failures_per_second", self.auth_failures_per_second)
    }

    fn check_subscriptions(&self) -> Result<(), ConfigError> {
        let count = |key, value: usize| within(key, value, 1..=1_000_000);
        count("limits.subscriptions_max", self.subscriptions_max)?;
        count("limits.subscriptions_per_principal_max", self.subscriptions_per_principal_max)?;
        within("limits.subscription_uris_max", self.subscription_uris_max, 1..=4096)?;
        count("limits.watches_max", self.watches_max)?;
        let interval = self.notification_interval_seconds;
        within("limits.notification_interval_seconds", interval, 1..=HOUR)?;
        within("limits.watch_poll_seconds", self.watch_poll_seconds, 1..=HOUR)
    }

    fn check_answers(&self) -> Result<(), ConfigError> {
        let ceiling = self.result_bytes_ceiling;
        within("limits.result_bytes_ceiling", ceiling, KIB..=64 * MIB)?;
        within("limits.result_bytes_default", self.result_bytes_default, KIB..=ceiling)?;
        within("limits.result_entries_max", self.result_entries_max, 1..=1_000_000)?;
        within("limits.media_bytes_max", self.media_bytes_max, 1..=256 * MIB)?;
        within("limits.resource_bytes_max", self.resource_bytes_max, 1..=256 * MIB)?;
        within("limits.write_bytes_max", self.write_bytes_max, 1..=256 * MIB)?;
        within("limits.batch_calls_max", self.batch_calls_max, 1..=10_000)
    }
}

impl Cache {
    fn check(&self) -> Result<(), ConfigError> {
        let bytes = |key, value: usize| within(key, value as u64, 0..=64 * 1024 * MIB);
        bytes("cache.content_bytes_max", self.content_bytes_max)?;
        bytes("cache.lines_bytes_max", self.lines_bytes_max)?;
        bytes("cache.index_bytes_max", self.index_bytes_max)?;
        within("cache.idle_seconds", self.idle_seconds, 1..=DAY)
    }
}

impl Server {
    fn check(&self) -> Result<(), ConfigError> {
        within("server.pre_stop_delay_seconds", self.pre_stop_delay_seconds, 0..=HOUR)?;
        within("server.drain_timeout_seconds", self.drain_timeout_seconds, 0..=DAY)?;
        within("server.config_poll_seconds", self.config_poll_seconds, 0..=HOUR)?;
        let Some(sessions) = &self.legacy_sessions else { return Ok(()) };
        within("server.legacy_sessions.sessions_max", sessions.sessions_max, 1..=1_000_000)?;
        let idle = sessions.idle_timeout_seconds;
        within("server.legacy_sessions.idle_timeout_seconds", idle, 1..=DAY)
    }
}

impl Audit {
    fn check(&self) -> Result<(), ConfigError> {
        // The longest line has room in the smallest file, and no file is larger than a disk.
        within("audit.file_bytes_max", self.file_bytes_max, MIB..=MIB * MIB)?;
        let is_name =
            |name: &String| (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
        if self.replica.as_ref().is_none_or(is_name) {
            return Ok(());
        }
        let reason = "must be a name of 1 to 128 bytes without control characters".to_owned();
        Err(ConfigError::Value { key: "audit.replica".to_owned(), reason })
    }
}

pub(super) fn within<T: PartialOrd + Display + Copy>(
    key: &'static str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is out of bounds; write {} to {}", bounds.start(), bounds.end());
    Err(ConfigError::Value { key: key.to_owned(), reason })
}

fn rate(key: &'static str, value: Option<f64>) -> Result<(), ConfigError> {
    let Some(value) = value else { return Ok(()) };
    if value == 0.0 || (0.001..=1e6).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is out of bounds; write 0.001 to 1000000, or 0 for no limit");
    Err(ConfigError::Value { key: key.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(section: &str, key: &str, value: &Value) -> Config {
        let mut config = serde_json::to_value(Config::default()).unwrap();
        config[section][key] = value.clone();
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn the_defaults_are_within_their_bounds() {
        Config::default().check().unwrap();
    }

    #[test]
    fn every_limit_has_bounds_and_an_error_that_names_it() {
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for key in limits.as_object().unwrap().keys() {
            let is_u32 = key.ends_with("_burst");
            let huge = if is_u32 { json!(u32::MAX) } else { json!(i64::MAX) };
            let error = with("limits", key, &huge).check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("limits.{key}: ")), "{key}: {error}");
            assert!(error.contains("out of bounds; write "), "{key}: {error}");
            let zero_means_none = key.ends_with("_per_second");
            let zero_means_at_once = key == "admission_timeout_seconds";
            let zero = with("limits", key, &json!(0)).check();
            assert_eq!(zero.is_ok(), zero_means_none || zero_means_at_once, "{key}: {zero:?}");
        }
    }

    #[test]
    fn rates_times_sessions_and_addresses() {
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e-9] {
            assert!(rate("limits.requests_per_second", Some(bad)).is_err(), "{bad}");
        }
        let refused = [
            with("server", "drain_timeout_seconds", &json!(i64::MAX)),
            with("server", "config_poll_seconds", &json!(3601)),
            with("server", "legacy_sessions", &json!({"sessions_max": 0})),
            with("server", "legacy_sessions", &json!({"idle_timeout_seconds": 0})),
            with("cache", "content_bytes_max", &json!(i64::MAX)),
            with("cache", "lines_bytes_max", &json!(i64::MAX)),
            with("cache", "index_bytes_max", &json!(i64::MAX)),
            with("cache", "idle_seconds", &json!(0)),
            with("telemetry", "listen", &json!("9464")),
            with("telemetry", "listen", &json!("localhost:port")),
        ];
        for config in refused {
            assert!(config.check().is_err(), "{config:?}");
        }
        for bytes in [json!(0), json!(MIB - 1), json!(i64::MAX)] {
            let error = with("audit", "file_bytes_max", &bytes).check().unwrap_err().to_string();
            assert!(error.starts_with("audit.file_bytes_max: "), "{error}");
        }
        with("audit", "file_bytes_max", &json!(MIB)).check().unwrap();
        for good in ["", "127.0.0.1:9464", "[::1]:0", "metrics.internal:9464"] {
            with("telemetry", "listen", &json!(good)).check().unwrap();
        }
    }
}

//! Another configuration while the server runs, on SIGHUP or when its files have changed.
//!
//! **Invariant**: a configuration is taken as a whole, or refused as a whole and changes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::manager;
use super::stamps::Stamps;
use crate::builder::Roothold;
use crate::call::Engine;
use crate::config::Config;
use crate::databases::Reloaded;
use crate::telemetry::ConfigurationRead;
use crate::{grants, plain};

/// The sections that can change while the server runs.
const CHANGEABLE: [&str; 2] = ["databases", "tools"];

/// Takes other configurations for a server that runs.
pub(crate) struct Reloader {
    engine: Arc<Engine>,
    /// The one in force. Held while another is taken, so that two do not mix.
    config: Mutex<Config>,
}

impl Roothold {
    pub(crate) fn reloader(&self) -> Reloader {
        Reloader { engine: Arc::clone(&self.engine), config: Mutex::new(self.config.clone()) }
    }
}

impl Reloader {
    /// Takes what `load` reads; `seen` is the configuration's file as it was just before. The files
    /// that a refused configuration names are among what it gives: one that is missing may come.
    fn read(
        &self,
        load: &impl Fn() -> anyhow::Result<Config>,
        seen: Stamps,
    ) -> (Stamps, Result<Reloaded, String>) {
        match load() {
            Ok(config) => (seen.with(&config), self.apply(config)),
            Err(error) => (seen, Err(why(&error, self.engine.walls.stand()))),
        }
    }

    /// Takes `config` in place of the one in force. It reads files; wants to be called inside of a
    /// runtime, off its async threads.
    ///
    /// # Errors
    /// Why not, in one sentence; then everything is as it was.
    pub(crate) fn apply(&self, config: Config) -> Result<Reloaded, String> {
        let mut in_force = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.check().map_err(|error| error.to_string())?;
        let changed = changed_for_good(&in_force, &config);
        if !changed.is_empty() {
            return Err(format!(
                "{} changed, which needs a restart; nothing was taken",
                changed.join(", ")
            ));
        }
        grants::check(&config, &self.engine.catalog).map_err(|error| error.to_string())?;
        let (databases, policy) = (&self.engine.databases, &self.engine.policy);
        let prepared = databases.prepare(&config.databases, policy)?;
        let sql_tools = &self.engine.sql_tools;
        let tools = sql_tools.prepare(&config, &self.engine.catalog, databases);
        let tools = tools.map_err(|error| error.to_string())?;
        tokio::runtime::Handle::current().block_on(databases.ask_new(&prepared));
        let reloaded = databases.take(prepared, policy);
        let differ = tools.differ
            || reloaded.made > 0
            || reloaded.closed > 0
            || in_force.databases != config.databases;
        sql_tools.take(tools);
        *in_force = config;
        drop(in_force);
        if differ {
            self.engine.hub.tool_list.changed();
        }
        Ok(reloaded)
    }
}

/// Why a configuration could not be read. A directory that was replaced as a whole is another one to
/// the wall, which is said only where that may be it.
fn why(error: &anyhow::Error, walls_stand: bool) -> String {
    let is_denied = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::PermissionDenied;
    let text = plain::sentence(error);
    if walls_stand && error.chain().any(|cause| cause.downcast_ref().is_some_and(is_denied)) {
        return format!(
            "{text}; let the server's user read it, or restart the server: Landlock keeps it from \
             directories that took the place of others since the start, and from what came to /"
        );
    }
    text
}

/// The sections that differ and cannot change while the server runs.
fn changed_for_good(before: &Config, after: &Config) -> Vec<String> {
    let sections = |config: &Config| match serde_json::to_value(config) {
        Ok(Value::Object(sections)) => sections,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (sections(before), sections(after));
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let for_good = |name: &&String| !CHANGEABLE.contains(&name.as_str());
    after.keys().filter(differs).filter(for_good).map(|name| format!("[{name}]")).collect()
}

/// What gives reason to read the configuration again.
pub(crate) struct Reasons {
    hangups: Option<Signal>,
    every: Duration,
}

impl Reasons {
    /// Changed files, which are looked at as often as the configuration says.
    pub(crate) fn files(config: &Config) -> Self {
        let every = Duration::from_secs(config.server.config_poll_seconds);
        Self { hangups: None, every }
    }

    /// SIGHUP besides, which would end the process otherwise. Wants a runtime.
    ///
    /// # Errors
    /// When the signal cannot be listened to.
    pub(crate) fn and_hangups(self) -> std::io::Result<Self> {
        Ok(Self { hangups: Some(signal(SignalKind::hangup())?), ..self })
    }

    async fn next(&mut self, seen: &Stamps) {
        let hangup = async {
            let came = match &mut self.hangups {
                Some(hangups) => hangups.recv().await,
                None => None,
            };
            // Without a signal that is listened to none comes.
            if came.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = hangup => {}
            () = seen.changed(self.every) => {}
        }
    }
}

/// Takes what `load` reads whenever there is a reason; `seen` are the files as they were before the
/// configuration in force was read from them. Runs until it is dropped.
pub(crate) async fn reload_for_ever(
    reloader: Reloader,
    load: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
    mut reasons: Reasons,
    mut seen: Stamps,
) {
    let (reloader, load) = (Arc::new(reloader), Arc::new(load));
    loop {
        reasons.next(&seen).await;
        manager::reloading().await;
        let before = seen.clone();
        if let Ok(now) = tokio::task::spawn_blocking(move || before.again()).await {
            seen = now;
        }
        let (reloading, load, now) = (Arc::clone(&reloader), Arc::clone(&load), seen.clone());
        let read = tokio::task::spawn_blocking(move || reloading.read(&*load, now));
        let result = match read.await {
            Ok((named, result)) => {
                seen = named;
                result
            }
            Err(error) => Err(error.to_string()),
        };
        let event = ConfigurationRead { result };
        event.emit(&reloader.engine.metrics);
        manager::reloaded(event.result.is_ok()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_cannot_be_read_is_said_once_and_landlock_named_only_where_it_may_be_why() {
        use crate::config::ConfigError;
        let of = |kind: std::io::ErrorKind| {
            let path = "roothold.toml".into();
            anyhow::Error::from(ConfigError::File { path, source: kind.into() })
        };
        let denied = of(std::io::ErrorKind::PermissionDenied);
        assert!(why(&denied, true).contains("Landlock"));
        for said in [why(&denied, false), why(&denied, true)] {
            assert_eq!(said.matches("permission denied").count(), 1, "{said}");
        }
        let content = ConfigError::Content { place: "line 2".into(), reason: "no such key".into() };
        for unrelated in [of(std::io::ErrorKind::NotFound), anyhow::Error::from(content)] {
            assert!(!why(&unrelated, true).contains("Landlock"), "{unrelated}");
        }
    }

    #[test]
    fn only_some_sections_can_change() {
        let of = |text: &str| toml::from_str::<Config>(text).unwrap();
        let database = "[[databases]]\nname = \"a\"\nkind = \"sqlite\"\npath = \"/a\"\n";
        assert!(changed_for_good(&of(""), &of(database)).is_empty());
        let more = of(&format!("{database}[limits]\ncalls_max = 3\n[[roots]]\npath = \"/x\"\n"));
        assert_eq!(changed_for_good(&of(""), &more), ["[limits]", "[roots]"]);
    }
}

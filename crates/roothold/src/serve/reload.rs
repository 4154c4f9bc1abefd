//! Another configuration while the server runs, on SIGHUP.
//!
//! **Invariant**: a configuration is taken as a whole, or refused as a whole and changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::builder::Roothold;
use crate::call::Engine;
use crate::config::Config;
use crate::databases::Reloaded;
use crate::grants;

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

/// Takes what `load` reads at each SIGHUP. Runs until it is dropped.
///
/// # Errors
/// When the signal cannot be listened to.
pub(crate) fn on_hangup(
    reloader: Reloader,
    load: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (reloader, load) = (Arc::new(reloader), Arc::new(load));
    Ok(async move {
        while hangup.recv().await.is_some() {
            let (reloader, load) = (Arc::clone(&reloader), Arc::clone(&load));
            let taken = tokio::task::spawn_blocking(move || {
                let config = load().map_err(|error| format!("{error:#}"))?;
                reloader.apply(config)
            });
            match taken.await {
                Ok(Ok(Reloaded { kept, made, closed })) => {
                    tracing::info!(kept, made, closed, "the configuration was read again");
                }
                Ok(Err(reason)) => {
                    tracing::error!(
                        reason,
                        "the configuration was not taken; the one before stays in force"
                    );
                }
                Err(error) => tracing::error!(%error, "the configuration could not be read again"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_sections_can_change() {
        let of = |text: &str| toml::from_str::<Config>(text).unwrap();
        let database = "[[databases]]\nname = \"a\"\nkind = \"sqlite\"\npath = \"/a\"\n";
        assert!(changed_for_good(&of(""), &of(database)).is_empty());
        let more = of(&format!("{database}[limits]\ncalls_max = 3\n[[roots]]\npath = \"/x\"\n"));
        assert_eq!(changed_for_good(&of(""), &more), ["[limits]", "[roots]"]);
    }
}

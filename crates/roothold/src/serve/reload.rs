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
use crate::config::{Config, RootSection};
use crate::databases::Reloaded;
use crate::rights::Rights;
use crate::telemetry::ConfigurationRead;
use crate::{grants, plain};

/// The sections that can change while the server runs.
const CHANGEABLE: [&str; 4] = ["policy", "principals", "databases", "tools"];

/// What a configuration that was taken came to.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The sections that are others than before.
    pub(crate) changed: Vec<String>,
    pub(crate) databases: Reloaded,
}

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
    ) -> (Stamps, Result<Taken, String>) {
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
    pub(crate) fn apply(&self, config: Config) -> Result<Taken, String> {
        let mut in_force = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.check().map_err(|error| error.to_string())?;
        let changed = changed(&in_force, &config);
        refuse_restart(&in_force, &config, &changed)?;
        let Engine { catalog, databases, rights, hub, .. } = &*self.engine;
        grants::check(&config, catalog).map_err(|error| error.to_string())?;
        let before = rights.now();
        let policy = before.policy.again(config.policy_spec(), &config.principal_specs());
        let policy = policy.map_err(|error| error.to_string())?;
        let prepared = databases.prepare(&config.databases, &policy)?;
        let sql_tools = before.sql_tools.again(&config, catalog, databases);
        let sql_tools = sql_tools.map_err(|error| error.to_string())?;
        tokio::runtime::Handle::current().block_on(databases.ask_new(&prepared));
        // From here on nothing fails. What is decided between the two asks no database: it is not the
        // one that was decided on.
        let (policy, databases) = databases.take(prepared, &policy);
        rights.take(Rights { policy, sql_tools });
        *in_force = config;
        drop(in_force);
        if !changed.is_empty() || databases.made > 0 || databases.closed > 0 {
            hub.rights_changed();
        }
        Ok(Taken { changed, databases })
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

/// Refuses what cannot change while the server runs.
///
/// # Errors
/// Why not, in one sentence.
fn refuse_restart(before: &Config, after: &Config, changed: &[String]) -> Result<(), String> {
    let for_good = |name: &&String| !CHANGEABLE.contains(&name.as_str());
    let for_good: Vec<_> =
        changed.iter().filter(for_good).map(|name| format!("[{name}]")).collect();
    if !for_good.is_empty() {
        let sections = for_good.join(", ");
        return Err(format!("{sections} changed, which needs a restart; nothing was taken"));
    }
    // A file that lost its end must not give everything to everyone.
    if after.principals.is_empty() && !before.principals.is_empty() {
        return Err(
            "[[principals]] has no entry any more, so that everyone would have the whole policy, \
                    which needs a restart; give `*` an entry instead; nothing was taken"
                .to_owned(),
        );
    }
    let opened_so = |root: &RootSection| root.hardlinks.is_none();
    if after.has_several_users() != before.has_several_users() && after.roots.iter().any(opened_so)
    {
        return Err("with the first of [[principals]] the roots whose `hardlinks` is not set serve no file of \
                    several names any more, which needs a restart; nothing was taken"
            .to_owned());
    }
    Ok(())
}

/// The sections that differ.
fn changed(before: &Config, after: &Config) -> Vec<String> {
    let sections = |config: &Config| match serde_json::to_value(config) {
        Ok(Value::Object(sections)) => sections,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (sections(before), sections(after));
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    after.keys().filter(differs).cloned().collect()
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
        let refused = |before: &str, after: &str| {
            let (before, after) = (of(before), of(after));
            refuse_restart(&before, &after, &changed(&before, &after)).err()
        };
        let database = "[[databases]]\nname = \"a\"\nkind = \"sqlite\"\npath = \"/a\"\n";
        let some = format!("{database}[policy]\nread = []\n[[principals]]\nname = \"anna\"\n");
        assert_eq!(changed(&of(""), &of(&some)), ["databases", "policy", "principals"]);
        assert_eq!(refused("", &some), None);
        assert_eq!(refused(&some, &some.replace("anna", "ben")), None);
        let more = format!("{database}[limits]\ncalls_max = 3\n[[roots]]\npath = \"/x\"\n");
        let said = refused("", &more).unwrap();
        assert!(said.starts_with("[limits], [roots] changed, which needs a restart"), "{said}");
    }

    #[test]
    fn the_first_principal_comes_where_roots_stay_as_opened_and_the_last_does_not_go() {
        let of = |more: &str| toml::from_str::<Config>(more).unwrap();
        let refused = |before: &str, after: &str| {
            refuse_restart(&of(before), &of(after), &["principals".to_owned()]).err()
        };
        let (anna, everyone) =
            ("[[principals]]\nname = \"anna\"\n", "[[principals]]\nname = \"*\"\n");
        let root = "[[roots]]\npath = \"/x\"\n";
        let set = format!("{root}hardlinks = \"deny\"\n");
        let known = format!("{root}[auth]\nkeys_file = \"/keys\"\n");
        assert!(refused(root, &format!("{root}{anna}")).unwrap().contains("hardlinks"));
        for roots in ["", &set, &known] {
            let (none, some) = (roots.to_owned(), format!("{roots}{anna}"));
            assert_eq!(refused(&none, &some), None, "{roots}");
            assert!(refused(&some, &none).unwrap().contains("no entry any more"), "{roots}");
            assert_eq!(refused(&some, &format!("{roots}{everyone}")), None, "{roots}");
        }
    }
}

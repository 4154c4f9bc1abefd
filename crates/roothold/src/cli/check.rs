//! `roothold check`.

mod databases;
mod tools;

use std::fmt::Write as _;

use clap::Args;
use roothold_core::wall::Reach;
use roothold_core::{Access, Policy};

use super::{ConfigArgs, disk, print, say};
#[cfg(feature = "datasets")]
use crate::builder::refuse_spill;
use crate::builder::{Builder, open_policy};
use crate::config::Config;
use crate::databases::Databases;
#[cfg(feature = "datasets")]
use crate::datasets::{Datasets, Known};
use crate::jobs::{Jobs, Place};
use crate::tools::SqlTools;
use crate::walls::{self, Walls};
use crate::{grants, serve, telemetry};

/// Says what is wrong with a configuration, or prints what is in force.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the whole configuration with its defaults, as TOML.
    #[arg(long)]
    full: bool,
}

const EXAMPLES: &str = "Exit code: 0 it is good, 1 it cannot be served, 2 it cannot be read.

Examples:
  roothold check --config roothold.toml
  roothold check --config roothold.toml --full";

impl Check {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let config = self.config.load(&[], false, Vec::new())?;
        match effective(&config, &builder()) {
            Ok(Effective { text, databases, tools_work }) => {
                print(&text);
                if self.full {
                    print(&toml::to_string(&without_secrets(config))?);
                }
                if !databases.required_are_whole() {
                    say("roothold: a database that is required cannot be used; above stands why");
                    return Ok(1);
                }
                if !tools_work {
                    say("roothold: a tool cannot be used; above stands why");
                    return Ok(1);
                }
            }
            Err(error) => {
                say(&format!("roothold: {}", super::sentence(&error)));
                return Ok(1);
            }
        }
        Ok(0)
    }
}

/// The configuration with its secrets taken out; a variable's name is none.
fn without_secrets(mut config: Config) -> Config {
    for key in &mut config.handles.keys {
        if let Some((kid, secret)) = key.split_once(':')
            && !secret.starts_with("${")
        {
            *key = format!("{kid}:(hidden)");
        }
    }
    if let Some(postgres) = &mut config.state.postgres
        && !postgres.starts_with("${")
    {
        "(hidden)".clone_into(postgres);
    }
    for value in config.telemetry.otlp_headers.values_mut() {
        if !value.starts_with("${") {
            "(hidden)".clone_into(value);
        }
    }
    config
}

/// What would hold the server: tried out, without making anything.
fn walls(
    config: &Config,
    policy: &Policy,
    jobs: Option<&Jobs>,
    databases: &Databases,
) -> anyhow::Result<Walls> {
    let audit = config.audit_dir()?;
    let audit = disk::is_there(&audit).then_some(audit);
    let private = serve::private_addresses(&config.telemetry.listen)?;
    let place = jobs.map(Jobs::place).filter(|place| place.directory().is_none_or(disk::is_there));
    let reach = walls::reach(config, audit.as_deref(), &private)?
        .and(place.map(Place::reach).transpose()?.unwrap_or_default());
    let reach = stores_reach(config, reach)?;
    let spill = config.spill_dir().ok().filter(|dir| disk::is_there(dir));
    let reach = spill.into_iter().fold(reach, Reach::write);
    let reach = reach.and(databases.reach());
    Ok(walls::try_out(config, policy.roots(), &reach)?)
}

/// With what stores over the network need.
#[cfg(feature = "datasets")]
fn stores_reach(config: &Config, reach: Reach) -> anyhow::Result<Reach> {
    Ok(reach.and(Datasets::new(config, &Known::default())?.stores_reach()))
}

#[cfg(not(feature = "datasets"))]
#[expect(clippy::unnecessary_wraps, reason = "as the one that can fail")]
fn stores_reach(_: &Config, reach: Reach) -> anyhow::Result<Reach> {
    Ok(reach)
}

/// The datasets that have names, in words.
#[cfg(feature = "datasets")]
fn datasets(config: &Config, policy: &Policy) -> anyhow::Result<String> {
    let datasets = Datasets::new(config, &Known::default())?;
    datasets.check_places(policy.roots())?;
    refuse_spill(policy, &datasets)?;
    let mut text = String::new();
    for store in &config.stores {
        let who = store.principals.as_ref().map_or("all".to_owned(), |names| names.join(", "));
        let has = store.credentials.is_some() || store.credentials_file.is_some();
        let how = if has { "with credentials" } else { "as anybody" };
        let _ = writeln!(text, "store {}\n  {how}; principals: {who}", store.url);
    }
    for dataset in datasets.known().all() {
        let hidden = match dataset.hidden() {
            [] => String::new(),
            columns => format!("; hidden columns: {}", columns.join(", ")),
        };
        let _ = writeln!(text, "dataset {}\n  {}{hidden}", dataset.name, dataset.files.join("  "));
    }
    Ok(text)
}

#[cfg(not(feature = "datasets"))]
#[expect(clippy::unnecessary_wraps, reason = "as the one that can fail")]
fn datasets(_: &Config, _: &Policy) -> anyhow::Result<String> {
    Ok(String::new())
}

/// What is in force.
struct Effective {
    text: String,
    databases: Databases,
    /// Whether every tool that is made of SQL can be used, as far as its database could be asked.
    tools_work: bool,
}

/// The effective policy in words.
fn effective(config: &Config, builder: &Builder) -> anyhow::Result<Effective> {
    let policy = open_policy(config)?;
    grants::check(config, builder.catalog())?;
    serve::check(config)?;
    telemetry::check_filter(&config.telemetry.log)?;
    config.sealer()?;
    config.telemetry.collector()?;
    let jobs = Jobs::new(config, builder.catalog())?;
    let mut text = String::from("The configuration is good.\n\nroots\n");
    for root in policy.roots().iter() {
        let access = if root.access() == Access::ReadWrite { "rw" } else { "ro" };
        let _ = writeln!(text, "  {access} {} ({})", root.uri(), root.name());
    }
    if policy.roots().iter().next().is_none() {
        text.push_str("  none\n");
    }
    let spec = policy.spec();
    for (name, patterns) in
        [("read", &spec.read), ("write", &spec.write), ("exclude", &spec.exclude)]
    {
        let _ = writeln!(
            text,
            "{name}\n  {}",
            if patterns.is_empty() { "nothing".to_owned() } else { patterns.join("  ") }
        );
    }
    let who = match (config.auth.keys_file.is_some(), config.auth.jwt.is_some()) {
        (true, true) => "API keys and JWT bearer tokens",
        (true, false) => "API keys",
        (false, true) => "JWT bearer tokens",
        (false, false) => "nothing: whoever reaches the address has all of the above",
    };
    let _ = writeln!(text, "authentication\n  {who}");
    for principal in &config.principals {
        let list = |what: &Option<Vec<String>>| {
            what.as_ref().map_or("all".to_owned(), |list| list.join(", "))
        };
        let _ = writeln!(
            text,
            "principal {}\n  scopes: {}; roots: {}; tools: {}",
            principal.name,
            list(&principal.scopes),
            list(&principal.roots),
            list(&principal.tools)
        );
    }
    text.push_str(&datasets(config, &policy)?);
    let databases = Databases::default();
    databases.set(&config.databases, &policy)?;
    let sql_tools = SqlTools::default();
    sql_tools.prepare(config, builder.catalog(), &databases)?;
    let (described, tools_work) = databases::describe_all(&databases, &config.tools)?;
    text.push_str(&described);
    if let Some(endpoint) = &config.telemetry.otlp_endpoint {
        let ratio = config.telemetry.sample_ratio;
        let _ = writeln!(text, "traces\n  {endpoint}; of those that begin here {ratio}");
    }
    let _ = write!(
        text,
        "listen\n  {}\naudit\n  {}\n{}walls\n  {}",
        config.server.listen,
        config.audit_dir()?.display(),
        jobs.as_ref().map_or(String::new(), |jobs| format!("state\n  {}\n", jobs.place())),
        walls(config, &policy, jobs.as_ref(), &databases)?.lines().join("\n  "),
    );
    Ok(Effective { text, databases, tools_work })
}

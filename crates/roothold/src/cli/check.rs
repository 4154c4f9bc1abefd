//! `roothold check`.

mod databases;
mod tools;

use std::fmt::Write as _;

use clap::Args;
use roothold_core::{Access, Policy};

use super::{ConfigArgs, print, say};
use crate::builder::Builder;
use crate::config::Config;
use crate::databases::Databases;
use crate::plan::Plan;
use crate::{serve, telemetry, walls};

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
        match effective(&config, builder()) {
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

/// The datasets that have names, in words.
#[cfg(feature = "datasets")]
fn datasets(config: &Config, plan: &Plan) -> String {
    let mut text = String::new();
    for store in &config.stores {
        let who = store.principals.as_ref().map_or("all".to_owned(), |names| names.join(", "));
        let has = store.credentials.is_some() || store.credentials_file.is_some();
        let how = if has { "with credentials" } else { "as anybody" };
        let _ = writeln!(text, "store {}\n  {how}; principals: {who}", store.url);
    }
    for dataset in plan.datasets.known().all() {
        let hidden = match dataset.hidden() {
            [] => String::new(),
            columns => format!("; hidden columns: {}", columns.join(", ")),
        };
        let _ = writeln!(text, "dataset {}\n  {}{hidden}", dataset.name, dataset.files.join("  "));
    }
    text
}

#[cfg(not(feature = "datasets"))]
fn datasets(_: &Config, _: &Plan) -> String {
    String::new()
}

/// What a start finds out once it has a runtime, as far as it can be found out beside a server that runs.
fn look(plan: &Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        plan.traces.look().map_err(anyhow::Error::msg)?;
        let Some(jobs) = &plan.jobs else { return Ok(()) };
        jobs.look().await.map_err(anyhow::Error::msg)
    })
}

/// What is in force.
struct Effective {
    text: String,
    databases: Databases,
    /// Whether every tool that is made of SQL can be used, as far as its database could be asked.
    tools_work: bool,
}

/// The effective policy in words.
fn effective(config: &Config, builder: Builder) -> anyhow::Result<Effective> {
    telemetry::check_filter(&config.telemetry.log)?;
    let plan = builder.config(config.clone()).plan()?;
    serve::check(config)?;
    serve::could_listen(config)?;
    look(&plan)?;
    let mut text = String::from("The configuration is good.\n\n");
    for warning in serve::warnings(config) {
        let _ = writeln!(text, "warning\n  {warning}\n");
    }
    describe_policy(&mut text, &plan.policy);
    describe_callers(&mut text, config);
    text.push_str(&datasets(config, &plan));
    let (described, tools_work) = databases::describe_all(&plan.databases, &config.tools)?;
    text.push_str(&described);
    if let Some(endpoint) = &config.telemetry.otlp_endpoint {
        let ratio = config.telemetry.sample_ratio;
        let _ = writeln!(text, "traces\n  {endpoint}; of those that begin here {ratio}");
    }
    let walls = walls::try_out(config, plan.policy.roots(), &plan.reach(config)?)?;
    let state = plan.jobs.as_ref();
    let _ = write!(
        text,
        "listen\n  {}\naudit\n  {}\n{}walls\n  {}",
        config.server.listen,
        plan.audit_dir.display(),
        state.map_or(String::new(), |jobs| format!("state\n  {}\n", jobs.place())),
        walls.lines().join("\n  "),
    );
    text.push_str(whose_eyes(rustix::process::geteuid().is_root()));
    Ok(Effective { text, databases: plan.databases, tools_work })
}

/// With whose rights it was found out, where a service hardly has them.
fn whose_eyes(root: bool) -> &'static str {
    if !root {
        return "";
    }
    "\nchecked as\n  root, who may open what another user may not; for a service run it as the service's user: \
     `setpriv --reuid=roothold --regid=roothold --init-groups roothold check …`"
}

/// The roots, and what may be done in them.
fn describe_policy(text: &mut String, policy: &Policy) {
    text.push_str("roots\n");
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
        let all = if patterns.is_empty() { "nothing".to_owned() } else { patterns.join("  ") };
        let _ = writeln!(text, "{name}\n  {all}");
    }
}

/// How callers prove who they are, and what each is granted.
fn describe_callers(text: &mut String, config: &Config) {
    let who = match (config.auth.keys_file.is_some(), config.auth.jwt.is_some()) {
        (true, true) => "API keys and JWT bearer tokens",
        (true, false) => "API keys",
        (false, true) => "JWT bearer tokens",
        (false, false) => "nothing: whoever reaches the address is let in",
    };
    let _ = writeln!(text, "authentication\n  {who}");
    if config.principals.is_empty() {
        text.push_str("principals\n  none: whoever is let in has all of the above\n");
    }
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
}

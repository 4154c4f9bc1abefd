//! `roothold explain`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use roothold_core::{
    Access, Action, Actions, Budget, Fault, FaultKind, FilePath, Permit, Policy, Principal, Scopes,
    Verb, files,
};

use super::{ConfigArgs, print};
use crate::builder::Builder;
use crate::config::Config;
use crate::plan::open_policy;

/// Says whether a principal may do something to a path, and which rule says so.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The TOML configuration file.
    #[arg(long, short, value_name = "FILE", env = "ROOTHOLD_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Whose right is asked for. Without principals in the configuration: everyone's.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// The scopes of the credential, separated by spaces. Default: all.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// The tool that would be used. Default: the usual one for the verb, if there is one.
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// With DIR: ask as if the directories were served with `--write`.
    #[arg(long, requires = "directories")]
    write: bool,
    /// What would be done.
    #[arg(value_name = "VERB")]
    verb: Word,
    /// The public path or file:// URI, as a caller would write it.
    #[arg(value_name = "PATH")]
    path: String,
    /// Directories that would be served, instead of the configured roots.
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
}

const EXAMPLES: &str = "Exit code: 0 allowed, 1 denied, 2 wrong command line or configuration.

Examples:
  roothold explain --config roothold.toml read /workspace/mcp-demo/src/main.rs
  roothold explain --config roothold.toml --principal ci --scopes files:read write /workspace/a.md
  roothold explain read .env ~/projects";

/// What can be asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// List a directory.
    List,
    /// Learn size and times.
    Stat,
    /// Read a file.
    Read,
    /// Create, replace or change a file or directory.
    Write,
}

impl Word {
    fn verb(self) -> Verb {
        match self {
            Self::List => Verb::List,
            Self::Stat => Verb::Stat,
            Self::Read => Verb::Read,
            Self::Write => Verb::Write,
        }
    }

    /// The tool that most would use for it; a server need not have it.
    fn usual_tool(self) -> &'static str {
        match self {
            Self::List => "list_directory",
            Self::Stat => "get_file_info",
            Self::Read => "read_text_file",
            Self::Write => "write_file",
        }
    }
}

/// Looking at one entry takes no time; a dead network mount must not hang the command for long.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
const LISTED_BYTES_MAX: usize = 64 * 1024 * 1024;
const LISTED_ENTRIES_MAX: usize = 1_000_000;

impl Explain {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let source = ConfigArgs { config: self.config.clone(), ..ConfigArgs::default() };
        let config = source.load(&self.directories, self.write, Vec::new())?;
        if config.roots.is_empty() {
            bail!("there are no roots; give a --config with [[roots]], or a DIR after the path");
        }
        let policy = open_policy(&config)?;
        let principal = self.asking(&config)?;
        let tool = self.tool(&builder())?;
        let path = FilePath::parse(&self.path).map_err(|fault| anyhow!("{}", fault.public()))?;
        // Without a tool the question is about the path alone: whatever tool is granted may ask.
        let asking = tool.unwrap_or_else(|| granted_tool(&config, &principal));
        let answer = explain(&policy, &principal, asking, self.verb.verb(), &path);
        let place = root_of(&policy, &principal, &path);
        let with = tool.map_or_else(
            || "; this server has no tool that does".to_owned(),
            |tool| format!(" with {tool}"),
        );
        let who = format!("{} may {} it{with}", principal.name(), self.verb.verb().name());
        let (word, code) = if answer.allowed { ("allowed", 0) } else { ("denied", 1) };
        print(&format!(
            "{word}  {path}\nroot    {place}\nrule    {}\nasked   whether {who}\nnote    {}",
            answer.rule, answer.note
        ));
        Ok(code)
    }

    /// The tool that is asked about, if this server has one.
    fn tool(&self, builder: &Builder) -> anyhow::Result<Option<&str>> {
        let catalog = builder.catalog();
        let Some(tool) = &self.tool else {
            let usual = self.verb.usual_tool();
            return Ok(catalog.get(usual).map(|_| usual));
        };
        if catalog.get(tool).is_none() {
            let names: Vec<_> = catalog.iter().map(|entry| entry.tool.name()).collect();
            bail!("there is no tool `{tool}`; there are {}", names.join(", "));
        }
        Ok(Some(tool))
    }

    fn asking(&self, config: &Config) -> anyhow::Result<Principal> {
        let scopes = self.scopes.as_deref().map_or(Scopes::All, Scopes::parse);
        match &self.principal {
            Some(name) => Ok(Principal::new(name.as_str(), scopes)),
            None if !config.principals.is_empty() => {
                bail!(
                    "the configuration has principals, whose rights differ; name one with --principal"
                )
            }
            None if config.authenticates() => Ok(Principal::new("everyone", scopes)),
            None => Ok(Principal::new(Principal::local().name(), scopes)),
        }
    }
}

/// A tool that the configuration grants the principal, or none by name where all are granted.
fn granted_tool<'a>(config: &'a Config, principal: &Principal) -> &'a str {
    let entry = |name: &str| config.principals.iter().find(|entry| entry.name == name);
    let entry = entry(principal.name()).or_else(|| entry("*"));
    let tools = entry.and_then(|entry| entry.tools.as_deref()).unwrap_or_default();
    tools.first().map_or("", String::as_str)
}

#[derive(Debug)]
struct Explained {
    allowed: bool,
    rule: String,
    note: String,
}

fn explain(
    policy: &Policy,
    principal: &Principal,
    tool: &str,
    verb: Verb,
    path: &FilePath,
) -> Explained {
    let actions = Actions::one(Action::file(verb, path.clone()));
    let permits = policy.decide(principal, tool, &actions);
    let looked = permits.and_then(|permits| match permits.first() {
        Some(permit) => look(permit),
        None => Err(Fault::internal("a decision without a permit")),
    });
    let allowed = |note: String| {
        let rule = match verb {
            Verb::Write => "write patterns cover it, the root is rw, and no exclude does",
            Verb::Read => "read patterns cover it, and no exclude does",
            _ => "no exclude covers it",
        };
        Explained { allowed: true, rule: rule.to_owned(), note }
    };
    match looked {
        Ok(note) => allowed(note),
        Err(fault) if fault.kind() == FaultKind::NotFound => {
            allowed("there is nothing at that path now".to_owned())
        }
        Err(fault) => {
            let rule =
                fault.rule().map_or_else(|| fault.kind().code().to_owned(), ToString::to_string);
            // The text of a denial begins with its rule, which stands in a line of its own.
            let public = fault.public();
            let note = public.strip_prefix(&format!("rule {rule}: ")).unwrap_or(public);
            Explained { allowed: false, note: note.to_owned(), rule }
        }
    }
}

/// What the disk says: links, hard links, kinds and modes are decided on what is opened.
fn look(permit: &Permit) -> Result<String, Fault> {
    let budget = Budget::new(LISTED_BYTES_MAX, LISTED_ENTRIES_MAX, LOOK_TIMEOUT);
    match permit.verb() {
        Verb::List => {
            let entries = files::list(permit, &budget)?.after(None).count();
            Ok(format!("the directory is there, with {entries} entries that callers see"))
        }
        Verb::Read => match files::read_whole(permit, 0, "", &budget) {
            Ok(_) => Ok("the file is there, and empty".to_owned()),
            // Any content is more than the limit of nothing: it was opened, and not read.
            Err(fault) if fault.kind() == FaultKind::Limit => Ok("the file is there".to_owned()),
            Err(fault) => Err(fault),
        },
        Verb::Stat | Verb::Search | Verb::Write | Verb::Use => {
            let info = files::info(permit, &budget)?;
            Ok(format!(
                "it is there, with {} bytes, as /{}",
                info.size,
                info.path.trim_start_matches('/')
            ))
        }
    }
}

fn root_of(policy: &Policy, principal: &Principal, path: &FilePath) -> String {
    let mut usable = policy.roots_of(principal);
    let below = |public: &[u8]| {
        let asked = path.as_bytes();
        let asked = asked.strip_prefix(b"/").unwrap_or(asked);
        asked
            .strip_prefix(public)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || public.is_empty())
    };
    let found = if path.is_absolute() {
        usable.find(|root| below(root.public()))
    } else {
        let only = usable.next();
        only.filter(|_| usable.next().is_none())
    };
    found.map_or_else(
        || "none that the principal may use".to_owned(),
        |root| {
            let access = if root.access() == Access::ReadWrite { "rw" } else { "ro" };
            format!("{} ({}, {access})", root.uri(), root.name())
        },
    )
}

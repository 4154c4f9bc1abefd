//! The command line: one file a command.
//!
//! Exit codes: 0 done; 1 the command ran and the answer is no (a check that failed, a log that
//! is broken, a call that was refused); 2 the command line or the configuration is wrong; 75 a server
//! cannot start now, and may later with nothing changed.

mod audit;
mod call;
mod check;
mod completions;
mod demo;
mod disk;
mod explain;
mod healthcheck;
mod install;
mod jobs;
mod keys;
mod process;
#[cfg(test)]
mod reference;
mod serve;
mod stdio;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::builder::{Builder, Roothold};
use crate::config::{self, Config, Source};
use crate::passing;
use crate::plain::sentence;
use crate::telemetry::{self, LogFormat};

/// A scoped, audited and measured MCP server for your files.
#[derive(Debug, Parser)]
#[command(name = "roothold", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  roothold demo --listen 127.0.0.1:8000     make a small workspace and serve it
  roothold stdio ~/projects                 serve a directory to one local client, read-only
  roothold serve --config roothold.toml     serve over HTTP, as configured
  roothold call listRoots                   call a tool of the server that runs here
  roothold process orders.csv               profile a file of any size

Exit code: 0 done, 1 the answer is no, 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a small workspace, serves it, and prints how to call it.
    Demo(demo::Demo),
    /// Serves over HTTP until SIGTERM.
    Serve(serve::Serve),
    /// Serves one local client over stdin and stdout.
    Stdio(stdio::Stdio),
    /// Says what is wrong with a configuration, or prints what is in force.
    Check(check::Check),
    /// Calls one tool of a server, and prints the answer.
    Call(call::Call),
    /// Says whether a principal may do something to a path, and which rule says so.
    Explain(explain::Explain),
    /// Prints the entry for a client, or writes it into the client's configuration.
    Install(install::Install),
    /// Makes, lists and revokes API keys.
    Keys(keys::Keys),
    /// Works through a file of any size: profile, aggregate, search, validate, sample, convert, SQL.
    Process(Box<process::Process>),
    /// Lists, shows and cancels the jobs of all owners.
    Jobs(jobs::Jobs),
    /// Checks and shows the audit log.
    Audit(audit::Audit),
    /// Asks a server whether it is alive, in one line and by exit code.
    Healthcheck(healthcheck::Healthcheck),
    /// Prints a completion script for a shell.
    Completions(completions::Completions),
}

/// Which configuration, and what stands over it.
#[derive(Debug, Clone, Default, Args)]
struct ConfigArgs {
    /// The TOML configuration file.
    #[arg(long, short, value_name = "FILE", env = "ROOTHOLD_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The directory of the audit log.
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
    /// The log filter, such as `info` or `roothold=debug`.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// The form of the log lines.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl ConfigArgs {
    /// The configuration of file, environment and flags, with `directories` as roots if there are any.
    fn load(
        &self,
        directories: &[PathBuf],
        write: bool,
        more: Vec<(&str, Value)>,
    ) -> anyhow::Result<Config> {
        let mut overrides: Vec<(String, Value)> =
            more.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut flag = |key: &str, value: Option<Value>| {
            overrides.extend(value.map(|value| (key.to_owned(), value)));
        };
        let text = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
        // Flags name paths relative to where the command runs, not to the file.
        let here = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        flag("audit.dir", self.audit_dir.as_ref().map(|dir| text(&here(dir))));
        flag("telemetry.log", self.log.clone().map(Value::String));
        flag(
            "telemetry.log_format",
            self.log_format.map(|format| Value::String(format!("{format:?}").to_lowercase())),
        );
        let mut config = config::load(&Source { file: self.config.clone(), overrides })?;
        if !directories.is_empty() {
            config.set_directories(directories, write);
        }
        Ok(config)
    }
}

/// What `sysexits.h` calls a failure that may pass: a service manager should start the server again.
const EX_TEMPFAIL: u8 = 75;

/// Runs the command line of this process with the built-in tools, and returns its exit code.
pub fn run() -> u8 {
    run_with(Roothold::builder)
}

/// Runs the same command line over a server with tools of your own.
///
/// `builder` is called for each server that a command makes.
pub fn run_with(builder: fn() -> Builder) -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream is theirs.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let serves = matches!(cli.command, Command::Serve(_));
    let result = match cli.command {
        Command::Serve(command) => command.run(builder),
        Command::Stdio(command) => command.run(builder),
        Command::Check(command) => command.run(builder),
        Command::Demo(command) => command.run(builder),
        Command::Call(command) => command.run(builder),
        Command::Explain(command) => command.run(builder),
        Command::Install(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Process(command) => command.run(builder),
        Command::Jobs(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Healthcheck(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say(&format!("roothold: {}", sentence(&error)));
            if serves && passing::may_pass(&error) { EX_TEMPFAIL } else { 2 }
        }
    }
}

/// A line for the person at the terminal, who may have gone.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A command's result, which goes to stdout here and nowhere else. A reader that went away, such
/// as `head`, is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// How long a thread for what blocks waits for more of it.
const BLOCKING_IDLE_MAX: Duration = Duration::from_secs(1);

/// What a server's runtime is made from, once the process is confined: how many processors it has
/// stands in files that are out of reach then.
fn runtime(config: &Config, mut builder: tokio::runtime::Builder) -> tokio::runtime::Builder {
    builder.enable_all().max_blocking_threads(config.limits.blocking_threads_max.max(1));
    // A thread that has nothing to do keeps the memory that it has freed.
    builder.thread_keep_alive(BLOCKING_IDLE_MAX);
    if let Ok(processors) = std::thread::available_parallelism() {
        builder.worker_threads(processors.get());
    }
    builder
}

fn start_logs(config: &Config) -> anyhow::Result<()> {
    telemetry::init_logs(config.telemetry.log_format, &config.telemetry.log)
}

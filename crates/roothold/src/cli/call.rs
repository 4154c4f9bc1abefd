//! `roothold call`: one call of one tool, as any client would make it.

pub(super) mod arguments;
mod headers;
pub(super) mod http;
mod pipe;
mod session;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};

use super::{ConfigArgs, disk, print, say};
use crate::builder::Builder;
use session::{Refused, Session};

/// Calls one tool of a server, and prints the answer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(super) struct Call {
    /// The tool.
    #[arg(value_name = "TOOL")]
    tool: String,
    /// The arguments, typed by the tool's schema; repeat a key, or write JSON, for a list.
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// The arguments as one JSON object, or `-` to read it from stdin; KEY=VALUE wins over it.
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// A server's URL; without a path, `/mcp` is meant. [default: http://127.0.0.1:8000/mcp]
    #[arg(long, short, value_name = "URL", group = "server")]
    url: Option<String>,
    /// Serve a directory in this process instead of calling a server, read-only without `--write`; can be repeated.
    #[arg(long, short, value_name = "DIR", group = "server")]
    dir: Vec<PathBuf>,
    /// Serve a configuration in this process instead of calling a server.
    #[arg(long, short, value_name = "FILE", group = "server")]
    config: Option<PathBuf>,
    /// With --dir: let the call change files.
    #[arg(long, requires = "dir")]
    write: bool,
    /// A file with the bearer token or API key; else the variable ROOTHOLD_TOKEN is used.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "config", "command"])]
    token_file: Option<PathBuf>,
    /// Send the token over http:// to another machine, where others on the way can read it.
    #[arg(long, conflicts_with_all = ["dir", "config", "command"])]
    allow_plain_http: bool,
    /// How long to wait for the answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Print the whole result as JSON.
    #[arg(long)]
    raw: bool,
    /// A server to start and call over its stdin and stdout.
    #[arg(last = true, value_name = "COMMAND", group = "server")]
    command: Vec<String>,
}

const USAGE: &str = "roothold call [OPTIONS] TOOL [KEY=VALUE]... [-- COMMAND...]";

const EXAMPLES: &str =
    "Exit code: 0 answered, 1 the tool or the server refused, 2 wrong command line or no server.

Examples:
  roothold call listRoots
  roothold call --url https://mcp.example.com/mcp --token-file key list_directory path=/workspace
  roothold call --dir . search_files path=. pattern='**/*.rs'
  roothold call --json '{\"path\":\"/workspace/a.md\",\"head\":10}' read_text_file
  roothold call read_multiple_files paths=/a.md paths=/b.md -- npx some-other-server /";

/// The environment's bearer token.
const TOKEN_VARIABLE: &str = "ROOTHOLD_TOKEN";
const TOKEN_BYTES_MAX: u64 = 16 * 1024;
const DEFAULT_URL: &str = "http://127.0.0.1:8000/mcp";
/// How long a server on this machine may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait that can be asked for.
const TIMEOUT_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Calls a tool of a server on this machine, and returns the text of its answer.
pub(super) fn without_arguments(url: &str, tool: &str) -> anyhow::Result<String> {
    let http = http::Http::new(url, None, CALL_TIMEOUT);
    let mut session = Session::newest(Box::new(http))?;
    let schema = session.input_schema(tool)?;
    let progress = show::Progress::start();
    let result = session.call_tool(tool, Map::new(), &schema, &progress)?;
    Ok(show::text(&result))
}

impl Call {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        ensure!(
            (1..=TIMEOUT_SECONDS_MAX).contains(&self.timeout),
            "--timeout must be from 1 to {TIMEOUT_SECONDS_MAX} seconds"
        );
        match self.call(builder) {
            Ok(result) => Ok(show::answer(&result, self.raw)),
            Err(error) if error.is::<Refused>() => {
                say(&format!("roothold: {}", super::sentence(&error)));
                Ok(1)
            }
            Err(error) => Err(error),
        }
    }

    fn call(&self, builder: fn() -> Builder) -> anyhow::Result<Value> {
        let given = self.given()?;
        let mut session = self.connect(builder)?;
        let schema = session.input_schema(&self.tool)?;
        let arguments = arguments::merge(&schema, given, &self.pairs)?;
        let progress = show::Progress::start();
        session.call_tool(&self.tool, arguments, &schema, &progress)
    }

    fn given(&self) -> anyhow::Result<Map<String, Value>> {
        let text = match self.json.as_deref() {
            None => return Ok(Map::new()),
            Some("-") => std::io::read_to_string(std::io::stdin()).context("reading stdin")?,
            Some(text) => text.to_owned(),
        };
        serde_json::from_str(&text).context("--json is not one JSON object")
    }

    fn connect(&self, builder: fn() -> Builder) -> anyhow::Result<Session> {
        let timeout = Duration::from_secs(self.timeout);
        if let [program, arguments @ ..] = &self.command[..] {
            let pipe = pipe::Pipe::start(program, arguments, timeout)?;
            return Session::older(Box::new(pipe));
        }
        if self.config.is_some() || !self.dir.is_empty() {
            let source = ConfigArgs { config: self.config.clone(), ..ConfigArgs::default() };
            let config = source.load(&self.dir, self.write, Vec::new())?;
            let pipe = pipe::Pipe::within(builder().config(config).build()?, timeout)?;
            return Session::older(Box::new(pipe));
        }
        let url = http::endpoint(self.url.as_deref().unwrap_or(DEFAULT_URL))?;
        let token = self.token()?;
        if token.is_some() && !self.allow_plain_http && http::is_exposed(&url) {
            bail!(
                "the token would cross the network in the clear; use https://, or say --allow-plain-http"
            );
        }
        Session::newest(Box::new(http::Http::new(&url, token, timeout)))
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let token = match &self.token_file {
            Some(path) => Some(disk::read(path, TOKEN_BYTES_MAX)?),
            None => disk::variable(TOKEN_VARIABLE),
        };
        let token = token.map(|token| token.trim().to_owned());
        let is_sound = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            token.as_ref().is_none_or(is_sound),
            "the token holds characters that no token has"
        );
        Ok(token.filter(|token| !token.is_empty()))
    }
}

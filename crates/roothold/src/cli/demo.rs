//! `roothold demo`.

mod files;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use roothold_core::wall::Reach;
use toml::Value;

use super::{ConfigArgs, call, disk, print, say, serve, start_logs};
use crate::builder::Builder;
use crate::serve::Stamps;

/// Makes a small workspace, serves it, and prints how to call it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// The address to listen on. One that is not loopback needs `--unauthenticated on-the-network`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Where the workspace is made; a demo that is there already is used as it is. Default: a new directory in the user's cache.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The words that let callers in who prove nothing, on an address that is not loopback.
    #[arg(long, value_name = "WORDS")]
    unauthenticated: Option<Words>,
}

/// The words that must be said.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Words {
    /// Whoever reaches the address can read and write the demo.
    OnTheNetwork,
}

const EXAMPLES: &str = "Examples:
  roothold demo
  roothold demo --dir ./demo --listen 127.0.0.1:9000
  roothold demo --listen 0.0.0.0:8000 --unauthenticated on-the-network";

/// What makes a directory a demo.
const CONFIGURATION: &str = "roothold.toml";

impl Demo {
    pub(super) fn run(self, builder: fn() -> Builder) -> anyhow::Result<u8> {
        let dir = match &self.dir {
            Some(dir) => std::path::absolute(dir)?,
            None => new_directory()?,
        };
        make(&dir)?;
        let mut more = vec![("server.listen", Value::String(self.listen.to_string()))];
        if self.unauthenticated.is_some() {
            more.push(("auth.unauthenticated", Value::String("on-the-network".to_owned())));
        }
        let source = ConfigArgs { config: Some(dir.join(CONFIGURATION)), ..ConfigArgs::default() };
        let mut config = source.load(&[], false, more)?;
        // The metrics of a demo are worth less than the demo.
        if TcpListener::bind(&config.telemetry.listen).is_err() {
            config.telemetry.listen.clear();
        }
        start_logs(&config)?;
        let metrics = config.telemetry.listen.clone();
        let program = program();
        let listener = serve::listen(&config)?;
        // The demo calls itself.
        let reach = Reach::default().connect(listener.local_addr()?.port());
        // Nothing in it changes while it runs.
        let same = config.clone();
        let load = (Stamps::default(), move || Ok(same.clone()));
        serve::serve(config, builder().reach(reach), listener, load, move |address| {
            print(&welcome(&program, address, &dir, &metrics));
            // The server answers only once this returns.
            std::thread::spawn(move || show(address));
        })
    }
}

/// What to type for this program.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("roothold"));
    path.display().to_string()
}

/// Calls the demo once, as the person at the terminal would, and prints what came.
fn show(address: SocketAddr) {
    match call::without_arguments(&url(address), "listRoots") {
        Ok(text) => print(&format!("\nIt works. listRoots answers:\n{}", text.trim_end())),
        Err(error) => {
            say(&format!("roothold: the demo could not be called: {}", super::sentence(&error)));
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{}/mcp", reachable(address))
}

fn new_directory() -> anyhow::Result<PathBuf> {
    let demos = disk::user_directory("XDG_CACHE_HOME", ".cache")?.join("roothold");
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    Ok(demos.join(format!("demo-{now}-{}", std::process::id())))
}

/// Makes the workspace, unless it is there.
fn make(dir: &Path) -> anyhow::Result<()> {
    if disk::is_there(&dir.join(CONFIGURATION)) {
        return Ok(());
    }
    ensure!(
        !disk::is_there(dir) || disk::names(dir)?.is_empty(),
        "{} is not empty and holds no demo; name a directory that is new or empty",
        dir.display()
    );
    for (path, content) in files::FILES {
        disk::write_new(&dir.join(path), content)?;
    }
    Ok(())
}

/// How to call the demo.
fn welcome(program: &str, address: SocketAddr, dir: &Path, metrics: &str) -> String {
    let url = url(address);
    let config = dir.join(CONFIGURATION);
    let mut text = format!(
        "Roothold serves the demo at {url}\nfiles and audit log: {dir}\n\n\
         List the roots and the access policy\n  {program} call --url {url} listRoots\n\
         \x20 npx @modelcontextprotocol/inspector --cli {url} --transport http --method tools/call --tool-name listRoots\n\n\
         Read a file\n  {program} call --url {url} read_text_file path=/workspace/mcp-demo/README.md\n\n{ask}\
         Ask why something is refused\n  {program} explain --config {config} read /workspace/mcp-demo/src/main.rs\n\n\
         Let an agent use it\n  claude mcp add --transport http roothold-demo {url}\n\n\
         See what was recorded\n  {program} audit tail --dir {audit}\n",
        ask = if cfg!(feature = "datasets") { ask_a_dataset(program, &url) } else { String::new() },
        dir = dir.display(),
        config = config.display(),
        audit = dir.join("audit").display(),
    );
    if !metrics.is_empty() {
        let _ = write!(text, "\nMetrics are at http://{metrics}/metrics. ");
    }
    text.push_str("Ctrl-C ends the demo; the directory stays.");
    text
}

fn ask_a_dataset(program: &str, url: &str) -> String {
    let sql =
        "SELECT region, sum(seats * price) AS paid FROM data GROUP BY region ORDER BY paid DESC";
    format!(
        "Ask a dataset\n  {program} call --url {url} query_dataset data_source=/workspace/mcp-demo/data/orders.json \\\n    sql='{sql}'\n\n"
    )
}

/// An address that a client on this machine can use: `0.0.0.0` is none.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_names_an_address_that_can_be_called() {
        let text = welcome("roothold", "0.0.0.0:8000".parse().unwrap(), Path::new("/d"), "");
        assert!(text.contains("roothold call --url http://127.0.0.1:8000/mcp listRoots"), "{text}");
        assert!(text.contains("--dir /d/audit"));
        assert!(!text.contains("/metrics"));
    }

    #[test]
    fn a_demo_is_made_once_and_never_over_something_else() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("demo");
        make(&dir).unwrap();
        let readme = dir.join("workspace/mcp-demo/README.md");
        disk::replace(&readme, "mine").unwrap();
        make(&dir).unwrap();
        assert_eq!(disk::read(&readme, 100).unwrap(), "mine");
        let error = make(scratch.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty and holds no demo"), "{error}");
    }
}

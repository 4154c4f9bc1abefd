//! The servers that the file tools are measured beside: pinned, and installed below `.tools` on
//! first use with each registry's own client.
//!
//! `fd`, the tool that trees and globs are measured beside, is installed the same way.
//!
//! One that cannot be installed is a [`Rival`] all the same, which says why: it must not go
//! missing in silence.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Where the rivals are installed, below the repository's top folder.
const PLACE: &str = ".tools/bench";
/// The file server that is written on FastMCP.
const FASTMCP_SERVER: &str = "xtask/src/bench/fastmcp_files.py";

/// A server that others use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The reference filesystem server, in TypeScript.
    Reference,
    /// A small file server on FastMCP, in Python.
    FastMcp,
    /// In Rust.
    RustMcp,
    /// In TypeScript.
    DesktopCommander,
}

/// Name and version.
impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "server-filesystem 2026.8.31",
            Self::FastMcp => "fastmcp 4.1.2",
            Self::RustMcp => "rust-mcp-filesystem 0.4.5",
            Self::DesktopCommander => "desktop-commander 0.2.52",
        })
    }
}

impl Rival {
    pub(super) const ALL: [Self; 4] =
        [Self::Reference, Self::FastMcp, Self::RustMcp, Self::DesktopCommander];

    /// The client that installs it, with what is installed last.
    const fn installer(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Reference => ("npm", &["@modelcontextprotocol/server-filesystem@2026.8.31"]),
            Self::FastMcp => ("pip", &["fastmcp==4.1.2"]),
            Self::RustMcp => ("cargo", &["rust-mcp-filesystem@0.4.5"]),
            Self::DesktopCommander => ("npm", &["@wonderwhy-er/desktop-commander@0.2.52"]),
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Reference => "server-filesystem",
            Self::FastMcp => "fastmcp",
            Self::RustMcp => "rust-mcp-filesystem",
            Self::DesktopCommander => "desktop-commander",
        }
    }

    /// Installs it, unless that was done before.
    pub(crate) fn install(self, root: &Path) -> anyhow::Result<Installed> {
        let place = root.join(PLACE).join(self.folder());
        let (client, packages) = self.installer();
        install_once(&place, &self.to_string(), client, packages)?;
        Ok(Installed { rival: self, place, script: root.join(FASTMCP_SERVER) })
    }
}

/// Name and version of `fd`.
pub(super) const FD: &str = "fd 10.5.0";

/// Installs `fd`, unless that was done before, and returns its program.
pub(super) fn install_fd(root: &Path) -> anyhow::Result<PathBuf> {
    let place = root.join(PLACE).join("fd");
    install_once(&place, FD, "cargo", &["fd-find@10.5.0"])?;
    Ok(place.join("bin/fd"))
}

/// What questions about datasets are measured beside.
pub(super) const DATAFRAMES: [&str; 2] = ["duckdb 2.0.1", "polars 2.1.0"];

/// Installs them, unless that was done before, and returns their Python.
pub(super) fn install_dataframes(root: &Path) -> anyhow::Result<PathBuf> {
    let place = root.join(PLACE).join("dataframes");
    // The last one only writes the files of Parquet that the others read.
    let packages = ["duckdb==2.0.1", "polars==2.1.0", "pyarrow==26.0.1"];
    install_once(&place, &packages.join(", "), "pip", &packages)?;
    Ok(place.join("bin/python"))
}

/// Installs packages with their registry's client, unless `wanted` is what was installed last.
fn install_once(place: &Path, wanted: &str, client: &str, packages: &[&str]) -> anyhow::Result<()> {
    let stamp = place.join(".installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("installing {wanted} in {}", place.display());
    std::fs::create_dir_all(place)?;
    match client {
        "npm" => {
            let options = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
            install(Command::new("npm").args(options).arg(place).args(packages))?;
        }
        "pip" => {
            install(Command::new("python3").args(["-m", "venv"]).arg(place))?;
            let pip = place.join("bin/pip");
            install(Command::new(pip).args(["install", "--quiet"]).args(packages))?;
        }
        _ => {
            let options = ["install", "--locked", "--root"];
            install(Command::new("cargo").args(options).arg(place).args(packages))?;
        }
    }
    std::fs::write(stamp, wanted)?;
    Ok(())
}

fn install(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let done = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}"))?;
    if !done.status.success() {
        let errors = String::from_utf8_lossy(&done.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        bail!("{name} failed: {}", last.chars().take(300).collect::<String>());
    }
    Ok(())
}

/// A rival that can be started.
pub(crate) struct Installed {
    pub(super) rival: Rival,
    place: PathBuf,
    script: PathBuf,
}

impl Installed {
    /// The server over standard input and output. `home` is an empty folder.
    pub(crate) fn stdio(&self, files: &Path, home: &Path) -> Command {
        let modules = self.place.join("node_modules");
        let mut command;
        match self.rival {
            Rival::Reference => {
                command = Command::new("node");
                let script = "@modelcontextprotocol/server-filesystem/dist/index.js";
                command.arg(modules.join(script)).arg(files);
            }
            Rival::FastMcp => {
                command = Command::new(self.place.join("bin/python"));
                command.arg("-B").arg(&self.script).arg(files);
            }
            Rival::RustMcp => {
                command = Command::new(self.place.join("bin/rust-mcp-filesystem"));
                command.arg(files);
            }
            Rival::DesktopCommander => {
                command = Command::new("node");
                command.arg(modules.join("@wonderwhy-er/desktop-commander/dist/index.js"));
                // A measurement is no user.
                command.env("DESKTOP_COMMANDER_DISABLE_TELEMETRY", "1");
            }
        }
        command.env("HOME", home).current_dir(home);
        command
    }

    /// Program and arguments of the server over HTTP at `addr`, if it can do that.
    pub(super) fn http(&self, files: &Path, addr: SocketAddr) -> Option<(PathBuf, Vec<String>)> {
        if self.rival != Rival::FastMcp {
            return None;
        }
        let text = |path: &Path| path.to_str().map(str::to_owned);
        let args = vec![text(&self.script)?, text(files)?, addr.port().to_string()];
        Some((self.place.join("bin/python"), args))
    }
}

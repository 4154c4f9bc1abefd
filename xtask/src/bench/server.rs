//! The measured server: its configuration, its folder, and how it is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::process::{Server, free_addr};

/// A folder for one bench: a root with a file, the configurations and the audit logs.
pub(super) struct Site {
    dir: tempfile::TempDir,
    /// The folder of the programs: `TARGET/release`.
    programs: PathBuf,
}

impl Site {
    pub(super) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("root"))?;
        let line = "The quick brown fox jumps over the lazy dog. 0123456789\n";
        std::fs::write(dir.path().join("root/page.md"), line.repeat(20))?;
        let here = std::env::current_exe()?;
        let programs = here.parent().context("the bench lies in a folder")?.to_owned();
        Ok(Self { dir, programs })
    }

    /// The file that both servers read, on the disk.
    fn page(&self) -> PathBuf {
        self.dir.path().join("root/page.md")
    }

    /// Starts the reference.
    pub(super) fn bare(&self) -> anyhow::Result<Server> {
        let addr = free_addr()?;
        let page = path_text(&self.page())?;
        let args = ["bench", "bare", &addr.to_string(), &page];
        Server::start(&self.programs.join("xtask"), &args, addr)
    }

    /// Starts the server with its audit log kept as `reads` says.
    pub(super) fn roothold(&self, reads: &str) -> anyhow::Result<Server> {
        let addr = free_addr()?;
        let config = self.dir.path().join(format!("{reads}.toml"));
        std::fs::write(&config, configuration(self.dir.path(), addr, free_addr()?, reads)?)?;
        let config = path_text(&config)?;
        Server::start(&self.programs.join("roothold"), &["serve", "--config", &config], addr)
    }
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("the temporary folder's name is not UTF-8")?.to_owned())
}

/// The least that an operator would write: what is not said here is measured at its default.
fn configuration(
    dir: &Path,
    listen: SocketAddr,
    telemetry: SocketAddr,
    reads: &str,
) -> anyhow::Result<String> {
    let (root, audit) = (path_text(&dir.join("root"))?, path_text(&dir.join("audit"))?);
    Ok(format!(
        r#"[server]
listen = "{listen}"

[[roots]]
uri = "file:///bench"
name = "Bench"
path = "{root}"
access = "ro"
read = ["*"]

[audit]
dir = "{audit}"
reads = "{reads}"

[telemetry]
listen = "{telemetry}"
"#
    ))
}

//! The measured server: its configuration, its folder, and how it is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::process::{Server, free_addr};

/// The root as callers see it: so long that an answer which names it has 200 bytes of text.
pub(super) const PUBLIC: &str = concat!(
    "/bench/a-folder-whose-name-is-as-long-as-names-are-in-answers-of-this-size",
    "/and-inside-of-it-one-more-whose-name-is-not-much-shorter-than-that",
    "/which-ends-where-two-hundred-bytes-do"
);
/// The size of the file that is read.
const PAGE_BYTES: usize = 4096;

/// A folder for one bench: a root with a file, the configurations and the audit logs.
pub(super) struct Site {
    dir: tempfile::TempDir,
    root: PathBuf,
    /// The folder of the programs: `TARGET/PROFILE`.
    programs: PathBuf,
}

impl Site {
    /// With a root of its own that holds `page.md`.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut site = Self::over(Path::new(""))?;
        site.root = site.dir.path().join("root");
        std::fs::create_dir(&site.root)?;
        let line = "The quick brown fox jumps over the lazy dog. 0123456789\n";
        let page = line.repeat(PAGE_BYTES / line.len() + 1);
        std::fs::write(site.page(), &page[..PAGE_BYTES])?;
        Ok(site)
    }

    /// With a root that is there.
    pub(super) fn over(root: &Path) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let programs = here.parent().context("the bench lies in a folder")?.to_owned();
        Ok(Self { dir: tempfile::tempdir()?, root: root.to_owned(), programs })
    }

    /// The file that both servers read, on the disk.
    fn page(&self) -> PathBuf {
        self.root.join("page.md")
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
        self.roothold_with(reads, "")
    }

    /// The same with more keys of `[telemetry]`, a line each.
    pub(super) fn roothold_with(&self, reads: &str, more: &str) -> anyhow::Result<Server> {
        let addr = free_addr()?;
        let config = self.dir.path().join(format!("{}.toml", addr.port()));
        std::fs::write(&config, self.configuration(addr, free_addr()?, reads)? + more)?;
        let config = path_text(&config)?;
        Server::start(&self.programs.join("examples/hello"), &["serve", "--config", &config], addr)
    }

    /// The least that an operator would write: what is not said here is measured at its default.
    fn configuration(
        &self,
        listen: SocketAddr,
        telemetry: SocketAddr,
        reads: &str,
    ) -> anyhow::Result<String> {
        let (root, audit) = (path_text(&self.root)?, path_text(&self.dir.path().join("audit"))?);
        Ok(format!(
            r#"[server]
listen = "{listen}"

[[roots]]
uri = "file://{PUBLIC}"
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
}

pub(super) fn path_text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a folder's name is not UTF-8")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_that_names_the_root_has_200_bytes() {
        assert_eq!(format!("Allowed directories:\n{PUBLIC}").len(), 200);
    }
}

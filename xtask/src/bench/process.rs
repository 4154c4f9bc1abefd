//! A measured HTTP server: pinned to one core and ended with its owner.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::family::Family;

/// The kernel reports processor time in these; Linux fixes it at 100 a second for programs.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// The longest a process may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// The core that servers run on, and the one for the client.
pub(super) const SERVER_CORE: &str = "0";
pub(super) const CLIENT_CORE: &str = "1";
/// Both, for what is measured as it runs in operation.
pub(super) const BOTH_CORES: &str = "0,1";

pub(super) struct Server {
    child: Child,
    pub(super) addr: SocketAddr,
    /// From the start of the process until it accepted a connection.
    pub(super) listening_after: Duration,
}

impl Server {
    /// Starts `program` on the servers' core and waits until it listens at `addr`.
    pub(super) fn start(program: &Path, args: &[&str], addr: SocketAddr) -> anyhow::Result<Self> {
        Self::start_on(SERVER_CORE, program, args, addr)
    }

    /// The same on cores of the caller's choice.
    pub(super) fn start_on(
        cores: &str,
        program: &Path,
        args: &[&str],
        addr: SocketAddr,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let child = Command::new("taskset")
            .args(["--cpu-list", cores])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting taskset (Debian package util-linux)")?;
        let mut server = Self { child, addr, listening_after: Duration::ZERO };
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended before it listened: {status}", program.display());
            }
            if started.elapsed() > START_MAX {
                bail!("{} did not listen within {START_MAX:?}", program.display());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        server.listening_after = started.elapsed();
        Ok(server)
    }

    /// The server's process.
    pub(super) fn family(&self) -> Family {
        Family::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to add to that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port on loopback that was free a moment ago.
pub(super) fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Moves this process, with all threads that it will start, to the client's core.
pub(super) fn pin_client() -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", CLIENT_CORE, &pid])
        .stdout(Stdio::null())
        .status()
        .context("starting taskset (Debian package util-linux)")?;
    if !done.success() {
        bail!("the client could not be moved to core {CLIENT_CORE}; a bench needs two cores");
    }
    Ok(())
}

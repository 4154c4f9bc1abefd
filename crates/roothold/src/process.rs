//! What the operating system knows of this process.
#![expect(
    clippy::disallowed_methods,
    reason = "procfs is not a root; it is read for metrics only, never for callers"
)]

use std::fs;

/// What the process uses now.
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) open_files: usize,
}

/// Reads `/proc/self`; zeros where there is none.
pub(crate) fn usage() -> Usage {
    Usage {
        resident_bytes: resident_bytes().unwrap_or(0),
        cpu_seconds: cpu_seconds(),
        open_files: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds since the process began")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

/// Lets the process open as many files as its hard limit allows: walks hold a handle per level,
/// connections one each, and a shell's soft limit is 1,024.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
}

//! What the operating system knows of this process.
#![expect(
    clippy::disallowed_methods,
    reason = "procfs is not a root; it is read for metrics and the state of the process only, never for callers"
)]

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::RawDir;

/// The name of the machine, or of the container.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "local".to_owned(),
        name => name.to_owned(),
    }
}

/// What the process uses now.
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) open_files: usize,
}

/// What metrics are read from, opened once: behind a wall it cannot be opened again.
struct Sources {
    statm: File,
    descriptors: Mutex<File>,
}

static SOURCES: OnceLock<Option<Sources>> = OnceLock::new();

/// Opens what [`usage`] reads, unless it is open.
pub(crate) fn open_for_metrics() {
    let _ = sources();
}

fn sources() -> Option<&'static Sources> {
    let open = || {
        let statm = File::open("/proc/self/statm").ok()?;
        Some(Sources { statm, descriptors: Mutex::new(File::open("/proc/self/fd").ok()?) })
    };
    SOURCES.get_or_init(open).as_ref()
}

/// Reads what the process uses; zeros where the system does not say.
pub(crate) fn usage() -> Usage {
    let sources = sources();
    Usage {
        resident_bytes: sources.and_then(resident_bytes).unwrap_or(0),
        cpu_seconds: cpu_seconds(),
        open_files: sources.map_or(0, open_files),
    }
}

fn resident_bytes(sources: &Sources) -> Option<u64> {
    let mut line = [0; 128];
    let len = sources.statm.read_at(&mut line, 0).ok()?;
    let statm = std::str::from_utf8(&line[..len]).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn open_files(sources: &Sources) -> usize {
    let mut directory = sources.descriptors.lock().unwrap_or_else(PoisonError::into_inner);
    if directory.seek(SeekFrom::Start(0)).is_err() {
        return 0;
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&*directory, &mut buffer);
    let mut count = 0;
    while let Some(Ok(entry)) = entries.next() {
        count += usize::from(!entry.file_name().to_bytes().starts_with(b"."));
    }
    count
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds since the process began")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

/// How the process is held.
pub(crate) struct Status {
    pub(crate) seccomp: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) threads: usize,
}

/// Reads how this thread is held. Behind a wall it cannot be read.
pub(crate) fn status() -> Status {
    let text = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let number = |name: &str| -> usize {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    Status {
        seccomp: number("Seccomp") == 2,
        no_new_privileges: number("NoNewPrivs") == 1,
        threads: number("Threads"),
    }
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

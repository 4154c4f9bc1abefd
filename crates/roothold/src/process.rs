//! What the operating system knows of this process.
#![expect(
    clippy::disallowed_methods,
    reason = "procfs is not a root; it is read for metrics and the state of the process only, never for callers"
)]

mod limits;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use limits::Limits;
use rustix::fs::RawDir;
use rustix::time::ClockId;

/// The name of the machine, or of the container. It is read once: behind a wall it cannot be read.
pub(crate) fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" => "local".to_owned(),
            name => name.to_owned(),
        }
    })
}

/// What the process uses now.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    /// When it began, in seconds since 1970.
    pub(crate) started: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) open_files: usize,
    pub(crate) open_files_max: u64,
}

/// What metrics are read from, opened once: behind a wall it cannot be opened again.
struct Sources {
    stat: File,
    descriptors: Mutex<File>,
}

static SOURCES: OnceLock<Option<Sources>> = OnceLock::new();
/// It must not tremble: a change of it is taken for a restart.
static STARTED: OnceLock<f64> = OnceLock::new();
static LIMITS: OnceLock<Limits> = OnceLock::new();

/// Opens what [`usage`] and [`limits`] read, unless it is open.
pub(crate) fn open_for_metrics() {
    let _ = (sources(), limits());
}

/// What the process may use.
pub(crate) fn limits() -> &'static Limits {
    LIMITS.get_or_init(Limits::read)
}

fn sources() -> Option<&'static Sources> {
    let open = || {
        let stat = File::open("/proc/self/stat").ok()?;
        Some(Sources { stat, descriptors: Mutex::new(File::open("/proc/self/fd").ok()?) })
    };
    SOURCES.get_or_init(open).as_ref()
}

/// Reads what the process uses; zeros where the system does not say.
pub(crate) fn usage() -> Usage {
    let sources = sources();
    let mut usage = sources.and_then(of_stat).unwrap_or_default();
    usage.cpu_seconds = seconds_of(ClockId::ProcessCPUTime);
    usage.open_files = sources.map_or(0, open_files);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    usage.open_files_max = limit.current.unwrap_or(u64::MAX);
    usage
}

/// What the kernel's line about the process says. Its second field, a name, is in parentheses and may
/// hold any.
fn of_stat(sources: &Sources) -> Option<Usage> {
    let mut line = [0; 1024];
    let len = sources.stat.read_at(&mut line, 0).ok()?;
    let line = String::from_utf8_lossy(&line[..len]);
    let (_, fields) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Numbered from 1 in proc_pid_stat(5), of which two stand before the parenthesis.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "ticks since the machine began")]
    let after_boot = field(22)? as f64 / rustix::param::clock_ticks_per_second() as f64;
    let now = seconds_of(ClockId::Realtime);
    Some(Usage {
        threads: field(20)?,
        started: *STARTED.get_or_init(|| now - (seconds_of(ClockId::Boottime) - after_boot)),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
        ..Usage::default()
    })
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

fn seconds_of(clock: ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    #[expect(clippy::cast_precision_loss, reason = "a time in microseconds is exact in 52 bits")]
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

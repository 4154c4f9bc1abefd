//! What the process may use: the limits of its control group, of either version, or the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel's own files are not a root; they are read for metrics only, never for callers"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What is more than any machine has stands for no limit in version 1.
const BOUNDLESS: u64 = 1 << 60;

/// The limits, as they were when they were read.
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) cores: f64,
    /// What tells how often the group was held back; open, since behind a wall it cannot be opened.
    throttled: Option<Throttled>,
}

struct Throttled {
    file: File,
    key: &'static str,
    per_second: f64,
}

impl Limits {
    /// Reads the limits of this process.
    pub(super) fn read() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let found = Found::below(Path::new("/sys/fs/cgroup"), &groups);
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
        Self {
            memory_bytes: [found.memory_bytes, machine].into_iter().flatten().min().unwrap_or(0),
            cores: found.cores.map_or(cores, |quota| quota.min(cores)),
            throttled: found.throttled,
        }
    }

    /// For how many seconds the group was held back so far; 0 where nobody says.
    pub(crate) fn throttled_seconds(&self) -> f64 {
        self.throttled.as_ref().and_then(Throttled::seconds).unwrap_or(0.0)
    }
}

impl Throttled {
    fn seconds(&self) -> Option<f64> {
        let mut text = [0; 2048];
        let len = self.file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..len]).ok()?;
        let number =
            text.lines().find_map(|line| line.strip_prefix(self.key)?.strip_prefix(' '))?;
        Some(number.trim().parse::<f64>().ok()? / self.per_second)
    }
}

/// What control groups say.
#[derive(Default)]
struct Found {
    memory_bytes: Option<u64>,
    cores: Option<f64>,
    throttled: Option<Throttled>,
}

impl Found {
    /// What stands below the directory of control groups, `groups` being those of the process.
    fn below(base: &Path, groups: &str) -> Self {
        if base.join("cgroup.controllers").is_file() {
            return Self::version_2(&of_group(base, groups, ""));
        }
        let cpu = ["cpu", "cpu,cpuacct"].into_iter().map(|name| base.join(name));
        let cpu = cpu.into_iter().find(|dir| dir.is_dir()).unwrap_or_default();
        Self::version_1(
            &of_group(&base.join("memory"), groups, "memory"),
            &of_group(&cpu, groups, "cpu"),
        )
    }

    /// In version 2 the groups above limit as well; of a container they cannot be seen.
    fn version_2(dir: &Path) -> Self {
        let of_each = |name: &str| -> Vec<String> {
            dir.ancestors().filter_map(|dir| fs::read_to_string(dir.join(name)).ok()).collect()
        };
        let memory = of_each("memory.max").iter().filter_map(|text| text.trim().parse().ok()).min();
        let cores = of_each("cpu.max").into_iter().filter_map(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota, period)
        });
        let cores = cores.min_by(f64::total_cmp);
        Self { memory_bytes: memory, cores, throttled: throttled(dir, "throttled_usec", 1e6) }
    }

    fn version_1(memory: &Path, cpu: &Path) -> Self {
        let number = |path: PathBuf| fs::read_to_string(path).ok();
        let bytes = number(memory.join("memory.limit_in_bytes"));
        let bytes = bytes.and_then(|text| text.trim().parse::<u64>().ok());
        let quota = number(cpu.join("cpu.cfs_quota_us"));
        let period = number(cpu.join("cpu.cfs_period_us"));
        Self {
            memory_bytes: bytes.filter(|bytes| *bytes < BOUNDLESS),
            cores: quota.zip(period).and_then(|(quota, period)| share(&quota, &period)),
            throttled: throttled(cpu, "throttled_time", 1e9),
        }
    }
}

fn throttled(dir: &Path, key: &'static str, per_second: f64) -> Option<Throttled> {
    let file = File::open(dir.join("cpu.stat")).ok()?;
    Some(Throttled { file, key, per_second })
}

/// The directory of the process's group, or that of all, which within a container is its own.
fn of_group(base: &Path, groups: &str, controller: &str) -> PathBuf {
    let named = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|one| one == controller).then_some(path)
    });
    let path = named.unwrap_or_default().trim_start_matches('/');
    let own = base.join(path);
    let is_within = !path.split('/').any(|part| part == "..");
    if is_within && own.is_dir() { own } else { base.to_owned() }
}

/// The processors that a quota per period comes to; none, where there is no quota.
fn share(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// The memory of the machine in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(base: &Path, path: &str, text: &str) {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn version_2_is_read_with_the_groups_above() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        put(base, "cgroup.controllers", "cpu memory\n");
        put(base, "pod/memory.max", "536870912\n");
        put(base, "pod/one/memory.max", "max\n");
        put(base, "pod/one/cpu.max", "50000 100000\n");
        put(base, "pod/one/cpu.stat", "usage_usec 1\nthrottled_usec 2500000\n");
        let found = Found::below(base, "0::/pod/one\n");
        assert_eq!((found.memory_bytes, found.cores), (Some(536_870_912), Some(0.5)));
        assert_eq!(found.throttled.unwrap().seconds(), Some(2.5));
        let elsewhere = Found::below(base, "0::/gone\n");
        assert_eq!((elsewhere.memory_bytes, elsewhere.cores), (None, None));
        assert!(Found::below(base, "0::/../pod\n").memory_bytes.is_none());
    }

    #[test]
    fn version_1_is_read_and_no_limit_is_none() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        put(base, "memory/a/memory.limit_in_bytes", "1048576\n");
        put(base, "memory/memory.limit_in_bytes", "9223372036854771712\n");
        put(base, "cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        put(base, "cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        put(base, "cpu,cpuacct/cpu.stat", "nr_throttled 1\nthrottled_time 1500000000\n");
        let found = Found::below(base, "4:memory:/a\n2:cpu,cpuacct:/a\n");
        assert_eq!((found.memory_bytes, found.cores), (Some(1_048_576), None));
        assert_eq!(found.throttled.unwrap().seconds(), Some(1.5));
        assert_eq!(Found::below(base, "4:memory:/gone\n").memory_bytes, None);
    }

    #[test]
    fn this_process_has_limits() {
        let limits = Limits::read();
        assert!(limits.memory_bytes > 1 << 20 && limits.cores > 0.0);
        assert!(limits.throttled_seconds() >= 0.0);
    }
}

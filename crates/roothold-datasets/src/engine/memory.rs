//! How much memory the engine may take by default.

#![expect(
    clippy::disallowed_methods,
    reason = "the limit of the container is read from the kernel's own files, at start"
)]

use std::fs;
use std::path::Path;

/// Whatever the machine has.
const MOST: usize = 256 * 1024 * 1024;
/// Below this a group-by of a few columns fails.
const LEAST: usize = 16 * 1024 * 1024;
/// The part of the container's limit that the pool may have, in percent: decoders, answers and
/// the rest of the server need the others.
const PERCENT: u64 = 40;

/// The smaller of 256 MB and 40 % of the memory that the container may use.
pub fn memory_default() -> usize {
    pool_for(limit_below(Path::new("/")))
}

fn pool_for(limit: Option<u64>) -> usize {
    let part = limit.map_or(u64::MAX, |limit| limit / 100 * PERCENT);
    usize::try_from(part).unwrap_or(usize::MAX).clamp(LEAST, MOST)
}

/// The smallest limit of the process's control groups and those above them, with the file systems
/// of the kernel below `root`.
fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut least: Option<u64> = None;
    let mut note = |path: &Path| {
        let limit = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        least = [least, limit].into_iter().flatten().min();
    };
    for line in groups.lines() {
        let Some((controllers, path)) =
            line.split_once(':').and_then(|(_, rest)| rest.split_once(':'))
        else {
            continue;
        };
        let (base, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            note(&root.join(base).join(above).join(file));
        }
    }
    // In a container the path may be that outside of it.
    note(&root.join("sys/fs/cgroup/memory.max"));
    note(&root.join("sys/fs/cgroup/memory/memory.limit_in_bytes"));
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_a_part_of_the_limit() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(pool_for(None), MOST);
        assert_eq!(pool_for(Some(u64::MAX)), MOST);
        assert_eq!(pool_for(Some(2048 * MIB)), MOST);
        assert_eq!(pool_for(Some(500 * MIB)) as u64, 500 * MIB / 100 * 40);
        assert_eq!(pool_for(Some(MIB)), LEAST);
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(limit_below(root.path()), None);
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(limit_below(root.path()), None);
        write("sys/fs/cgroup/a/memory.max", "1000\n");
        assert_eq!(limit_below(root.path()), Some(1000));
        write("sys/fs/cgroup/memory.max", "900\n");
        assert_eq!(limit_below(root.path()), Some(900));
        write("proc/self/cgroup", "5:cpu,memory:/x\n1:name=systemd:/y\n");
        write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "800\n");
        assert_eq!(limit_below(root.path()), Some(800));
    }
}

//! A process with all that it started: what they used of processor and memory, read in `/proc`.

use std::time::Duration;

use anyhow::Context as _;

use super::process::TICK;

/// A process and its descendants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family(u32);

impl Family {
    pub(super) const fn of(process: u32) -> Self {
        Self(process)
    }

    /// Processor time so far, user and system, of all members and of those that have ended and
    /// were waited for.
    pub(super) fn cpu(self) -> anyhow::Result<Duration> {
        let members = self.members()?;
        Ok(members.iter().map(|member| member.cpu).sum())
    }

    /// Processor time so far of the threads that the first member has now, in nanoseconds: for
    /// what is over in less than a step of the other clock. Of threads that have ended it says
    /// nothing.
    pub(super) fn threads_cpu(self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.0))? {
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanoseconds = stat.split(' ').next().context("schedstat is empty")?;
            sum += Duration::from_nanos(nanoseconds.parse()?);
        }
        Ok(sum)
    }

    /// Resident memory in MiB.
    pub(super) fn rss_mib(self) -> anyhow::Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// The most resident memory since [`Self::forget_peak`], in MiB; an upper bound where several
    /// members had their peaks at different times.
    pub(super) fn peak_mib(self) -> anyhow::Result<f64> {
        self.memory_mib("VmHWM:")
    }

    /// Starts to look for the peak anew.
    pub(super) fn forget_peak(self) -> anyhow::Result<()> {
        for member in self.members()? {
            std::fs::write(format!("/proc/{}/clear_refs", member.id), "5")
                .context("resetting the peak of memory")?;
        }
        Ok(())
    }

    fn memory_mib(self, field: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for member in self.members()? {
            // A member may have ended since it was listed.
            let status = std::fs::read_to_string(format!("/proc/{}/status", member.id));
            sum += status.ok().and_then(|status| memory_of(&status, field)).unwrap_or(0.0);
        }
        Ok(sum)
    }

    fn members(self) -> anyhow::Result<Vec<Member>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
            all.extend(stat.ok().and_then(|stat| Member::of(id, &stat)));
        }
        let mut members: Vec<Member> = Vec::new();
        let mut parents = vec![self.0];
        members.extend(all.iter().filter(|member| member.id == self.0));
        while let Some(parent) = parents.pop() {
            for child in all.iter().filter(|member| member.parent == parent) {
                parents.push(child.id);
                members.push(*child);
            }
        }
        Ok(members)
    }
}

/// Processor time of this process's children that have ended and were waited for.
pub(super) fn ended_children_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = fields(&stat).context("reading the own processor time")?;
    Ok(TICK * (fields.cutime + fields.cstime))
}

#[derive(Debug, Clone, Copy)]
struct Member {
    id: u32,
    parent: u32,
    cpu: Duration,
}

impl Member {
    fn of(id: u32, stat: &str) -> Option<Self> {
        let fields = fields(stat)?;
        let ticks = fields.utime + fields.stime + fields.cutime + fields.cstime;
        Some(Self { id, parent: fields.parent, cpu: TICK * ticks })
    }
}

struct Fields {
    parent: u32,
    utime: u32,
    stime: u32,
    cutime: u32,
    cstime: u32,
}

/// Fields 4 and 14 to 17 of `/proc/PID/stat`, counted behind the name, which may hold anything.
fn fields(stat: &str) -> Option<Fields> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(Fields {
        parent: number(1)?,
        utime: number(11)?,
        stime: number(12)?,
        cutime: number(13)?,
        cstime: number(14)?,
    })
}

/// A line of `/proc/PID/status` that counts kB, in MiB.
pub(crate) fn memory_of(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_an_odd_name() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 60 40 20 0 3 0 1 2 3";
        let member = Member::of(42, stat).unwrap();
        assert_eq!((member.parent, member.cpu), (7, Duration::from_secs(4)));
        assert!(Member::of(42, "42 (a) S").is_none());
    }

    #[test]
    fn memory_is_found() {
        assert_eq!(memory_of("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2.0));
        assert_eq!(memory_of("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn children_belong_to_the_family() {
        let mut child = std::process::Command::new("sleep").arg("20").spawn().unwrap();
        let members = Family::of(std::process::id()).members().unwrap();
        assert!(members.iter().any(|member| member.id == child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

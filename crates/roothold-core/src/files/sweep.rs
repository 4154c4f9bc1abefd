//! Temporary files that a crash left.
//!
//! A server's own are named by its audit log, and removed when it starts again. Those of servers
//! whose log is elsewhere are removed when a write meets them, once they are too old to belong to
//! a write that still goes on. What a job writes outlasts its process, and is left alone until the
//! time that its name says: by then the job has ended, however that was.
//!
//! **Invariant**: nothing is removed but regular files whose names [`TempName`] could have made.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, RawDir, fstat, openat, statat, unlinkat};
use rustix::fs::{Mode, OFlags};

use super::stamp::seconds;
use crate::audit::Left;
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::kind_of;
use crate::gate::place::{Last, locate};
use crate::path::FilePath;
use crate::policy::{Permit, Policy, TempName};

/// No write goes on for so long.
const STRANGE_AFTER_SECONDS: i64 = 60 * 60;
/// How long a directory that was looked through is left alone.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// How many directories are remembered, and how many entries of one are looked at.
const DIRECTORIES_MAX: usize = 4096;
const ENTRIES_MAX: usize = 100_000;

static LOOKED_THROUGH: Mutex<Option<HashMap<(u64, u64), Instant>>> = Mutex::new(None);

/// Removes old temporary files from a directory, unless it was looked through lately.
pub(super) fn sweep_strangers(directory: impl AsFd, budget: &Budget) {
    let Ok(stat) = fstat(&directory) else { return };
    if is_time((stat.st_dev, stat.st_ino)) {
        sweep_older(directory, seconds() - STRANGE_AFTER_SECONDS, budget);
    }
}

fn is_time(directory: (u64, u64)) -> bool {
    let mut looked = LOOKED_THROUGH.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = looked.get_or_insert_default();
    let now = Instant::now();
    if looked.get(&directory).is_some_and(|at| now.duration_since(*at) < LOOK_AGAIN) {
        return false;
    }
    if looked.len() >= DIRECTORIES_MAX {
        looked.retain(|_, at| now.duration_since(*at) < LOOK_AGAIN);
        if looked.len() >= DIRECTORIES_MAX {
            looked.clear();
        }
    }
    looked.insert(directory, now);
    true
}

/// Best effort: what cannot be read or removed stays, hidden from callers.
fn sweep_older(directory: impl AsFd, before: i64, budget: &Budget) {
    // A position of its own: the caller's handle may be read by others.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(own) = openat(&directory, ".", flags, Mode::empty()) else { return };
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); 16 * 1024];
    let mut entries = RawDir::new(&own, &mut buffer);
    for seen in 0..ENTRIES_MAX {
        let Some(Ok(entry)) = entries.next() else { return };
        if seen.is_multiple_of(1024) && budget.check().is_err() {
            return;
        }
        let Some(name) = TempName::parse(entry.file_name().to_bytes()) else { continue };
        if name.until().is_some_and(|until| until >= before) {
            continue;
        }
        let found = statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|stat| kind_of(&stat) == FileType::RegularFile && stat.st_mtime < before)
        {
            let _ = unlinkat(&directory, name.as_str(), AtFlags::empty());
        }
    }
}

/// Removes what the unfinished writes of a crashed server left. Tells how many files that were.
/// Whatever `left` says, nothing is removed but temporary files beside targets that policy lets
/// somebody write.
pub fn sweep_left(policy: &Policy, left: &[Left]) -> usize {
    let is_removed = |left: &&Left| {
        let permit = FilePath::parse(&left.target).and_then(|path| policy.permit_to_sweep(path));
        permit.and_then(|permit| remove_left(&permit, &left.temp)).is_ok_and(|removed| removed)
    };
    left.iter().filter(is_removed).count()
}

/// Removes the temporary file that an unfinished write left beside its target. Tells whether
/// there was one.
///
/// # Errors
/// As the gate's; `NotFound` if the directory is gone.
fn remove_left(permit: &Permit, temp: &str) -> Result<bool, Fault> {
    let Some(name) = TempName::parse(temp.as_bytes()) else { return Ok(false) };
    if name.until().is_some() {
        return Ok(false);
    }
    let place = locate(permit, Last::Follow)?;
    match statat(&place.parent, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if kind_of(&stat) == FileType::RegularFile => {
            unlinkat(&place.parent, name.as_str(), AtFlags::empty())
                .map(|()| true)
                .map_err(|errno| crate::gate::refusal(errno, permit))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::budget;

    #[test]
    fn only_old_temporary_files_of_others_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let name = |digit: &str| format!(".roothold-{}.tmp", digit.repeat(32));
        let (old, young, link, odd) = (name("a"), name("b"), name("c"), ".roothold-mine.tmp");
        let of_job = |seconds: i64| format!(".roothold-{}-{seconds:010}.tmp", "d".repeat(32));
        let (ended, waiting) = (of_job(seconds() - 7200), of_job(seconds() + 60));
        for name in [&old, &young, odd, &ended, &waiting] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(&young, dir.path().join(&link)).unwrap();
        for name in [&old, odd, &ended, &waiting] {
            let file = fs::File::options().write(true).open(dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_hours(2)).unwrap();
        }
        let handle = fs::File::open(dir.path()).unwrap();
        sweep_older(&handle, seconds() - STRANGE_AFTER_SECONDS, &budget());
        let left = |name: &str| fs::symlink_metadata(dir.path().join(name)).is_ok();
        assert_eq!([left(&old), left(&young), left(&link), left(odd)], [false, true, true, true]);
        assert_eq!([left(&ended), left(&waiting)], [false, true]);
    }

    #[test]
    fn a_directory_is_looked_through_once_in_a_while() {
        let unlike_any = (u64::MAX, u64::MAX);
        assert!(is_time(unlike_any));
        assert!(!is_time(unlike_any));
    }
}

//! One writer at a time in a directory, from the look at what is there to the rename over it.
//!
//! A lock holds inside this process, and, with `flock` on the directory's handle, against every
//! other process on the same file system that asks for it: another replica, or `flock(1)`. Where
//! the file system has no `flock`, it holds inside the process only.
//!
//! Whoever has locked a directory claims it too (`gate/claim.rs`), so that it stays where it is.
//!
//! **Invariant**: waiting for a lock asks the budget, so a cancelled call waits no longer; and
//! two directories are locked in the order of their identities, so nobody waits in a circle.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::claim::{Claim, Claimed, claim};
use super::link_of;
use crate::budget::Budget;
use crate::fault::Fault;
use crate::policy::join;

type Identity = (u64, u64);

static HELD: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);
static FREED: Condvar = Condvar::new();

/// How long a wait inside the process goes before the budget is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often another process's lock is tried, at first and at most.
const POLL_FIRST: Duration = Duration::from_micros(200);
const POLL_MAX: Duration = Duration::from_millis(10);

/// Locked directories that stay where they are; free again when dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    _claimed: Claimed,
    _first: Locked<'a>,
    _second: Option<Locked<'a>>,
}

/// A locked directory.
#[derive(Debug)]
struct Locked<'a> {
    directory: BorrowedFd<'a>,
    identity: Identity,
    /// Whether other processes are kept out too.
    flocked: bool,
}

/// Locks a directory.
///
/// # Errors
/// The budget's own, if somebody else holds it all that time.
pub(crate) fn lock<'a>(directory: BorrowedFd<'a>, budget: &Budget) -> Result<Held<'a>, Fault> {
    let locked = lock_one(directory, budget)?;
    let wanted = Claim { changes: vec![place_of(directory)?], moves: None };
    Ok(Held { _claimed: claim(wanted, budget)?, _first: locked, _second: None })
}

/// Locks two directories, or the one that they both are. `moved` is the name of a directory in
/// the first, below which nothing may be changed meanwhile.
///
/// # Errors
/// As [`lock`].
pub(crate) fn lock_both<'a>(
    one: BorrowedFd<'a>,
    other: BorrowedFd<'a>,
    moved: Option<&[u8]>,
    budget: &Budget,
) -> Result<Held<'a>, Fault> {
    let identity = |directory: BorrowedFd<'_>| {
        fstat(directory).map(|stat| (stat.st_dev, stat.st_ino)).map_err(Fault::internal)
    };
    let (first, second) = match identity(one)?.cmp(&identity(other)?) {
        std::cmp::Ordering::Equal => (one, None),
        std::cmp::Ordering::Less => (one, Some(other)),
        std::cmp::Ordering::Greater => (other, Some(one)),
    };
    let first = lock_one(first, budget)?;
    let second = second.map(|second| lock_one(second, budget)).transpose()?;
    let here = place_of(one)?;
    let tree = moved.map(|name| join(&here, name));
    let wanted = Claim { changes: vec![here, place_of(other)?], moves: tree };
    Ok(Held { _claimed: claim(wanted, budget)?, _first: first, _second: second })
}

/// Claims a directory and one that is to be made below it, without a lock: whoever makes
/// directories replaces nothing.
///
/// # Errors
/// As [`lock`].
pub(crate) fn claim_below(
    directory: &OwnedFd,
    names: &[Vec<u8>],
    budget: &Budget,
) -> Result<Claimed, Fault> {
    let place = place_of(directory)?;
    let deepest = names.iter().fold(place, |above, name| join(&above, name));
    claim(Claim { changes: vec![deepest], moves: None }, budget)
}

fn place_of(directory: impl AsFd) -> Result<Vec<u8>, Fault> {
    link_of(directory).map_err(Fault::internal)
}

fn lock_one<'a>(directory: BorrowedFd<'a>, budget: &Budget) -> Result<Locked<'a>, Fault> {
    let stat = fstat(directory).map_err(Fault::internal)?;
    let identity = (stat.st_dev, stat.st_ino);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    while !held.get_or_insert_default().insert(identity) {
        budget.check()?;
        held = FREED.wait_timeout(held, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
    }
    drop(held);
    // From here on, dropping it frees what was taken.
    let mut locked = Locked { directory, identity, flocked: false };
    locked.flocked = flock_in_time(directory, budget)?;
    Ok(locked)
}

/// Whether `flock` works here; waits while another process holds it.
fn flock_in_time(directory: BorrowedFd<'_>, budget: &Budget) -> Result<bool, Fault> {
    let mut pause = POLL_FIRST;
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => {
                budget.check()?;
                std::thread::sleep(pause);
                pause = (pause * 2).min(POLL_MAX);
            }
            // Some network file systems have none.
            Err(_) => return Ok(false),
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.flocked {
            // The handle is closed soon, which frees it as well.
            let _ = flock(self.directory.as_fd(), FlockOperation::Unlock);
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_default().remove(&self.identity);
        drop(held);
        FREED.notify_all();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fault::FaultKind;
    use crate::testing::budget;

    #[test]
    fn one_at_a_time_within_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let handle = File::open(dir.path()).unwrap();
                        let _locked = lock(handle.as_fd(), &budget()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn a_lock_of_another_process_is_waited_for_and_the_wait_is_cancellable() {
        let dir = tempfile::tempdir().unwrap();
        // Another open file description is to `flock` what another process is.
        let other = File::open(dir.path()).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        let own = File::open(dir.path()).unwrap();
        let cancelled = budget();
        cancelled.cancel();
        let fault = lock(own.as_fd(), &cancelled).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Cancelled);
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| lock_one(own.as_fd(), &budget()).map(|locked| locked.flocked));
            flock(&other, FlockOperation::Unlock).unwrap();
            assert!(waiting.join().unwrap().unwrap());
        });
        // Free again for others.
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[test]
    fn two_directories_are_locked_without_a_circle() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = |dir: &tempfile::TempDir| File::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for turned in [false, true] {
                let (a, b) = (&a, &b);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let (one, other) =
                            if turned { (open(b), open(a)) } else { (open(a), open(b)) };
                        let _both = lock_both(one.as_fd(), other.as_fd(), None, &budget()).unwrap();
                    }
                });
            }
        });
        let (one, again) = (open(&a), open(&a));
        // It would wait for itself.
        let _held = lock_both(one.as_fd(), again.as_fd(), None, &budget()).unwrap();
    }
}

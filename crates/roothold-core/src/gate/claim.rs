//! Who changes something where, so that no directory is moved away below a change.
//!
//! A change is decided on by the path that its directory has. The lock of that directory keeps
//! others out of it, and does not keep a directory further up from being moved, to where the same
//! change would be refused. So each change claims its directories by where they are, and a move
//! claims what it moves with all that lies below: of two claims that touch, the later one waits.
//!
//! It holds inside this process. Another one is seen at the last look before the rename.
//!
//! **Invariant**: a claim is the last thing that a call waits for, and it claims all at once, so
//! nobody waits in a circle.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::budget::Budget;
use crate::fault::Fault;
use crate::roots::below;

static CLAIMS: Mutex<Claims> = Mutex::new(Claims { next: 0, held: Vec::new() });
static FREED: Condvar = Condvar::new();

/// How long a wait goes before the budget is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Claims {
    next: u64,
    /// As many as calls that change something just now.
    held: Vec<(u64, Claim)>,
}

/// What one call claims: paths on disk, as the kernel says them. They are compared and never told.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// The directories in which entries are made, replaced or taken away.
    pub(super) changes: Vec<Vec<u8>>,
    /// A directory that is moved.
    pub(super) moves: Option<Vec<u8>>,
}

impl Claim {
    fn touches(&self, other: &Self) -> bool {
        self.moves_away(other) || other.moves_away(self)
    }

    fn moves_away(&self, other: &Self) -> bool {
        let Some(moved) = &self.moves else { return false };
        other.changes.iter().any(|change| below(moved, change).is_some())
    }
}

/// A claim that holds until it is dropped.
#[derive(Debug)]
pub(crate) struct Claimed(u64);

/// Claims, and waits while others hold what touches it.
///
/// # Errors
/// The budget's own.
pub(super) fn claim(wanted: Claim, budget: &Budget) -> Result<Claimed, Fault> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    while claims.held.iter().any(|(_, held)| held.touches(&wanted)) {
        budget.check()?;
        claims = FREED.wait_timeout(claims, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
    }
    let id = claims.next;
    claims.next += 1;
    claims.held.push((id, wanted));
    Ok(Claimed(id))
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        claims.held.retain(|(id, _)| *id != self.0);
        drop(claims);
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::testing::budget;

    fn wanted(changes: &[&str], moves: Option<&str>) -> Claim {
        let bytes = |path: &str| path.as_bytes().to_vec();
        Claim { changes: changes.iter().map(|path| bytes(path)).collect(), moves: moves.map(bytes) }
    }

    #[test]
    fn only_a_move_above_a_change_touches_it() {
        for (changes, moves, touches) in [
            ("a/b", Some("a/b"), true),
            ("a/b/c", Some("a/b"), true),
            ("a", Some("a/b"), false),
            ("a/bc", Some("a/b"), false),
            ("a/b", None, false),
        ] {
            let (change, moved) = (wanted(&[changes], None), wanted(&["x"], moves));
            assert_eq!(change.touches(&moved), touches, "{changes} {moves:?}");
            assert_eq!(moved.touches(&change), touches, "{changes} {moves:?}");
        }
        // Two moves of which each would take away where the other puts its directory.
        assert!(
            wanted(&["p", "q/y/c"], Some("p/x")).touches(&wanted(&["q", "p/x/d"], Some("q/y")))
        );
    }

    #[test]
    fn a_claim_is_waited_for_and_the_wait_is_cancellable() {
        let held = claim(wanted(&["claim/a/b"], None), &budget()).unwrap();
        let cancelled = budget();
        cancelled.cancel();
        let moves = || wanted(&["claim"], Some("claim/a"));
        assert_eq!(claim(moves(), &cancelled).unwrap_err().kind(), FaultKind::Cancelled);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| claim(moves(), &budget()).is_ok());
            drop(held);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_claim_ends_with_its_own_call_and_no_other() {
        let other = claim(wanted(&["ends/x"], None), &budget()).unwrap();
        let held = claim(wanted(&["ends/a/b"], None), &budget()).unwrap();
        drop(other);
        let cancelled = budget();
        cancelled.cancel();
        let moves = || wanted(&["ends"], Some("ends/a"));
        assert_eq!(claim(moves(), &cancelled).unwrap_err().kind(), FaultKind::Cancelled);
        drop(held);
        claim(moves(), &cancelled).unwrap();
    }
}

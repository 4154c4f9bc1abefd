//! Whether a database can be used by a role, as far as is known: by what the probe found, and by what calls met.
//!
//! A look that times out finds nothing out: the server was reached and let the role in, and it or this machine was
//! busy. It counts only once several in a row did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::{Fault, FaultKind};
use roothold_databases::SourceAccess;

use super::Role;
use super::events::DatabaseTurned;

/// How soon one that is down is asked again, the first time and at most.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How often the one that `/ready` depends on is asked, and one that is disabled.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After how many looks in a row that timed out it counts as down.
const OVERDUE_MAX: u32 = 3;

/// What is known of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum State {
    /// Nobody has asked it yet.
    #[default]
    Unasked,
    /// It answers, and its role is as it should be.
    Ready,
    /// It is to be read only, and its role can do more.
    Disabled,
    /// It does not answer.
    Down,
}

impl State {
    /// All, for metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Unasked, Self::Ready, Self::Disabled, Self::Down];

    /// The stable word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Ready => "ready",
            Self::Disabled => "disabled",
            Self::Down => "down",
        }
    }
}

/// What is known of one, and when it is to be asked again.
#[derive(Debug, Default)]
pub(crate) struct Health {
    known: Mutex<Known>,
    /// Whether a call tries one that is down.
    is_tried: AtomicBool,
}

/// A call's turn with a database.
pub(super) struct Turn<'a>(Option<&'a AtomicBool>);

impl Turn<'_> {
    /// Whether the call tries one that was down.
    pub(super) fn is_trial(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(is_tried) = self.0 {
            is_tried.store(false, Ordering::Release);
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    state: State,
    /// What was said when it did not answer.
    reason: Option<String>,
    failures: u32,
    /// How many looks in a row timed out.
    overdue: u32,
    /// When it was last asked, or answered a call.
    asked: Option<Instant>,
    /// Whether a call gave reason to ask it.
    is_suspect: bool,
}

impl Health {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        self.known().state
    }

    /// A turn with one that answers. One that does not is tried by one call at a time: many that
    /// wait for it would keep the places of calls that could be answered.
    ///
    /// # Errors
    /// `Unavailable`, for the others.
    pub(super) fn turn(&self) -> Result<Turn<'_>, Fault> {
        if self.state() != State::Down {
            return Ok(Turn(None));
        }
        if self.is_tried.swap(true, Ordering::Acquire) {
            let what = "the database does not answer just now; try again in a moment";
            return Err(Fault::new(FaultKind::Unavailable, what));
        }
        Ok(Turn(Some(&self.is_tried)))
    }

    /// Why it is down, or that it is slow, for the operator.
    pub(crate) fn reason(&self) -> Option<String> {
        self.known().reason.clone()
    }

    /// Has it be asked soon, though not more often than once in [`AGAIN_FIRST`].
    pub(super) fn suspect(&self) {
        self.known().is_suspect = true;
    }

    /// How long it is until it is to be asked again; `None` where nothing depends on it. One that is
    /// `watched` is asked also while it can be used.
    pub(super) fn due_in(&self, watched: bool) -> Option<Duration> {
        let known = self.known();
        let Some(asked) = known.asked else { return Some(Duration::ZERO) };
        let every = match known.state {
            _ if known.is_suspect => AGAIN_FIRST,
            State::Unasked => AGAIN_FIRST,
            State::Down => again(known.failures),
            State::Disabled => LOOK_EVERY,
            State::Ready if watched => LOOK_EVERY,
            State::Ready => return None,
        };
        Some(every.saturating_sub(asked.elapsed()))
    }

    /// Takes in how a call ended; whether it is to be asked soon. A call alone does not make it count as
    /// down: what a caller writes can end a connection, or fail in the database's own words, and
    /// would be a way to keep others from it.
    pub(super) fn learn_of_call(&self, role: &Role, fault: Option<&Fault>) -> bool {
        match fault {
            None => self.turn_to(role, found(role), None),
            Some(fault) if fault.kind() == FaultKind::Unavailable => {
                self.suspect();
                return true;
            }
            Some(_) => {}
        }
        false
    }

    /// Takes in what asking it came to.
    pub(super) fn learn_of_probe(&self, role: &Role, fault: Option<&Fault>) {
        match fault {
            None => self.turn_to(role, found(role), None),
            Some(fault) if fault.kind() == FaultKind::Unavailable => {
                self.turn_to(role, State::Down, Some(fault));
            }
            Some(fault) if fault.kind() == FaultKind::Timeout => self.learn_of_silence(role, fault),
            // No connection was free, or the server stops: it says nothing but that it was asked.
            Some(_) => {
                let mut known = self.known();
                (known.asked, known.is_suspect) = (Some(Instant::now()), false);
            }
        }
    }

    /// Takes in that asking it did not end in time. One that is down stays so.
    fn learn_of_silence(&self, role: &Role, fault: &Fault) {
        let mut known = self.known();
        known.overdue = known.overdue.saturating_add(1);
        if known.overdue >= OVERDUE_MAX || known.state == State::Down {
            drop(known);
            self.turn_to(role, State::Down, Some(fault));
            return;
        }
        (known.asked, known.is_suspect) = (Some(Instant::now()), true);
        known.reason = Some(for_operators(fault));
        drop(known);
        tracing::info!(name = %role.section.name, role_of = role.principal(), "the database was slow to answer");
    }

    fn turn_to(&self, role: &Role, state: State, fault: Option<&Fault>) {
        let mut known = self.known();
        let turned = known.state != state;
        let failures = if state == State::Down { known.failures.saturating_add(1) } else { 0 };
        let reason = fault.map(for_operators);
        let asked = Some(Instant::now());
        *known = Known { state, reason, failures, overdue: 0, asked, is_suspect: false };
        drop(known);
        if turned {
            DatabaseTurned { role, state, fault }.emit();
        }
    }
}

/// What was said and why, which no caller is told; neither holds a part of a connection string.
pub(super) fn for_operators(fault: &Fault) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{}: {cause}", fault.public()),
        None => fault.public().to_owned(),
    }
}

/// What the probe says of one that answers.
fn found(role: &Role) -> State {
    let disables = || role.source.report().is_some_and(|report| report.disabled_by().is_some());
    if role.source.spec().access == SourceAccess::Read && disables() {
        State::Disabled
    } else {
        State::Ready
    }
}

fn again(failures: u32) -> Duration {
    AGAIN_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(AGAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stays_down_is_asked_more_and_more_seldom() {
        let waits: Vec<u64> = (1..9).map(|failures| again(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(again(u32::MAX), AGAIN_MAX);
    }

    #[test]
    fn one_that_is_down_is_tried_by_one_call_at_a_time() {
        let health = Health::default();
        let (_first, _second) = (health.turn().unwrap(), health.turn().unwrap());
        health.known().state = State::Down;
        let trying = health.turn().unwrap();
        assert_eq!(health.turn().err().unwrap().kind(), FaultKind::Unavailable);
        drop(trying);
        let _again = health.turn().unwrap();
    }
}

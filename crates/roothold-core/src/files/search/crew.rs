//! The threads of one search. The thread that walks hands batches out, works itself when enough
//! are handed out, and takes what comes back in the order in which it was handed out.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use super::Search;
use super::batch::{Batch, Outcome};
use super::leash::Leash;
use super::scan::Scanner;
use crate::fault::Fault;
use crate::roots::Hardlinks;

/// The most threads of one search, the one that walks included.
const THREADS_MAX: usize = 4;
/// Batches that are handed out and not yet told, besides one for each thread.
const BATCHES_SPARE: u64 = 2;

/// Threads that help with all searches of the process.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A place among the helpers, of which there are as many as cores; given back at its end.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let add = |taken: usize| (taken < cores()).then_some(taken + 1);
        HELPERS.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        HELPERS.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<(u64, Batch)>,
    done: BTreeMap<u64, Result<Outcome, Fault>>,
    is_closed: bool,
    /// A helper panicked, and what it was at does not come back.
    is_broken: bool,
}

/// What the threads share.
struct Shared<'a> {
    search: &'a Search,
    leash: &'a Leash<'a>,
    hardlinks: Hardlinks,
    room: usize,
    desk: Mutex<Desk>,
    /// There is a batch to work on, or there will be none.
    handed_out: Condvar,
    /// A batch came back.
    came_back: Condvar,
}

impl Shared<'_> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scan(&self, batch: &Batch, scanner: &mut Scanner<'_>) -> Result<Outcome, Fault> {
        batch.scan(scanner, self.hardlinks, self.room)
    }

    /// What a helper does until there is nothing more.
    fn help(&self) {
        let watch = Watch(self);
        let mut scanner = Scanner::new(self.search, self.leash);
        loop {
            let mut desk = self.desk();
            let (number, batch) = loop {
                if desk.is_closed {
                    return;
                }
                if let Some(next) = desk.waiting.pop_front() {
                    break next;
                }
                desk = self.handed_out.wait(desk).unwrap_or_else(PoisonError::into_inner);
            };
            drop(desk);
            let outcome = watch.0.scan(&batch, &mut scanner);
            drop(batch);
            self.desk().done.insert(number, outcome);
            self.came_back.notify_one();
        }
    }
}

/// Says so when its thread panics, so that nobody waits for it.
struct Watch<'a>(&'a Shared<'a>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.desk().is_broken = true;
            self.0.came_back.notify_one();
        }
    }
}

/// Sends the helpers home, whatever ended the work.
struct Close<'a>(&'a Shared<'a>);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.leash.pull();
        self.0.desk().is_closed = true;
        self.0.handed_out.notify_all();
    }
}

/// The helpers, as the thread that walks sees them.
pub(super) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'scope Shared<'scope>,
    own: Option<Scanner<'scope>>,
    helpers: u64,
    handed_out: u64,
    told: u64,
}

/// Runs `work` with a crew, and waits for its threads.
pub(super) fn with_crew(
    search: &Search,
    leash: &Leash<'_>,
    hardlinks: Hardlinks,
    work: impl FnOnce(&mut Crew<'_, '_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let shared = Shared {
        search,
        leash,
        hardlinks,
        room: leash.budget().result_bytes_max,
        desk: Mutex::default(),
        handed_out: Condvar::new(),
        came_back: Condvar::new(),
    };
    thread::scope(|scope| {
        let _close = Close(&shared);
        let (helpers, handed_out, told) = (0, 0, 0);
        work(&mut Crew { scope, shared: &shared, own: None, helpers, handed_out, told })
    })
}

impl Crew<'_, '_> {
    /// How many batches were handed out.
    pub(super) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// Hands a batch out, and tells what came back meanwhile; `false` when `tell` wants no more.
    ///
    /// # Errors
    /// Those of the work and of `tell`.
    pub(super) fn hand_out(
        &mut self,
        batch: Batch,
        mut tell: impl FnMut(Outcome) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        self.shared.desk().waiting.push_back((self.handed_out, batch));
        self.handed_out += 1;
        // A search that one batch ends needs no help.
        if self.handed_out > 1 {
            self.call_help();
            self.shared.handed_out.notify_one();
        }
        let ahead = self.helpers + 1 + BATCHES_SPARE;
        while self.handed_out - self.told >= ahead {
            if !self.advance(&mut tell)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands out the last batch and tells all that is still to come.
    ///
    /// # Errors
    /// As [`Self::hand_out`].
    pub(super) fn finish(
        &mut self,
        batch: Batch,
        mut tell: impl FnMut(Outcome) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        if !batch.is_empty() && !self.hand_out(batch, &mut tell)? {
            return Ok(());
        }
        while self.told < self.handed_out {
            if !self.advance(&mut tell)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn call_help(&mut self) {
        let most = THREADS_MAX.min(cores()) as u64 - 1;
        if self.helpers < most
            && let Some(place) = Place::take()
        {
            self.helpers += 1;
            let shared = self.shared;
            self.scope.spawn(move || {
                let _place = place;
                shared.help();
            });
        }
    }

    /// Tells the next outcome if it came back; works, or waits, if it did not.
    fn advance(
        &mut self,
        tell: &mut impl FnMut(Outcome) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        let shared = self.shared;
        let mut desk = shared.desk();
        if let Some(outcome) = desk.done.remove(&self.told) {
            drop(desk);
            self.told += 1;
            return tell(outcome?);
        }
        if let Some((number, batch)) = desk.waiting.pop_front() {
            drop(desk);
            let own = self.own.get_or_insert_with(|| Scanner::new(shared.search, shared.leash));
            let outcome = shared.scan(&batch, own);
            shared.desk().done.insert(number, outcome);
            return Ok(true);
        }
        if desk.is_broken {
            return Err(Fault::internal("a thread of a search panicked"));
        }
        drop(shared.came_back.wait(desk).unwrap_or_else(PoisonError::into_inner));
        Ok(true)
    }
}

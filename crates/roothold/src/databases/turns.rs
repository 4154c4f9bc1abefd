//! Whose turn it is at a database that has fewer connections than calls: principals in turn, so that
//! one with many calls keeps nobody else from it.
//!
//! **Invariant**: where several principals ask, none of them has all places for longer than what runs
//! when the second comes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::{Budget, Fault, FaultKind};
use tokio::sync::oneshot;

/// How often a call that waits is asked whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For so long after a call of somebody else nobody is given the last place beside calls of their own.
const SHARED_FOR: Duration = Duration::from_mins(10);

/// The places of calls at one database. Clones share them.
#[derive(Clone)]
pub(super) struct Turns(Arc<Mutex<Line>>);

struct Line {
    places: usize,
    free: usize,
    /// Who came last, and who came last before that was somebody else; and when.
    last: Option<(String, Instant)>,
    other: Option<Instant>,
    /// How many places were given so far.
    given: u64,
    /// Of those principals who have calls here.
    shares: HashMap<String, Share>,
}

#[derive(Default)]
struct Share {
    running: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
    /// When it was given a place last.
    given: u64,
}

/// A place, which is free again when it is dropped.
pub(super) struct Place {
    turns: Turns,
    principal: String,
}

/// A call that waits for its place, or has just been given one.
struct Waiting {
    turns: Turns,
    principal: String,
    given: oneshot::Receiver<()>,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(Line {
            places,
            free: places,
            last: None,
            other: None,
            given: 0,
            shares: HashMap::new(),
        })))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a call of a principal. Among those who wait the one comes first who has the fewest
    /// calls running, then the one whose last turn is longest ago.
    ///
    /// # Errors
    /// `Busy`, after `wait`; `Cancelled` or `Timeout`.
    ///
    /// # Cancellation
    /// Dropped, it waits no longer.
    pub(super) async fn take(
        &self,
        principal: &str,
        wait: Duration,
        budget: &Budget,
    ) -> Result<Place, Fault> {
        let mut waiting = {
            let mut line = self.line();
            line.note(principal);
            if line.free > 0 && line.may_have(line.running(principal)) {
                line.free -= 1;
                line.give(principal);
                drop(line);
                return Ok(Place { turns: self.clone(), principal: principal.to_owned() });
            }
            let (give, given) = oneshot::channel();
            let share = line.shares.entry(principal.to_owned()).or_default();
            share.waiting.push_back(give);
            Waiting { turns: self.clone(), principal: principal.to_owned(), given }
        };
        let until = tokio::time::Instant::now() + wait;
        loop {
            budget.check()?;
            let look = until.min(tokio::time::Instant::now() + LOOK_EVERY);
            match tokio::time::timeout_at(look, &mut waiting.given).await {
                Ok(Ok(())) => {
                    return Ok(Place { turns: self.clone(), principal: principal.to_owned() });
                }
                // The line holds the other end until it gives a place.
                Ok(Err(_)) => return Err(Fault::internal("a call that waits was forgotten")),
                Err(_) if tokio::time::Instant::now() >= until => {
                    let text = "others use this database just now, and every connection is taken; try again in a moment";
                    return Err(Fault::new(FaultKind::Busy, text));
                }
                Err(_) => {}
            }
        }
    }

    /// How many calls wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.line().shares.values().map(|share| share.waiting.len()).sum()
    }

    fn give_back(&self, principal: &str) {
        let mut line = self.line();
        if let Some(share) = line.shares.get_mut(principal) {
            share.running = share.running.saturating_sub(1);
        }
        line.free += 1;
        line.hand_on();
        line.forget(principal);
    }
}

impl Line {
    fn note(&mut self, principal: &str) {
        let now = Instant::now();
        match &mut self.last {
            Some((last, at)) if last == principal => *at = now,
            last => {
                let before = last.replace((principal.to_owned(), now));
                self.other = before.map(|(_, at)| at);
            }
        }
    }

    fn running(&self, principal: &str) -> usize {
        self.shares.get(principal).map_or(0, |share| share.running)
    }

    /// Whether a principal with so many calls running may have one more: where others ask too, the last
    /// place is for them.
    fn may_have(&self, running: usize) -> bool {
        let is_shared = self.other.is_some_and(|at| at.elapsed() < SHARED_FOR);
        !is_shared || running + 1 < self.places.max(2)
    }

    fn give(&mut self, principal: &str) {
        self.given += 1;
        let given = self.given;
        let share = self.shares.entry(principal.to_owned()).or_default();
        share.running += 1;
        share.given = given;
    }

    /// Gives what is free to those who wait.
    fn hand_on(&mut self) {
        while self.free > 0 {
            let waits = self
                .shares
                .iter()
                .filter(|(_, share)| !share.waiting.is_empty() && self.may_have(share.running));
            let next = waits.min_by_key(|(_, share)| (share.running, share.given));
            let Some(principal) = next.map(|(name, _)| name.clone()) else { return };
            let share = self.shares.get_mut(&principal);
            let give = share.and_then(|share| share.waiting.pop_front());
            // One that was dropped meanwhile gets none.
            if give.is_some_and(|give| give.send(()).is_ok()) {
                self.free -= 1;
                self.give(&principal);
            } else {
                self.forget(&principal);
            }
        }
    }

    /// Forgets a principal who has no calls here.
    fn forget(&mut self, principal: &str) {
        if let Some(share) = self.shares.get(principal)
            && share.running == 0
            && share.waiting.is_empty()
        {
            self.shares.remove(principal);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.given.close();
        // It was given a place that nobody took.
        if self.given.try_recv().is_ok() {
            self.turns.give_back(&self.principal);
            return;
        }
        let mut line = self.turns.line();
        if let Some(share) = line.shares.get_mut(&self.principal) {
            share.waiting.retain(|give| !give.is_closed());
        }
        line.forget(&self.principal);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.give_back(&self.principal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_mins(1);

    fn budget() -> Budget {
        Budget::new(1, 1, WAIT)
    }

    async fn take(turns: &Turns, who: &str) -> Place {
        turns.take(who, WAIT, &budget()).await.unwrap()
    }

    /// A call that waits until it has its place, and tells whose it is.
    fn wait(turns: &Turns, who: &'static str, told: &tokio::sync::mpsc::UnboundedSender<Place>) {
        let (turns, told) = (turns.clone(), told.clone());
        tokio::spawn(async move {
            let _ = told.send(take(&turns, who).await);
        });
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_with_many_calls_keeps_nobody_from_it() {
        let turns = Turns::new(2);
        let mut held = vec![take(&turns, "anna").await, take(&turns, "anna").await];
        let (told, mut had) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..40 {
            wait(&turns, "anna", &told);
        }
        settle().await;
        for _ in 0..3 {
            wait(&turns, "ben", &told);
        }
        settle().await;
        let mut order = String::new();
        for _ in 0..6 {
            held.remove(0);
            let place = had.recv().await.unwrap();
            order.push_str(&place.principal[..1]);
            held.push(place);
        }
        // Ben has the next that is free, and each has one of the two for as long as both want some.
        assert_eq!(order, "bababa");
        // When he has none any more, the place stays free for whoever else comes.
        held.retain(|place| place.principal == "anna");
        settle().await;
        assert!(had.try_recv().is_err());
        assert_eq!(turns.line().free, 1);
        assert_eq!(turns.waiting(), 37, "hers wait though a place is free");
        let _carl = take(&turns, "carl").await;
    }

    #[tokio::test]
    async fn who_is_alone_has_all_places_and_a_single_one_is_everybody_s() {
        let turns = Turns::new(3);
        let alone = [take(&turns, "a").await, take(&turns, "a").await, take(&turns, "a").await];
        assert_eq!(turns.line().free, 0);
        drop(alone);
        let single = Turns::new(1);
        drop(take(&single, "a").await);
        drop(take(&single, "b").await);
        drop(take(&single, "a").await);
    }

    #[tokio::test]
    async fn what_nobody_takes_any_more_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = take(&turns, "anna").await;
        let whole = budget();
        let mut left = Box::pin(turns.take("ben", WAIT, &whole));
        assert!(futures::poll!(&mut left).is_pending());
        let mut dropped = Box::pin(turns.take("carl", WAIT, &whole));
        assert!(futures::poll!(&mut dropped).is_pending());
        assert_eq!(turns.waiting(), 2);
        drop(dropped);
        assert_eq!(turns.waiting(), 1);
        drop(first);
        assert_eq!(turns.waiting(), 0);
        // It has been given, and is dropped before it looked.
        drop(left);
        let last = take(&turns, "dora").await;
        drop(last);
        let line = turns.line();
        assert_eq!((line.free, line.shares.len()), (1, 0));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_time_for_it_and_with_the_call() {
        let turns = Turns::new(1);
        let _held = take(&turns, "anna").await;
        let late = turns.take("anna", Duration::from_millis(30), &budget()).await.err().unwrap();
        assert_eq!(late.kind(), FaultKind::Busy);
        let cancelled = budget();
        cancelled.cancel();
        let gone = turns.take("anna", WAIT, &cancelled).await.err().unwrap();
        assert_eq!(gone.kind(), FaultKind::Cancelled);
        assert!(turns.line().shares["anna"].waiting.is_empty());
    }
}

//! What whole answers together may hold in memory until their clients have read them.
//!
//! Small answers are not counted, nor are streams, which come event by event. Invariant: an answer
//! keeps its room until its last byte was handed to the socket, or its connection is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::observer::Observer;

/// An answer this small is not counted: the cap on connections bounds those.
const UNCOUNTED_BYTES: usize = 64 * 1024;
const UNIT_BYTES: usize = 1024;
/// How long an answer waits for room.
pub(crate) const WAIT: Duration = Duration::from_secs(5);

/// There is no room for the answer, and none came free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The room of all answers, counted in KiB.
pub(crate) struct AnswerBudget {
    room: Arc<Semaphore>,
    /// Answers that wait are in memory too; as much as the room itself, and no more, may wait.
    waiting: Semaphore,
    units_max: u32,
    wait: Duration,
    observer: Arc<dyn Observer>,
}

impl AnswerBudget {
    pub(crate) fn new(bytes_max: usize, observer: Arc<dyn Observer>) -> Self {
        let units_max = u32::try_from(bytes_max / UNIT_BYTES).unwrap_or(u32::MAX);
        let units = (units_max as usize).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(units)),
            waiting: Semaphore::new(units),
            units_max,
            wait: WAIT,
            observer,
        }
    }

    /// Whether an answer is so large that it needs room.
    pub(crate) fn counts(answer: &Bytes) -> bool {
        answer.len() > UNCOUNTED_BYTES
    }

    /// Finds room for an answer, which the returned bytes keep until they are dropped. One that is
    /// larger than all the room takes all of it.
    pub(crate) async fn hold(&self, answer: Bytes) -> Result<Bytes, NoRoom> {
        if !Self::counts(&answer) {
            return Ok(answer);
        }
        let units = u32::try_from(answer.len().div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.min(self.units_max);
        let permit = match Arc::clone(&self.room).try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_taken) => {
                self.wait_for(units).await.inspect_err(|_| self.observer.answer_refused())?
            }
        };
        let room = Room::new(permit, u64::from(units), Arc::clone(&self.observer));
        Ok(Bytes::from_owner(Held { answer, _room: room }))
    }

    async fn wait_for(&self, units: u32) -> Result<OwnedSemaphorePermit, NoRoom> {
        let _waiting = self.waiting.try_acquire_many(units).map_err(|_| NoRoom)?;
        let coming = Arc::clone(&self.room).acquire_many_owned(units);
        let waited = tokio::time::timeout(self.wait, coming).await;
        waited.map_err(|_| NoRoom)?.map_err(|_| NoRoom)
    }
}

/// An answer with its room. The bytes own it, not the body: the HTTP library drops a body as soon
/// as it has taken the bytes, long before it has written them.
struct Held {
    answer: Bytes,
    _room: Room,
}

/// Room that is taken, for as long as this is kept.
struct Room {
    _permit: OwnedSemaphorePermit,
    bytes: u64,
    observer: Arc<dyn Observer>,
}

impl Room {
    fn new(permit: OwnedSemaphorePermit, units: u64, observer: Arc<dyn Observer>) -> Self {
        let bytes = units * UNIT_BYTES as u64;
        observer.answer_held(bytes);
        Self { _permit: permit, bytes, observer }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.observer.answer_released(self.bytes);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::observer::Unobserved;

    fn budget() -> AnswerBudget {
        observed(Arc::new(Unobserved))
    }

    fn observed(observer: Arc<dyn Observer>) -> AnswerBudget {
        let wait = Duration::from_millis(400);
        AnswerBudget { wait, ..AnswerBudget::new(200 * 1024, observer) }
    }

    #[derive(Default)]
    struct Seen {
        held: AtomicU64,
        refused: AtomicU64,
    }

    impl Seen {
        fn kib(&self) -> u64 {
            self.held.load(Ordering::Relaxed) / 1024
        }
    }

    impl Observer for Seen {
        fn answer_held(&self, bytes: u64) {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }

        fn answer_released(&self, bytes: u64) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }

        fn answer_refused(&self) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answer(kib: usize) -> Bytes {
        Bytes::from(vec![b'x'; kib * 1024])
    }

    #[tokio::test]
    async fn answers_together_are_bounded_and_a_small_one_is_free() {
        let budget = budget();
        let first = budget.hold(answer(150)).await.unwrap();
        assert_eq!(first, answer(150));
        let begun = tokio::time::Instant::now();
        assert_eq!(budget.hold(answer(100)).await, Err(NoRoom));
        assert!(begun.elapsed() >= budget.wait);
        assert!(budget.hold(answer(64)).await.is_ok());
        let part = first.slice(..10);
        drop(first);
        assert_eq!(budget.hold(answer(100)).await, Err(NoRoom), "a part keeps the whole");
        drop(part);
        assert!(budget.hold(answer(1_000)).await.is_ok(), "one alone always has room");
    }

    #[tokio::test]
    async fn what_is_held_and_what_is_refused_is_told() {
        let seen = Arc::new(Seen::default());
        let budget = observed(Arc::clone(&seen) as Arc<dyn Observer>);
        let small = budget.hold(answer(64)).await.unwrap();
        assert_eq!(seen.kib(), 0, "it is not counted");
        let first = budget.hold(answer(150)).await.unwrap();
        assert_eq!(seen.kib(), 150);
        let mut waits = Box::pin(budget.hold(answer(100)));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        assert_eq!(
            seen.refused.load(Ordering::Relaxed),
            0,
            "a client that went away is not refused"
        );
        assert_eq!(budget.hold(answer(100)).await, Err(NoRoom));
        assert_eq!((seen.kib(), seen.refused.load(Ordering::Relaxed)), (150, 1));
        drop((first, small));
        let whole = budget.hold(answer(1_000)).await.unwrap();
        assert_eq!(seen.kib(), 200, "as much as there is");
        drop(whole);
        assert_eq!(seen.kib(), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_gets_the_room_that_comes_free() {
        let budget = budget();
        let first = budget.hold(answer(200)).await.unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third, ()) = tokio::join!(
            budget.hold(answer(150)),
            async {
                tokio::task::yield_now().await;
                let refused = budget.hold(answer(100)).await;
                (refused, begun.elapsed())
            },
            async {
                tokio::time::sleep(budget.wait / 4).await;
                drop(first);
            }
        );
        assert!(second.is_ok());
        assert_eq!(third.0, Err(NoRoom));
        assert!(third.1 < budget.wait / 4, "it was refused at once");
    }
}

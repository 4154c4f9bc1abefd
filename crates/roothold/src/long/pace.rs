//! How often who waits for long work is told of it: clients of its progress, and the store of what a
//! job has found by now.

use std::time::{Duration, Instant};

use roothold_core::Fault;

use super::{Chunk, Steps, wrapped};
use crate::call::Progress;
use crate::jobs::stored_partial;
use crate::tool::Reply as _;

/// How many chunks a client is told of one by one.
const TOLD_FREELY: u32 = 32;

/// How often it is told of the others at most: chunks can be worked through by the hundred in a second.
const TELL_AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// How often a job's partial result is made at most, and how often at least where it costs much.
const PARTIAL_EVERY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// How much more time passes without one than making it took.
const PARTIAL_PAUSE: u32 = 10;
/// How fast partial results may grow the store.
const PARTIAL_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// What a client was told of progress.
#[derive(Default)]
pub(super) struct Told {
    messages: u32,
    last: Option<(f64, Instant)>,
    /// What it was not told, since it had just been told something.
    pub(super) left: Option<Progress>,
}

impl Told {
    /// The progress, if it is to be told now. It must grow from one message to the next.
    pub(super) fn due(&mut self, progress: Progress, now: Instant) -> Option<Progress> {
        if let Some((done, at)) = self.last {
            if progress.done <= done {
                return None;
            }
            if self.messages >= TOLD_FREELY && now.duration_since(at) < TELL_AT_MOST_EVERY {
                self.left = Some(progress);
                return None;
            }
        }
        self.messages += 1;
        self.last = Some((progress.done, now));
        self.left = None;
        Some(progress)
    }
}

/// When the result of a job by now is made anew: often enough to keep up with what is told of progress,
/// and seldom enough that making and storing it takes a small part of the time.
#[derive(Default)]
pub(super) struct Partials {
    due: Option<Instant>,
}

impl Partials {
    /// What was found by the end of this chunk, if it is time for it.
    pub(super) async fn of<W: Steps>(
        &mut self,
        work: &mut W,
        chunk: &Chunk,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let begun = Instant::now();
        if self.due.is_some_and(|due| begun < due) {
            return Ok(None);
        }
        let partial = match work.partial().await? {
            Some(answer) => Some(stored_partial(wrapped(answer.into_answer()), chunk)?),
            None => None,
        };
        self.made(begun, Instant::now(), partial.as_ref().map_or(0, Vec::len));
        Ok(partial)
    }

    fn made(&mut self, begun: Instant, ended: Instant, bytes: usize) {
        let [least, most] = PARTIAL_EVERY;
        let grown = Duration::from_millis(bytes as u64 * 1000 / PARTIAL_BYTES_PER_SECOND);
        let pause = ended.duration_since(begun).saturating_mul(PARTIAL_PAUSE).max(grown);
        self.due = Some(ended + pause.clamp(least, most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_result_follows_the_chunks_as_closely_as_its_cost_allows() {
        let begun = Instant::now();
        let pause = |cost: u64, bytes: usize| {
            let (mut partials, ended) = (Partials::default(), begun + Duration::from_millis(cost));
            partials.made(begun, ended, bytes);
            partials.due.unwrap().duration_since(ended).as_millis()
        };
        assert_eq!(pause(0, 2000), 100, "what costs nothing");
        assert_eq!(pause(30, 2000), 300, "what takes long to make");
        assert_eq!(pause(1, 512 * 1024), 500, "what is large");
        assert_eq!((pause(5000, 0), pause(0, 1 << 30)), (1000, 1000), "whatever it costs");
    }

    #[test]
    fn many_chunks_are_told_of_a_few_times_a_second_and_the_last_is_kept() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let far = |done: u32| Progress::of(f64::from(done), 1000.0);
        let mut times = 0;
        for done in 1..=1000 {
            let at = begun + Duration::from_millis(done.into());
            times += u32::from(told.due(far(done), at).is_some());
        }
        assert_eq!(times, TOLD_FREELY + (1000 - TOLD_FREELY) / 50);
        assert_eq!(told.left.take(), Some(far(1000)));
        let later = begun + Duration::from_secs(9);
        assert_eq!(told.due(far(900), later), None, "it grows");
        assert_eq!(told.due(far(1001), later), Some(far(1001)));
    }
}

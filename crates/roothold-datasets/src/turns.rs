//! Work in parts that the partitions of a scan take in turn: whoever has done one takes the next that
//! nobody has, so that all of them end at about the same time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The parts of one scan.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    parts: Vec<T>,
    round: Mutex<Round<T>>,
}

/// One execution: which partitions take part in it, and the parts that they take.
#[derive(Debug)]
struct Round<T> {
    has_begun: Vec<bool>,
    left: Queue<T>,
}

/// The parts that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Queue<T>(Arc<Mutex<VecDeque<T>>>);

impl<T> Queue<T> {
    pub(crate) fn next(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl<T: Clone> Round<T> {
    fn new(parts: &[T], partitions: usize) -> Self {
        let left = Queue(Arc::new(Mutex::new(parts.iter().cloned().collect())));
        Self { has_begun: vec![false; partitions], left }
    }
}

impl<T: Clone> Turns<T> {
    pub(crate) fn new(parts: Vec<T>, partitions: usize) -> Self {
        let round = Mutex::new(Round::new(&parts, partitions));
        Self { parts, round }
    }

    /// All parts.
    pub(crate) fn parts(&self) -> &[T] {
        &self.parts
    }

    /// The parts of the execution that a partition takes part in: another one each time.
    pub(crate) fn join(&self, partition: usize) -> Queue<T> {
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if round.has_begun.get(partition).is_none_or(|has_begun| *has_begun) {
            *round = Round::new(&self.parts, round.has_begun.len());
        }
        if let Some(has_begun) = round.has_begun.get_mut(partition) {
            *has_begun = true;
        }
        Queue(Arc::clone(&round.left.0))
    }

    /// The same parts, of which nobody has taken one.
    pub(crate) fn again(&self) -> Self {
        let partitions = self.round.lock().unwrap_or_else(PoisonError::into_inner).has_begun.len();
        Self::new(self.parts.clone(), partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_share_the_parts_of_one_execution() {
        let turns = Turns::new(vec![1, 2, 3], 2);
        let (one, two) = (turns.join(0), turns.join(1));
        assert_eq!(
            (one.next(), two.next(), one.next(), two.next()),
            (Some(1), Some(2), Some(3), None)
        );
        let again = turns.join(0);
        assert_eq!(again.next(), Some(1), "a partition that begins again begins another execution");
        assert_eq!(turns.again().join(1).next(), Some(1));
    }
}

//! The memory that queries share.
//!
//! As DataFusion's fair pool, but who can spill to disk leaves a part of the pool to who cannot: a
//! sort that has spilled needs memory to merge what it wrote, and fails if others of its kind have
//! taken the rest meanwhile.
//!
//! **Invariant**: who can spill holds at most three quarters, each an equal part of what is not taken
//! by who cannot; all together hold at most the whole, but for what is taken without asking.

use std::fmt::{self, Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

#[derive(Debug)]
pub(super) struct SharedPool {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// How many can spill.
    spillers: usize,
    by_spillers: usize,
    by_others: usize,
}

impl SharedPool {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most that one who can spill may hold.
    fn share(&self, held: &Held) -> usize {
        let free = self.bytes_max.saturating_sub(held.by_others);
        free.min(self.bytes_max / 4 * 3) / held.spillers.max(1)
    }
}

impl Held {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if reservation.consumer().can_spill() { &mut self.by_spillers } else { &mut self.by_others }
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.held().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.held().spillers -= usize::from(consumer.can_spill());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.held().of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.held().of(reservation) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut held = self.held();
        let free = self.bytes_max.saturating_sub(held.by_spillers + held.by_others);
        let most = if reservation.consumer().can_spill() {
            self.share(&held).saturating_sub(reservation.size()).min(free)
        } else {
            free
        };
        if additional > most {
            let who = reservation.consumer().name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{who} asks for {additional} bytes besides {}, and may have {most}",
                reservation.size()
            )));
        }
        *held.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let held = self.held();
        held.by_spillers + held.by_others
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl Display for SharedPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "shared({} bytes)", self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_can_spill_leaves_room_for_who_cannot() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(100));
        let spiller = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (one, two) = (spiller("one"), spiller("two"));
        one.try_grow(37).unwrap();
        two.try_grow(37).unwrap();
        assert!(one.try_grow(1).is_err(), "half of three quarters");
        let merge = MemoryConsumer::new("merge").register(&pool);
        merge.try_grow(26).unwrap();
        assert!(merge.try_grow(1).is_err(), "the whole is taken");
        assert_eq!(pool.reserved(), 100);
        drop(one);
        merge.try_grow(37).unwrap();
        assert!(two.try_grow(1).is_err(), "others have taken of it");
        drop((two, merge));
        assert_eq!(pool.reserved(), 0);
        let alone = spiller("alone");
        alone.try_grow(75).unwrap();
        assert!(alone.try_grow(1).is_err());
    }
}

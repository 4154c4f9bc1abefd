//! How a subscription gets from the call that makes it to the request that lasts as long as it.
//!
//! A call answers with a value that goes through the protocol's types, and a subscription is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::subscription::Subscription;

/// The slots of requests whose call is running.
#[derive(Default, Clone)]
pub(super) struct Slots(Arc<Mutex<Filled>>);

#[derive(Default)]
struct Filled {
    next: u64,
    slots: HashMap<u64, Option<Subscription>>,
}

/// The slot of one request; what is still in it goes with it.
pub(super) struct Slot {
    slots: Slots,
    pub(super) id: u64,
}

impl Slots {
    pub(super) fn new_slot(&self) -> Slot {
        let mut filled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = filled.next;
        filled.next += 1;
        filled.slots.insert(id, None);
        Slot { slots: self.clone(), id }
    }

    /// Fills a slot, unless its request is gone: then the subscription is, too.
    pub(super) fn fill(&self, id: u64, subscription: Subscription) {
        let mut filled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = filled.slots.get_mut(&id) {
            *slot = Some(subscription);
        }
    }
}

impl Slot {
    pub(super) fn take(&self) -> Option<Subscription> {
        let mut filled = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        filled.slots.get_mut(&self.id).and_then(Option::take)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut filled = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = filled.slots.remove(&self.id);
        // Its own drop takes other locks.
        drop(filled);
        drop(left);
    }
}

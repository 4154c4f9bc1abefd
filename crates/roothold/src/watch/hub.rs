//! What all subscriptions share: their number, and the kernel's hints, handed to whom they are for.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use roothold_core::files::{Hint, HintId, Hints};
use roothold_core::{Fault, FaultKind, Principal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::sessions::Sessions;
use super::slot::Slots;
use super::tool_list::ToolList;
use crate::config::Limits;
use crate::telemetry::described::{self, Describe as _};

/// How many looks of all subscriptions run at once: they must not take the threads of calls.
const LOOKS_MAX: usize = 2;

/// A URI of a subscription: which subscription, and which of its URIs.
type Mark = (u64, usize);

/// What all subscriptions share.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    pub(super) slots: Slots,
    pub(super) looks: Arc<Semaphore>,
    pub(super) sessions: Sessions,
    pub(crate) tool_list: ToolList,
    /// Whether clients of older revisions have sessions over HTTP.
    pub(crate) has_sessions: bool,
    /// Cancelled when subscriptions are to end with their result.
    pub(crate) end: CancellationToken,
    open: Gauge,
    pub(super) told: Counter,
    reader: OnceLock<Option<AbortOnDropHandle<()>>>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    hints: OnceLock<Option<AsyncFd<Hints>>>,
    subscriptions_max: usize,
    of_principal_max: usize,
    uris_max: usize,
}

#[derive(Default)]
struct State {
    next: u64,
    uris: usize,
    of_principals: HashMap<Arc<str>, usize>,
    boxes: HashMap<u64, Arc<Mailbox>>,
    hinted: HashMap<HintId, BTreeSet<Mark>>,
}

/// The URIs of one subscription that it is time to look at.
#[derive(Default)]
pub(super) struct Mailbox {
    due: Mutex<BTreeSet<usize>>,
    everything: std::sync::atomic::AtomicBool,
    pub(super) wake: Notify,
}

impl Mailbox {
    fn mark(&self, uri: usize) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(uri);
        self.wake.notify_one();
    }

    fn mark_everything(&self) {
        self.everything.store(true, std::sync::atomic::Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Takes the marks; `None` means all URIs.
    pub(super) fn take(&self) -> Option<BTreeSet<usize>> {
        let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
        let everything = self.everything.swap(false, std::sync::atomic::Ordering::Relaxed);
        (!everything).then_some(due)
    }
}

/// The place of a subscription among those that there may be; free again when it is dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    open: Gauge,
    principal: Arc<str>,
    uris: usize,
    pub(super) id: u64,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Hub {
    pub(crate) fn new(limits: &Limits, has_sessions: bool, tools_change: bool) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            hints: OnceLock::new(),
            subscriptions_max: limits.subscriptions_max,
            of_principal_max: limits.subscriptions_per_principal_max,
            uris_max: limits.watches_max,
        };
        Self {
            shared: Arc::new(shared),
            slots: Slots::default(),
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            sessions: Sessions::default(),
            tool_list: ToolList::new(tools_change),
            has_sessions,
            end: CancellationToken::new(),
            open: Gauge::default(),
            told: Counter::default(),
            reader: OnceLock::new(),
        }
    }

    /// Other rights are in force from now on: what clients list and what they watch may be different.
    pub(crate) fn rights_changed(&self) {
        self.tool_list.changed();
        self.shared.lock().look_at_everything();
    }

    /// A client was told of something.
    pub(crate) fn told(&self) {
        self.told.inc();
    }

    /// Adds the metrics of subscriptions to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.describe(&described::SUBSCRIPTIONS, self.open.clone());
        registry.describe(&described::NOTIFICATIONS, self.told.clone());
    }

    /// Takes a place for a subscription to so many URIs.
    ///
    /// # Errors
    /// `Busy`, if this principal or all together have as many as they may.
    pub(super) fn place(&self, principal: &Principal, uris: usize) -> Result<Place, Fault> {
        self.read_hints();
        let busy = |text: &str| Err(Fault::new(FaultKind::Busy, text));
        let mut state = self.shared.lock();
        let of_principal = state.of_principals.get(principal.name()).copied().unwrap_or(0);
        if of_principal >= self.shared.of_principal_max {
            return busy(&format!(
                "you have as many subscriptions as you may, {}; end one, add its URIs to another, \
                 or ask the operator to raise limits.subscriptions_per_principal_max",
                self.shared.of_principal_max
            ));
        }
        if state.boxes.len() >= self.shared.subscriptions_max
            || state.uris.saturating_add(uris) > self.shared.uris_max
        {
            return busy(
                "all places for subscriptions are taken; try again later, ask again from time to time, or ask \
                 the operator to raise limits.subscriptions_max or limits.watches_max",
            );
        }
        let id = state.next;
        state.next += 1;
        state.uris += uris;
        *state.of_principals.entry(principal.shared_name()).or_default() += 1;
        let mailbox = Arc::<Mailbox>::default();
        state.boxes.insert(id, Arc::clone(&mailbox));
        self.open.inc();
        let (shared, principal) = (Arc::clone(&self.shared), principal.shared_name());
        Ok(Place { shared, open: self.open.clone(), principal, uris, id, mailbox })
    }

    /// Begins to read the kernel's hints, once there is somebody to hand them to.
    fn read_hints(&self) {
        self.reader.get_or_init(|| {
            let source = Hints::new().and_then(readable);
            let source = source.inspect_err(|error| {
                tracing::warn!(%error, "no hints of changes from the kernel; files are looked at from time to time");
            });
            let works = source.is_ok();
            // Nobody else sets it.
            let _ = self.shared.hints.set(source.ok());
            works.then(|| {
                AbortOnDropHandle::new(tokio::spawn(hand_over(Arc::clone(&self.shared))))
            })
        });
    }
}

#[expect(
    deprecated,
    reason = "what its successor has its caller promise, Hints does: it owns its descriptor and keeps it"
)]
fn readable(hints: Hints) -> std::io::Result<AsyncFd<Hints>> {
    AsyncFd::with_interest(hints, Interest::READABLE)
}

/// Hands hints over for as long as the source can be read.
async fn hand_over(shared: Arc<Shared>) {
    let Some(Some(source)) = shared.hints.get() else { return };
    while let Ok(mut ready) = source.readable().await {
        let read = ready.try_io(|source| source.get_ref().read(|hint| shared.hand(hint)));
        if let Ok(Err(error)) = read {
            tracing::warn!(%error, "the kernel's hints cannot be read any more");
            return;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand(&self, hint: Hint) {
        let mut state = self.lock();
        let marks = match hint {
            Hint::Lost => return state.look_at_everything(),
            Hint::Changed(id) => state.hinted.get(&id).cloned(),
            Hint::Gone(id) => state.hinted.remove(&id),
        };
        for (subscription, uri) in marks.unwrap_or_default() {
            if let Some(mailbox) = state.boxes.get(&subscription) {
                mailbox.mark(uri);
            }
        }
    }
}

impl Place {
    /// Has hints on these handles, and on those of `before` no more, lead to a URI. Tells on which
    /// it will, and whether on all.
    pub(super) fn hint(
        &self,
        uri: usize,
        before: &[HintId],
        handles: &[OwnedFd],
    ) -> (Vec<HintId>, bool) {
        let Some(Some(source)) = self.shared.hints.get() else { return (Vec::new(), false) };
        // Adding and removing take turns: what one adds is not what the other removes.
        let mut state = self.shared.lock();
        let added = handles.iter().map_while(|handle| source.get_ref().add(handle).ok());
        let ids: Vec<HintId> = added.collect();
        for id in &ids {
            state.hinted.entry(*id).or_default().insert((self.id, uri));
        }
        for id in before.iter().filter(|id| !ids.contains(id)) {
            state.forget(source.get_ref(), *id, (self.id, uri));
        }
        let all = ids.len() == handles.len();
        (ids, all)
    }
}

impl State {
    fn look_at_everything(&self) {
        self.boxes.values().for_each(|mailbox| mailbox.mark_everything());
    }

    fn forget(&mut self, source: &Hints, id: HintId, mark: Mark) {
        let Some(marks) = self.hinted.get_mut(&id) else { return };
        marks.remove(&mark);
        if marks.is_empty() {
            self.hinted.remove(&id);
            source.remove(id);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.boxes.remove(&self.id);
        state.uris -= self.uris;
        if let Some(count) = state.of_principals.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                state.of_principals.remove(&self.principal);
            }
        }
        if let Some(Some(source)) = self.shared.hints.get() {
            let mine = |marks: &BTreeSet<Mark>| {
                marks.range((self.id, 0)..=(self.id, usize::MAX)).copied().collect::<Vec<_>>()
            };
            let all: Vec<(HintId, Mark)> = state
                .hinted
                .iter()
                .flat_map(|(id, marks)| mine(marks).into_iter().map(|mark| (*id, mark)))
                .collect();
            for (id, mark) in all {
                state.forget(source.get_ref(), id, mark);
            }
        }
        self.open.dec();
    }
}

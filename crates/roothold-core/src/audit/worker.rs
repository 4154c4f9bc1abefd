//! The log's own thread: writes out what has waited, and syncs what was written.
//!
//! It ticks only while there is something to do and sleeps otherwise, so an idle server stays
//! idle. It ends when the log closes or latches; errors reach the callers through the latch, and so does its own end
//! where that is a panic: nothing would be synced any more.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::commit::Shared;

/// A pending line is written after at most two of these.
const TICK: Duration = Duration::from_millis(50);

pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("audit".to_owned()).spawn(move || run(&shared))
}

/// Latches the log when its thread ends in a panic.
struct LatchOnPanic<'a>(&'a Shared);

impl Drop for LatchOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.latch("the log's thread failed");
        }
    }
}

fn run(shared: &Shared) {
    let _latching = LatchOnPanic(shared);
    let mut dirty_since: Option<Instant> = None;
    while let Some(pending_seq) = wait(shared, dirty_since.is_none()) {
        if shared.write_to(pending_seq).is_err() {
            return;
        }
        let (written, synced) = shared.progress();
        if written == synced {
            dirty_since = None;
            continue;
        }
        let since = *dirty_since.get_or_insert_with(Instant::now);
        // Two ticks early: one passed before the line was noticed, one may pass until the next look.
        if since.elapsed() + 2 * TICK >= shared.options.fsync_interval {
            dirty_since = None;
            if shared.sync_to(written).is_err() {
                return;
            }
        }
    }
}

/// Waits for the next tick, or for the first line if there is nothing to do. Returns the number
/// of the last line, or `None` when the log is closing or has failed.
fn wait(shared: &Shared, clean: bool) -> Option<u64> {
    let mut pending = shared.lock_pending().ok()?;
    let (written, synced) = shared.progress();
    if clean && pending.lines.is_empty() && written == synced && !pending.closing {
        pending.idle = true;
        pending = shared.wake.wait_while(pending, |p| p.idle && !p.closing).ok()?;
        pending.idle = false;
    }
    // Told to hurry while it was at work, it would miss being woken.
    if !pending.closing && !pending.hurried {
        pending = shared.wake.wait_timeout(pending, TICK).ok()?.0;
    }
    (!pending.closing && !shared.is_latched()).then(|| pending.last_seq())
}

//! What is kept in memory for later calls is dropped when nobody asks for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::call::Engine;

/// How often it is looked for; far below the minutes for which something is kept.
const EVERY: Duration = Duration::from_secs(30);

/// Looks now and then until what it returns is dropped; wants to be called inside of a runtime.
pub(super) fn watch(engine: Arc<Engine>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let engine = Arc::clone(&engine);
            // Giving back a hundred thousand allocations takes a moment; it is no work for here.
            let _ = tokio::task::spawn_blocking(move || engine.drop_idle()).await;
        }
    }))
}

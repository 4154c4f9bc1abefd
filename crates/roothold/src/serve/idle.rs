//! What is kept in memory for later calls is dropped when nobody asks for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::builder::Roothold;

/// How often it is looked for, unless something is kept for less than that.
const EVERY_MAX: Duration = Duration::from_secs(30);

/// Looks now and then until what it returns is dropped; wants to be called inside of a runtime.
pub(super) fn watch(server: &Roothold) -> AbortOnDropHandle<()> {
    let engine = Arc::clone(&server.engine);
    let every = EVERY_MAX.min(Duration::from_secs(server.config.cache.idle_seconds.max(1)));
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let engine = Arc::clone(&engine);
            // Giving back a hundred thousand allocations takes a moment; it is no work for here.
            let _ = tokio::task::spawn_blocking(move || engine.drop_idle()).await;
        }
    }))
}

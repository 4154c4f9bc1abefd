//! Looks whether the audit log can be written, and begins another file where it cannot.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::builder::Roothold;
use crate::call::Engine;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it takes at most until it is tried again.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Looks now and then until what it returns is dropped; wants to be called inside of a runtime.
pub(super) fn watch(server: &Roothold) -> AbortOnDropHandle<()> {
    let engine = Arc::clone(&server.engine);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut wait = LOOK_EVERY;
        loop {
            tokio::time::sleep(wait).await;
            let renewed = engine.audit.is_healthy() || renew(&engine).await;
            wait = if renewed { LOOK_EVERY } else { (wait * 2).min(AGAIN_MAX) };
        }
    }))
}

/// Begins another file, after a moment in which whoever watches can see that none can be written.
async fn renew(engine: &Arc<Engine>) -> bool {
    tokio::time::sleep(LOOK_EVERY).await;
    let engine = Arc::clone(engine);
    let renewed = tokio::task::spawn_blocking(move || engine.audit.renew()).await;
    match renewed {
        Ok(Ok(true)) => tracing::warn!("the audit log goes on in a new file"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "the audit log cannot be written, so every call is refused");
            return false;
        }
        // The runtime ends.
        Err(_) => return false,
    }
    true
}

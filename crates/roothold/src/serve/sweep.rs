//! What writes left that a crash cut off is removed while the server answers already: the logs that
//! tell of it may be large, and nothing that a caller sees depends on it.

use std::sync::Arc;

use roothold_core::files::sweep_left;

use crate::builder::Roothold;

/// Begins to look for it; wants to be called inside of a runtime. The look is bounded, and a stop
/// does not wait for it: the next start looks again.
pub(super) fn begin(server: &Roothold) {
    let engine = Arc::clone(&server.engine);
    tokio::task::spawn_blocking(move || {
        let Ok(log) = engine.audit.current() else { return };
        let swept = sweep_left(&engine.rights.now().policy, &log.left_by_others());
        if swept > 0 {
            tracing::warn!(files = swept, "removed temporary files of writes that a crash cut off");
        }
    });
}

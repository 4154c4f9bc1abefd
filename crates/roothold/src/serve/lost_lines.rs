//! Says in the log, once it is read again, how many of its lines were lost.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::telemetry::log_lines_lost;

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks now and then until what it returns is dropped; wants to be called inside of a runtime.
pub(super) fn watch() -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async {
        let mut told = 0;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let lost = log_lines_lost();
            if lost > told {
                // If this is lost as well, it is one more to tell.
                tracing::warn!(
                    lines = lost - told,
                    "log lines were lost: nobody read them in time"
                );
                told = lost;
            }
        }
    }))
}

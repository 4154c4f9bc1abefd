//! Begins another file of the audit log where one has grown or cannot be written any more, and ends those
//! before it.
//!
//! Whether there is room again, or a file descriptor, is asked every few seconds, since somebody waits for that who
//! has just made some; a disk that fails in another way is tried less and less often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roothold_core::audit::AuditError;
use rustix::io::Errno;
use tokio_util::task::AbortOnDropHandle;

use crate::audit::{RenewError, Why};
use crate::builder::Roothold;
use crate::call::Engine;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it takes at most until it is tried again, and said once more that it fails.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Looks now and then until what it returns is dropped; wants to be called inside of a runtime.
pub(super) fn watch(server: &Roothold) -> AbortOnDropHandle<()> {
    let engine = Arc::clone(&server.engine);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut patience = Patience::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(patience.wait) => {}
                () = engine.audit.grown(), if patience.tried == 0 => {}
            }
            if !engine.audit.wants_care() {
                patience = Patience::default();
                continue;
            }
            if patience.tried == 0 && !engine.audit.is_healthy() {
                // A moment in which whoever watches can see that none can be written.
                tokio::time::sleep(LOOK_EVERY).await;
            }
            match renew(&engine).await {
                Ok(()) => patience = Patience::default(),
                Err(error) => patience.failed(&error, engine.audit.is_healthy()),
            }
        }
    }))
}

/// Begins another file if one is due.
async fn renew(engine: &Arc<Engine>) -> Result<(), RenewError> {
    let engine = Arc::clone(engine);
    match tokio::task::spawn_blocking(move || engine.audit.renew()).await {
        Ok(Ok(Some(Why::Failed))) => tracing::warn!("the audit log goes on in a new file"),
        Ok(Ok(Some(Why::Grown))) => tracing::info!("the audit log goes on in a new file"),
        Ok(Err(error)) => return Err(error),
        // Nothing was due, or the runtime ends.
        Ok(Ok(None)) | Err(_) => {}
    }
    Ok(())
}

/// How long to wait for the next look, and when it was said last that it fails.
struct Patience {
    wait: Duration,
    tried: u32,
    said: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wait: LOOK_EVERY, tried: 0, said: None }
    }
}

impl Patience {
    fn failed(&mut self, error: &RenewError, is_healthy: bool) {
        self.tried += 1;
        if !is_used_up(error) {
            self.wait = (self.wait * 2).min(AGAIN_MAX);
        }
        if self.said.is_none_or(|said| said.elapsed() >= AGAIN_MAX) {
            self.said = Some(Instant::now());
            if is_healthy {
                tracing::warn!(%error, "no new file of the audit log can be begun, so the one there is grows on");
            } else {
                tracing::error!(%error, "the audit log cannot be written, so every call is refused");
            }
        }
    }
}

/// Whether there is none left of what others give back.
fn is_used_up(error: &RenewError) -> bool {
    let RenewError::Log(AuditError::Open(error)) = error else { return false };
    let errno = Errno::from_io_error(error);
    error.kind() == std::io::ErrorKind::StorageFull
        || matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn room_is_asked_for_often_and_a_disk_that_fails_is_tried_less_and_less() {
        let opened = |error: Error| RenewError::Log(AuditError::Open(Arc::new(error)));
        let mut patience = Patience::default();
        for _ in 0..100 {
            for errno in [Errno::NOSPC, Errno::MFILE, Errno::NFILE] {
                patience.failed(&opened(errno.into()), true);
                assert_eq!(patience.wait, LOOK_EVERY);
            }
        }
        patience.failed(&opened(ErrorKind::StorageFull.into()), true);
        assert_eq!(patience.wait, LOOK_EVERY);
        patience.failed(&opened(Errno::IO.into()), false);
        assert_eq!(patience.wait, 2 * LOOK_EVERY);
        for _ in 0..100 {
            patience.failed(&RenewError::Held, true);
        }
        assert_eq!(patience.wait, AGAIN_MAX);
    }
}

//! How far the audit log's chain has come, told to the store of jobs. Whoever would cut the log off at
//! an earlier line, or write it anew, must change the store as well; see `roothold audit verify`.

use std::sync::Arc;
use std::time::Duration;

use roothold_core::audit::Head;
use roothold_state::{ChainHead, StateStore, UnixMillis};
use tokio_util::sync::CancellationToken;

use super::JobMetrics;
use super::events::StoreFailed;
use crate::call::Engine;

/// How often the store is told, if there are new lines.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// Tells the store from now on, and once more at `drain`.
pub(super) async fn keep<S: StateStore>(
    engine: Arc<Engine>,
    replica: String,
    (store, metrics): (Arc<S>, JobMetrics),
    drain: CancellationToken,
) {
    let mut kept = 0;
    loop {
        let ends = drain.is_cancelled();
        match newest(&engine).await {
            Some(head) if head.seq > kept => {
                let seq = head.seq;
                match store.put_chain_head(chain_head(&engine, &replica, head)).await {
                    Ok(()) => kept = seq,
                    Err(error) => {
                        StoreFailed { during: "chain_head", error: &error }.emit(&metrics);
                    }
                }
            }
            _ => {}
        }
        if ends {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(KEEP_EVERY) => {}
            () = drain.cancelled() => {}
        }
    }
}

/// The last line that is on the disk; it may have to be waited for.
async fn newest(engine: &Arc<Engine>) -> Option<Head> {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || engine.audit.flush().ok().map(|()| engine.audit.head()))
        .await
        .ok()
        .flatten()
}

fn chain_head(engine: &Engine, replica: &str, Head { seq, hash }: Head) -> ChainHead {
    let chain = engine.audit.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The store sets the time.
    ChainHead { replica: replica.to_owned(), chain, seq, hash, at: UnixMillis(0) }
}

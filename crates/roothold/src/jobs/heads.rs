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
    let mut kept = (String::new(), 0);
    loop {
        let ends = drain.is_cancelled();
        match newest(&engine).await {
            // A log that could not be written goes on in another file, which begins at 1.
            Some((chain, head)) if chain != kept.0 || head.seq > kept.1 => {
                let told = (chain.clone(), head.seq);
                match store.put_chain_head(chain_head(&replica, chain, head)).await {
                    Ok(()) => kept = told,
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

/// The log's file and its last line that is on the disk, which may have to be waited for.
async fn newest(engine: &Engine) -> Option<(String, Head)> {
    let log = engine.audit.current().ok()?;
    let newest = move || {
        log.flush().ok()?;
        let file = log.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Some((file, log.head()))
    };
    tokio::task::spawn_blocking(newest).await.ok().flatten()
}

fn chain_head(replica: &str, chain: String, Head { seq, hash }: Head) -> ChainHead {
    // The store sets the time.
    ChainHead { replica: replica.to_owned(), chain, seq, hash, at: UnixMillis(0) }
}

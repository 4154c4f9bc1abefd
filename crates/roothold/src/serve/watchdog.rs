//! Tells the service manager again and again that calls are answered, if it wants to know: systemd does where a unit
//! says `WatchdogSec=`, and starts a server anew that has said nothing for so long.
//!
//! What is told was found out by a task on the threads that answer calls, which has been through the locks that every
//! call takes. A server that is busy, or whose disks hang, goes on telling: that would not be better elsewhere.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;

use crate::builder::Roothold;

/// How often in the manager's time it is told, so that one late message is none too many.
const TIMES: u32 = 3;

/// Ends the telling when it is dropped.
pub(super) struct Telling(#[expect(dead_code, reason = "its end is what is told")] Sender<()>);

/// Begins, if the manager wants it. Wants a runtime.
pub(super) fn begin(server: &Roothold) -> Option<Telling> {
    let every = sd_notify::watchdog_enabled()? / TIMES;
    let (telling, end) = mpsc::channel();
    let (runtime, engine) = (Handle::current(), Arc::clone(&server.engine));
    let tell = || {
        if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
            tracing::warn!(%error, "the service manager could not be told that the server lives");
        }
    };
    let touch = move || engine.touch();
    // A thread, since the socket's reader may be stuck, and file work may take all others.
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    let begun = thread.spawn(move || tell_again(&end, every, &runtime, touch, tell));
    if let Err(error) = begun {
        tracing::warn!(%error, "the service manager will not be told that the server lives");
    }
    Some(Telling(telling))
}

/// Tells each time that `touch` was run by the runtime in time, until the other end of `end` is gone.
fn tell_again(
    end: &Receiver<()>,
    every: Duration,
    runtime: &Handle,
    touch: impl Fn() + Clone + Send + 'static,
    mut tell: impl FnMut(),
) {
    loop {
        let (done, is_done) = mpsc::sync_channel(1);
        let touch = touch.clone();
        runtime.spawn(async move {
            touch();
            let _ = done.send(());
        });
        if is_done.recv_timeout(every).is_ok() {
            tell();
        }
        if !matches!(end.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    /// Runs it beside what is done with the runtime and with how often it told; how often it did in the end.
    fn told(beside: impl FnOnce(&tokio::runtime::Runtime, &AtomicU32)) -> u32 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (telling, end) = mpsc::channel();
        let (handle, told) = (runtime.handle().clone(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            let told = &told;
            scope.spawn(move || {
                let count = || {
                    told.fetch_add(1, Ordering::Relaxed);
                };
                tell_again(&end, EVERY, &handle, || {}, count);
            });
            beside(&runtime, told);
            drop(telling);
        });
        told.into_inner()
    }

    #[test]
    fn it_is_told_while_the_runtime_works() {
        told(|runtime, told| {
            let until = std::time::Instant::now() + Duration::from_secs(30);
            runtime.block_on(async {
                while told.load(Ordering::Relaxed) < 3 {
                    assert!(std::time::Instant::now() < until, "it is told in vain");
                    tokio::time::sleep(EVERY).await;
                }
            });
        });
    }

    #[test]
    fn it_is_not_told_while_the_runtime_is_stuck() {
        assert_eq!(told(|_, _| std::thread::sleep(EVERY * 10)), 0);
    }
}

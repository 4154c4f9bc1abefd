//! Where requests run: threads of their own, which begin with the first.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roothold_core::Fault;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::meter::Meter;

/// Waiting for a server takes no processor; decrypting what it sends does.
const THREADS: usize = 2;
/// How often whoever waits looks whether it may go on.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A runtime that begins when it is needed. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Net {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runtime: Mutex<Option<Runtime>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // It may be dropped on an async thread, which must not wait for others.
            runtime.shutdown_background();
        }
    }
}

impl Net {
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, Fault> {
        Ok(self.handle()?.spawn(future))
    }

    fn handle(&self) -> Result<Handle, Fault> {
        let mut runtime = self.inner.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let made = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("stores")
            .enable_all()
            .build()
            .map_err(Fault::internal)?;
        let handle = made.handle().clone();
        *runtime = Some(made);
        Ok(handle)
    }

    /// Waits for a request, on a thread that may block.
    ///
    /// # Errors
    /// The request's own; the meter's, and then the request is given up.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        meter: &Meter,
        request: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = sync_channel(1);
        // Nobody waits any more where it cannot be sent.
        let task = self.spawn(async move { drop(sender.send(request.await)) })?;
        loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(came) => return came,
                Err(RecvTimeoutError::Timeout) => {
                    meter.check().inspect_err(|_| task.abort())?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::internal("a request to a store broke off"));
                }
            }
        }
    }

    /// Waits for a request, on any runtime. Dropped, it gives the request up.
    ///
    /// # Errors
    /// The request's own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let mut task = GivenUp(self.spawn(request)?);
        (&mut task.0).await.map_err(Fault::internal)?
    }
}

/// A task that ends with whoever waits for it.
struct GivenUp<T>(JoinHandle<T>);

impl<T> Drop for GivenUp<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

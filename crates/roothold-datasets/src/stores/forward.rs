//! An object from some offset on, one byte after the other, as it comes.
//!
//! **Invariant**: no more than a window of it is in memory, however slowly it is read.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use roothold_core::Fault;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::net::LOOK_EVERY;
use super::object::StoreObject;
use crate::meter::Meter;

/// How much is asked for ahead of whoever reads.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How often reading goes on after it broke off without anything coming in between.
const BREAKS_MAX: u32 = 3;
/// How long the first such pause is.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads an object forward. The request begins when it is needed, and ends with this.
pub(crate) struct Forward {
    object: StoreObject,
    offset: u64,
    left: Bytes,
    coming: Option<Coming>,
}

struct Coming {
    frames: Receiver<Result<Bytes, Fault>>,
    room: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forward {
    pub(crate) fn new(object: &StoreObject, offset: u64) -> Self {
        Self { object: object.clone(), offset, left: Bytes::new(), coming: None }
    }

    /// Reads into `buffer`; 0 only at the end. Blocks.
    ///
    /// # Errors
    /// As [`StoreObject::read_at`].
    ///
    /// # Cancellation
    /// As there.
    pub(crate) fn read(&mut self, buffer: &mut [u8], meter: &Meter) -> Result<usize, Fault> {
        if self.offset >= self.object.size() || buffer.is_empty() {
            return Ok(0);
        }
        if self.left.is_empty() {
            self.left = self.next(meter)?;
        }
        let count = self.left.len().min(buffer.len());
        self.left.copy_to_slice(&mut buffer[..count]);
        self.offset += count as u64;
        Ok(count)
    }

    fn next(&mut self, meter: &Meter) -> Result<Bytes, Fault> {
        let kept = self.object.beginning().filter(|_| self.coming.is_none());
        if let Some(mut kept) = kept
            && let Ok(at) = usize::try_from(self.offset)
            && at < kept.len()
        {
            kept.advance(at);
            return Ok(kept);
        }
        let coming = match &mut self.coming {
            Some(coming) => coming,
            none => none.insert(begin(&self.object, self.offset)?),
        };
        loop {
            match coming.frames.recv_timeout(LOOK_EVERY) {
                Ok(Ok(bytes)) => {
                    coming.room.add_permits(permits_of(&bytes) as usize);
                    return Ok(bytes);
                }
                Ok(Err(fault)) => return Err(fault),
                Err(RecvTimeoutError::Timeout) => meter.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(self.object.cut_off()),
            }
        }
    }
}

/// A frame that is larger than the window has all of it.
fn permits_of(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES)
}

fn begin(object: &StoreObject, offset: u64) -> Result<Coming, Fault> {
    let (sender, frames) = channel();
    let room = Arc::new(Semaphore::new(WINDOW_BYTES as usize));
    let (reading, its_room) = (object.clone(), Arc::clone(&room));
    let task = object.net().spawn(async move {
        if let Err(fault) = pump(&reading, offset, &sender, &its_room).await {
            // Whoever reads may be gone.
            drop(sender.send(Err(fault)));
        }
    })?;
    Ok(Coming { frames, room, task })
}

/// Sends everything from `at` on; where it breaks off, goes on there.
async fn pump(
    object: &StoreObject,
    mut at: u64,
    sender: &Sender<Result<Bytes, Fault>>,
    room: &Semaphore,
) -> Result<(), Fault> {
    let size = object.size();
    let mut breaks = 0;
    while at < size {
        let mut stream = object.stream(at..size).await?;
        let mut fault = object.cut_off();
        while let Some(bytes) = stream.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    fault = object.failed(&error);
                    break;
                }
            };
            at += bytes.len() as u64;
            if at > size {
                return Err(object.changed());
            }
            breaks = 0;
            let permits = room.acquire_many(permits_of(&bytes)).await.map_err(Fault::internal)?;
            permits.forget();
            if sender.send(Ok(bytes)).is_err() {
                return Ok(());
            }
        }
        if at < size {
            breaks += 1;
            if breaks > BREAKS_MAX {
                return Err(fault);
            }
            tokio::time::sleep(PAUSE * breaks).await;
        }
    }
    Ok(())
}

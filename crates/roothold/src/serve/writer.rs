//! The output of a client, and what of it is not written yet.
//!
//! Large answers come in pieces, which go to the kernel as they are: to put them together would take
//! their memory, and the time to fill it, once more.
//!
//! **Invariant**: what was put is written whole and in its order, whoever stops waiting for it: the
//! rest is left to the next writer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use tokio::io::AsyncWriteExt as _;

use super::pipes::Output;

/// How many pieces are written at once: more than an answer has.
const PIECES_MAX: usize = 16;

pub(super) struct Writer {
    output: Option<Output>,
    /// None of them is empty.
    pending: VecDeque<Vec<u8>>,
    /// How much of the first is written.
    written: usize,
}

impl Writer {
    pub(super) fn new(output: Output) -> Self {
        Self { output: Some(output), pending: VecDeque::new(), written: 0 }
    }

    /// Takes pieces to be written behind those that are there.
    pub(super) fn put(&mut self, pieces: impl IntoIterator<Item = Vec<u8>>) {
        self.pending.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
    }

    /// Writes what is pending.
    ///
    /// # Errors
    /// The output's own; it is closed.
    ///
    /// # Cancellation
    /// Safe to drop; what is not written stays pending.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let output = self.output.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while let Some(first) = self.pending.front() {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            slices[0] = IoSlice::new(&first[self.written..]);
            for (slice, piece) in slices.iter_mut().zip(&self.pending).skip(1) {
                *slice = IoSlice::new(piece);
            }
            let used = self.pending.len().min(PIECES_MAX);
            match output.write_vectored(&slices[..used]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                bytes => self.written += bytes,
            }
            while let Some(first) = self.pending.front()
                && first.len() <= self.written
            {
                self.written -= first.len();
                self.pending.pop_front();
            }
        }
        output.flush().await
    }

    pub(super) fn close(&mut self) {
        self.output = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn pieces_come_whole_and_in_order_through_a_narrow_output() {
        for width in [1, 2, 7, 64, 4096] {
            let (output, mut client) = duplex(width);
            let mut writer = Writer::new(Box::new(output));
            let pieces: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; usize::from(n) % 13]).collect();
            let whole = pieces.concat();
            writer.put(pieces);
            let reading = tokio::spawn(async move {
                let mut read = Vec::new();
                client.read_to_end(&mut read).await.unwrap();
                read
            });
            // Whoever waits may give up at any point.
            while futures::poll!(std::pin::pin!(writer.flush())).is_pending() {
                tokio::task::yield_now().await;
            }
            assert!(writer.pending.is_empty() && writer.written == 0);
            writer.close();
            assert!(writer.flush().await.is_err(), "it is closed");
            assert_eq!(reading.await.unwrap(), whole, "{width}");
        }
    }
}

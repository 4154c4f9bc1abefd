//! A stream from a PostgreSQL server that no message above a size gets through.
//!
//! The driver holds a whole message before it looks at it, and the server may send a gigabyte in
//! one: so its length is read here, before there is memory for it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// What stands before a message: its kind, and its length without that.
const HEADER: usize = 5;

/// The error within an `io::Error` that says that a message was too large.
#[derive(Debug, thiserror::Error)]
#[error("a message of the server is larger than {0} bytes")]
pub(super) struct TooLarge(pub(super) usize);

pub(super) struct Framed<S> {
    inner: S,
    meter: Meter,
}

impl<S> Framed<S> {
    pub(super) fn new(inner: S, bytes_max: usize) -> Self {
        Self { inner, meter: Meter { bytes_max, header: [0; HEADER], have: 0, left: 0 } }
    }
}

struct Meter {
    bytes_max: usize,
    header: [u8; HEADER],
    /// How much of the header came.
    have: usize,
    /// How much of the message is still to come.
    left: usize,
}

impl Meter {
    fn look(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.have).min(bytes.len());
            if self.left > 0 || taken == 0 {
                continue;
            }
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                let [_, a, b, c, d] = self.header;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.left = length.saturating_sub(HEADER - 1);
                self.have = 0;
                if self.left > self.bytes_max {
                    return Err(io::Error::other(TooLarge(self.bytes_max)));
                }
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let looked = self.meter.look(&buf.filled()[before..]);
        if looked.is_err() {
            buf.set_filled(before);
        }
        Poll::Ready(looked)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Framed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// TLS whose messages, once they are decrypted, go through [`Framed`].
pub(super) struct FramedTls<T> {
    pub(super) inner: T,
    pub(super) bytes_max: usize,
}

impl<S, T> TlsConnect<S> for FramedTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Framed<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let bytes_max = self.bytes_max;
        let connecting = self.inner.connect(stream);
        Box::pin(async move { Ok(Framed::new(connecting.await?, bytes_max)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(bytes_max: usize) -> Meter {
        Meter { bytes_max, header: [0; HEADER], have: 0, left: 0 }
    }

    fn message(kind: u8, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], &vec![b'D'; body]].concat()
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let bytes =
            [message(b'T', 0), message(b'D', 100), message(b'D', 7), message(b'Z', 1)].concat();
        for step in 1..20 {
            let mut meter = meter(100);
            for piece in bytes.chunks(step) {
                meter.look(piece).unwrap();
            }
            assert_eq!((meter.left, meter.have), (0, 0), "{step}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_ends_the_stream_at_its_header() {
        for step in 1..8 {
            let bytes = [message(b'D', 100), message(b'D', 101)].concat();
            let mut meter = meter(100);
            let seen: Vec<bool> =
                bytes.chunks(step).map(|piece| meter.look(piece).is_ok()).collect();
            let first = seen.iter().position(|ok| !ok).unwrap();
            assert!(first * step <= 105 + HEADER, "{step}");
        }
    }
}

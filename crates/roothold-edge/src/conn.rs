//! One connection's socket, with the times that hyper does not keep apart: the head of a request,
//! an idle connection, a client that reads nothing, and a lingering close.
//!
//! It knows nothing of HTTP; the service tells it when requests begin and end.
//! Invariant: no connection stays open without progress longer than its longest timeout.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The times of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// How long, and for how many bytes, a refused request is still read, so that the client sees the
/// answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A head and a body that together are this small are sent as one piece: `send` with a copy is
/// cheaper to the kernel than `writev` with two pieces.
const JOINED_BYTES_MAX: usize = 2048;

/// What the service and the socket of one connection tell each other.
#[derive(Debug)]
pub(crate) struct ConnState {
    opened: Instant,
    in_flight: AtomicU32,
    /// Milliseconds after `opened` at which the connection became idle, or its head began.
    since: AtomicU64,
    /// Whether bytes of a head have arrived and its request has not begun.
    head: AtomicBool,
    /// Whether `since` is when that head began. Most heads come whole, and need no time.
    head_timed: AtomicBool,
    http2: AtomicBool,
    linger: AtomicBool,
}

impl ConnState {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicU32::new(0),
            since: AtomicU64::new(0),
            // a new connection owes its first head at once
            head: AtomicBool::new(true),
            head_timed: AtomicBool::new(true),
            http2: AtomicBool::new(false),
            linger: AtomicBool::new(false),
        }
    }

    pub(crate) fn request_began(&self) {
        self.head.store(false, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_ended(&self, now: std::time::Instant) {
        self.mark(Instant::from_std(now));
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// Asks for a lingering close: the body of a refused request is still on its way.
    pub(crate) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    fn mark(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.opened).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.since.store(elapsed, Ordering::Relaxed);
    }

    /// Notes bytes that came in.
    fn bytes_arrived(&self) {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return;
        }
        if self.http2.load(Ordering::Relaxed) {
            self.mark(Instant::now());
        } else if !self.head.swap(true, Ordering::Relaxed) {
            self.head_timed.store(false, Ordering::Relaxed);
        }
    }

    /// When the connection is to be closed for not sending, if nothing happens. Asked when there is
    /// nothing more to read just now: a head that is not whole then begins its time.
    fn read_deadline(&self, times: &Times) -> Option<Instant> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        if head && !self.head_timed.swap(true, Ordering::Relaxed) {
            self.mark(Instant::now());
        }
        let wait = if head { times.head } else { times.idle };
        Some(self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed)) + wait)
    }
}

/// Has the kernel ask a silent machine whether it is still there, and end the connection if it is not. A system that
/// cannot do so keeps the connection until it gives up by itself.
pub(crate) fn notice_gone(stream: &tokio::net::TcpStream, within: Duration) {
    use rustix::net::sockopt;
    // Asked for the first time at the middle of the time, and then four times until its end.
    let (first, next) = (within / 2, within / 8);
    let second = Duration::from_secs(1);
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, first.max(second)))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, next.max(second)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
    // That is for connections on which nothing is sent; here what is sent and not acknowledged.
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
    );
}

/// A socket that keeps the times.
pub(crate) struct GuardedIo<S> {
    inner: S,
    state: Arc<ConnState>,
    times: Times,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger_timer: Option<Pin<Box<Sleep>>>,
    write_closed: bool,
    lingered: usize,
}

impl<S> GuardedIo<S> {
    pub(crate) fn new(inner: S, state: Arc<ConnState>, times: Times) -> Self {
        Self {
            inner,
            state,
            times,
            read_timer: None,
            write_timer: None,
            linger_timer: None,
            write_closed: false,
            lingered: 0,
        }
    }

    /// Whether the read deadline has passed. The timer is only moved when it fires or stands later
    /// than the deadline, so that a busy connection does not touch the timer wheel.
    fn poll_read_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.state.read_deadline(&self.times) else {
                return Poll::Pending;
            };
            let timer =
                self.read_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    fn guard_write<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_timer = None;
            return polled;
        }
        let write = self.times.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(write)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads and forgets what the client still sends, within bounds.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.linger_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0_u8; 16 * 1024];
        while self.lingered < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    this.state.bytes_arrived();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(this.poll_read_deadline(context));
                let late = "the client sent no request in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.guard_write(context, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if slices.len() < 2 || total > JOINED_BYTES_MAX {
            let polled = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
            return this.guard_write(context, polled);
        }
        let mut joined = [0_u8; JOINED_BYTES_MAX];
        let mut end = 0;
        for slice in slices {
            joined[end..end + slice.len()].copy_from_slice(slice);
            end += slice.len();
        }
        let polled = Pin::new(&mut this.inner).poll_write(context, &joined[..end]);
        this.guard_write(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.write_closed {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            this.write_closed = true;
        }
        if this.state.linger.load(Ordering::Relaxed) {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const TIMES: Times = Times {
        head: Duration::from_millis(50),
        idle: Duration::from_millis(300),
        write: Duration::from_millis(50),
    };

    #[tokio::test]
    async fn a_head_that_drips_in_is_cut_and_an_idle_connection_later() {
        let (mut client, server) = tokio::io::duplex(64);
        let state = Arc::new(ConnState::new());
        let mut guarded = GuardedIo::new(server, Arc::clone(&state), TIMES);
        let opened = Instant::now();
        let mut byte = [0_u8; 1];
        client.write_all(b"G").await.unwrap();
        guarded.read_exact(&mut byte).await.unwrap();
        let cut = guarded.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert!((50..300).contains(&opened.elapsed().as_millis()));

        state.request_began();
        state.request_ended(std::time::Instant::now());
        let ended = Instant::now();
        guarded.read_exact(&mut byte).await.unwrap_err();
        assert!(ended.elapsed().as_millis() >= 299);
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut() {
        let (_client, server) = tokio::io::duplex(4);
        let state = Arc::new(ConnState::new());
        let mut guarded = GuardedIo::new(server, state, TIMES);
        let opened = Instant::now();
        let cut = guarded.write_all(b"more than four bytes").await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        assert!(opened.elapsed().as_millis() >= 50);
    }
}

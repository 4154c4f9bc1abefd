//! Bodies: reading a request's within its limits, and the ones that answers have.
//!
//! Invariant: no body is ever buffered beyond `body_bytes_max`, nor all of them together beyond
//! `bodies_bytes_max`; what answers may take is in `answers.rs`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::finish::Finish;
use crate::sessions::StreamLease;
use crate::shutdown::Shutdown;
use crate::tasks::{AcceptedTasks, Acknowledging};

/// Why a request's body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRefused {
    TooLarge,
    TooSlow,
    Broken,
    /// All bodies together take what they may.
    Busy,
}

/// What all request bodies together may take; counted in KiB, small ones not at all.
#[derive(Debug)]
pub(crate) struct BodyBudget(Semaphore);

/// A body this small is not counted: the cap on connections bounds those.
const UNCOUNTED_BYTES: usize = 16 * 1024;
const UNIT_BYTES: usize = 1024;

impl BodyBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Semaphore::new((bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS)))
    }
}

/// A whole body, with its part of the budget.
#[derive(Debug)]
pub(crate) struct Collected<'a> {
    pub(crate) bytes: Bytes,
    _held: Option<SemaphorePermit<'a>>,
}

/// Reads a whole body of at most `bytes_max` bytes within `timeout`.
pub(crate) async fn read<B>(
    body: B,
    bytes_max: usize,
    timeout: Duration,
    budget: &BodyBudget,
) -> Result<Collected<'_>, BodyRefused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint();
    if announced.lower() > bytes_max as u64 {
        return Err(BodyRefused::TooLarge);
    }
    let mut collecting = std::pin::pin!(collect(body, bytes_max, budget));
    // Nearly every body came with its head: then no timer is made.
    match futures::poll!(collecting.as_mut()) {
        Poll::Ready(collected) => collected,
        Poll::Pending => {
            let collected = tokio::time::timeout(timeout, collecting).await;
            collected.unwrap_or(Err(BodyRefused::TooSlow))
        }
    }
}

async fn collect<B>(
    mut body: B,
    bytes_max: usize,
    budget: &BodyBudget,
) -> Result<Collected<'_>, BodyRefused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut held: Option<SemaphorePermit<'_>> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyRefused::Broken)?.into_data() else { continue };
        let total = first.len() + whole.len() + data.len();
        if total > bytes_max {
            return Err(BodyRefused::TooLarge);
        }
        if total > UNCOUNTED_BYTES {
            let missing =
                total.div_ceil(UNIT_BYTES) - held.as_ref().map_or(0, SemaphorePermit::num_permits);
            let missing = u32::try_from(missing).map_err(|_| BodyRefused::Busy)?;
            let more = budget.0.try_acquire_many(missing).map_err(|_| BodyRefused::Busy)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            if body.is_end_stream() {
                break;
            }
            continue;
        }
        if whole.is_empty() {
            whole.reserve(total);
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    let bytes = if whole.is_empty() { first } else { whole.freeze() };
    Ok(Collected { bytes, _held: held })
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum EdgeBody {
    /// Everything at once, with its length known.
    Full(Option<Bytes>),
    /// A stream of rmcp's.
    Stream(Box<StreamBody>),
}

/// A streamed body that reports its end.
pub(crate) struct StreamBody {
    inner: BoxBody<Bytes, Infallible>,
    finish: Option<Finish>,
    lease: Option<StreamLease>,
    acknowledging: Option<Acknowledging>,
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl std::fmt::Debug for StreamBody {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("StreamBody")
    }
}

impl EdgeBody {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }

    /// A stream that ends when rmcp ends it.
    pub(crate) fn stream(inner: BoxBody<Bytes, Infallible>) -> Self {
        Self::Stream(Box::new(StreamBody {
            inner,
            finish: None,
            lease: None,
            acknowledging: None,
            until: None,
        }))
    }

    /// Completes the acknowledgement of a subscription by the tasks that were accepted.
    pub(crate) fn acknowledge(&mut self, accepted: Arc<AcceptedTasks>) {
        if let Self::Stream(stream) = self {
            stream.acknowledging = Some(Acknowledging::new(accepted));
        }
    }

    /// Lets a session's standalone stream, which has no end of its own, end when the front drains,
    /// and give back its lease then.
    pub(crate) fn hold(&mut self, lease: Option<StreamLease>, shutdown: &Shutdown) {
        if let Self::Stream(stream) = self {
            stream.lease = lease;
            stream.until = Some(Box::pin(shutdown.draining_token().cancelled_owned()));
        }
    }

    /// The bytes of a whole body.
    pub(crate) fn whole_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Full(bytes) => bytes.as_mut(),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Bytes of a whole body; none for a stream.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Full(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Stream(_) => 0,
        }
    }

    /// Hands over what is to be told when the answer ends: at once for a whole body.
    pub(crate) fn finish_with(&mut self, mut finish: Finish) {
        finish.add_bytes(self.len());
        if let Self::Stream(stream) = self {
            stream.finish = Some(finish);
        }
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(_) => SizeHint::with_exact(self.len()),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}

impl StreamBody {
    /// The next frame, with the acknowledgement completed where that is due.
    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let polled = Pin::new(&mut self.inner).poll_frame(context);
            let Some(acknowledging) = &mut self.acknowledging else { return polled };
            let data = match &polled {
                Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                    Some(data) => {
                        let (data, done) = acknowledging.more(data);
                        if done {
                            self.acknowledging = None;
                        }
                        data
                    }
                    None => return polled,
                },
                Poll::Ready(None) => {
                    let rest = acknowledging.rest();
                    self.acknowledging = None;
                    rest
                }
                _ => return polled,
            };
            // An empty frame would be the end for some.
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.poll_inner(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(finish), Some(data)) = (&mut self.finish, frame.data_ref()) {
                    finish.add_bytes(data.len() as u64);
                }
            }
            Poll::Pending => {
                let until = self.until.as_mut();
                if until.is_some_and(|until| until.as_mut().poll(context).is_ready()) {
                    self.lease = None;
                    return Poll::Ready(None);
                }
            }
            Poll::Ready(_) => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        let budget = BodyBudget::new(0);
        let taken = read(body(), 5, SECOND, &budget).await.unwrap();
        assert_eq!(taken.bytes, Bytes::from_static(b"12345"));
        assert_eq!(read(body(), 4, SECOND, &budget).await.unwrap_err(), BodyRefused::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let frames = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let body = http_body_util::StreamBody::new(frames);
        let budget = BodyBudget::new(0);
        let slow = read(body, 5, Duration::from_millis(10), &budget).await.unwrap_err();
        assert_eq!(slow, BodyRefused::TooSlow);
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let body = || Full::new(Bytes::from(vec![b' '; 20 * 1024]));
        let budget = BodyBudget::new(30 * 1024);
        let first = read(body(), 1 << 20, SECOND, &budget).await.unwrap();
        let second = read(body(), 1 << 20, SECOND, &budget).await.unwrap_err();
        assert_eq!(second, BodyRefused::Busy);
        drop(first);
        assert!(read(body(), 1 << 20, SECOND, &budget).await.is_ok());
    }
}

//! One call's use of one connection to a server: a transaction that is always rolled back unless it
//! is committed, and a session that is made as new, or closed.
//!
//! **Invariant**: nothing of one call is left on a connection for the next. A call that nobody waits
//! for any more is cancelled in the server, and its connection closed.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use roothold_core::{Fault, FaultKind};
use tokio_util::task::TaskTracker;

use crate::engine::Call;
use crate::source::PoolFigures;
use crate::spec::SourceAccess;
use crate::wait::{Until, busy, under, waiting};

/// How long making a session as new may take before it is closed instead.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that nobody used for so long is closed when it is next looked at.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// What became of a message to a server.
pub(crate) struct Failure {
    /// Whether the connection was lost, rather than the message refused.
    pub(crate) lost: bool,
    pub(crate) fault: Fault,
}

/// A server that connections are made to, as the frame of a call needs it.
pub(crate) trait Server: Send + Sync + Sized + 'static {
    /// A connection.
    type Link: Send + Sync + 'static;
    /// What cancels what runs on a connection.
    type Cancel: Send + Sync + 'static;
    /// After this time a server is asked once more to cancel, where it may pass over a request.
    const CANCEL_AGAIN: Option<Duration>;

    /// What runs for its connections.
    fn tasks(&self) -> &TaskTracker;

    fn open(&self) -> impl Future<Output = Result<Self::Link, Fault>> + Send;

    /// Whether a connection that was idle may be used.
    fn is_open(link: &Self::Link) -> bool;

    /// Begins a transaction in which a statement may take `time`.
    fn begin(
        &self,
        link: &mut Self::Link,
        access: SourceAccess,
        time: Duration,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    fn commit(&self, link: &mut Self::Link) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Makes the session as new, rolling back what it is in; whether it is.
    fn renew(
        &self,
        link: &mut Self::Link,
        in_transaction: bool,
    ) -> impl Future<Output = bool> + Send;

    /// Closes the socket at once, so that nothing more is sent.
    fn hang_up(link: &mut Self::Link);

    /// What cancels what runs on the connection, also after it was hung up.
    fn canceller(link: &Self::Link) -> Self::Cancel;

    /// Asks the server to cancel; whether it does is not told.
    fn cancel(&self, cancel: &Self::Cancel) -> impl Future<Output = ()> + Send;
}

/// A connection of the pool.
pub(crate) struct Held<S: Server> {
    link: S::Link,
    /// Whether nothing of an earlier call is on it.
    clean: bool,
}

impl<S: Server> Drop for Held<S> {
    fn drop(&mut self) {
        // A clean one says goodbye by itself.
        if !self.clean {
            S::hang_up(&mut self.link);
        }
    }
}

/// Makes connections for the pool.
pub(crate) struct Connections<S>(Arc<S>);

impl<S: Server> managed::Manager for Connections<S> {
    type Type = Held<S>;
    type Error = Fault;

    async fn create(&self) -> Result<Held<S>, Fault> {
        // Boxed: a call that finds a connection does not carry the making of one.
        let link = Box::pin(self.0.open()).await?;
        Ok(Held { link, clean: true })
    }

    async fn recycle(&self, held: &mut Held<S>, metrics: &Metrics) -> RecycleResult<Fault> {
        let usable = held.clean && S::is_open(&held.link);
        if !usable || metrics.last_used() > IDLE_MAX {
            return Err(RecycleError::message("it is closed, used or old"));
        }
        Ok(())
    }
}

/// What is said once a source is closed.
pub(crate) fn stopping() -> Fault {
    Fault::new(FaultKind::Unavailable, "the server is stopping")
}

/// The connections of a source to its server.
pub(crate) struct Pool<S: Server> {
    idle: managed::Pool<Connections<S>>,
    server: Arc<S>,
    wait: Duration,
}

impl<S: Server> Pool<S> {
    /// A pool without connections. A call waits for one for `wait` at most.
    pub(crate) fn new(server: Arc<S>, connections_max: usize, wait: Duration) -> Self {
        let idle = managed::Pool::builder(Connections(Arc::clone(&server)))
            .max_size(connections_max)
            .build()
            .expect("a pool without time limits of its own needs no runtime");
        Self { idle, server, wait }
    }

    pub(crate) fn server(&self) -> &Arc<S> {
        &self.server
    }

    pub(crate) fn figures(&self) -> PoolFigures {
        let status = self.idle.status();
        PoolFigures {
            connections_max: status.max_size,
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
        }
    }

    /// Lets `work` use a connection in a transaction, which is rolled back after it. The frame of
    /// every call that changes nothing.
    pub(crate) async fn read<T, F>(
        &self,
        call: Call<'_>,
        work: impl FnOnce(Session<S>) -> F + Send,
    ) -> Result<T, Fault>
    where
        F: Future<Output = (Session<S>, Result<T, Fault>)> + Send,
    {
        let (session, until) = self.begin(SourceAccess::Read, call).await?;
        under(call.budget, until, async {
            let (session, done) = work(session).await;
            session.finish(done).await
        })
        .await
    }

    /// Takes a connection and begins a transaction on it, in which a statement may run until the time
    /// that comes with it. A connection that turns out to be lost is replaced once; nothing of the
    /// caller's was sent by then.
    pub(crate) async fn begin(
        &self,
        access: SourceAccess,
        call: Call<'_>,
    ) -> Result<(Session<S>, Until), Fault> {
        let waits_until = Instant::now() + self.wait;
        let mut tries = 0;
        loop {
            let wait = waits_until.saturating_duration_since(Instant::now());
            let mut session = waiting(call.budget, self.take(wait)).await?;
            let until = call.until();
            let server = Arc::clone(&self.server);
            let begins = async {
                let begun = server.begin(session.link_mut(), access, until.left()).await;
                Ok(begun.err())
            };
            let Some(failure) = under(call.budget, until, begins).await? else {
                return Ok((session, until));
            };
            session.close();
            tries += 1;
            if !failure.lost || tries > 1 {
                return Err(failure.fault);
            }
            // What lay idle with it was lost with it, most likely: the server went away.
            self.forget_idle();
        }
    }

    async fn take(&self, wait: Duration) -> Result<Session<S>, Fault> {
        match tokio::time::timeout(wait, self.idle.get()).await {
            Ok(Ok(mut held)) => {
                held.clean = false;
                Ok(Session { held: Some(held), server: Arc::clone(&self.server), runs_on: false })
            }
            Ok(Err(PoolError::Backend(fault))) => Err(fault),
            Ok(Err(PoolError::Closed)) => Err(stopping()),
            Ok(Err(other)) => Err(Fault::internal(other.to_string())),
            Err(_) => Err(busy()),
        }
    }

    /// Closes what is idle: what is asked next is asked on a new connection.
    pub(crate) fn forget_idle(&self) {
        self.close_idle(Duration::ZERO);
    }

    /// Closes what nobody used for `unused_for`.
    pub(crate) fn close_idle(&self, unused_for: Duration) {
        self.idle.retain(|_, metrics| metrics.last_used() < unused_for);
    }

    /// Closes every connection, and waits until what runs for them has ended.
    pub(crate) async fn close(&self) {
        self.idle.close();
        self.server.tasks().close();
        self.server.tasks().wait().await;
    }
}

/// A connection in a transaction.
///
/// # Cancellation
/// Dropped before [`Session::end`], it asks the server to cancel what runs, and closes the
/// connection.
pub(crate) struct Session<S: Server> {
    held: Option<Object<Connections<S>>>,
    server: Arc<S>,
    runs_on: bool,
}

const TAKEN: &str = "it is taken only by what consumes the session";

impl<S: Server> Session<S> {
    pub(crate) fn link(&self) -> &S::Link {
        &self.held.as_ref().expect(TAKEN).link
    }

    pub(crate) fn link_mut(&mut self) -> &mut S::Link {
        &mut self.held.as_mut().expect(TAKEN).link
    }

    pub(crate) fn server(&self) -> &Arc<S> {
        &self.server
    }

    /// Says that the server still sends what is not wanted: the session is cancelled at its end.
    pub(crate) fn note_runs_on(&mut self) {
        self.runs_on = true;
    }

    fn close(&mut self) {
        if let Some(held) = self.held.take() {
            drop(Object::take(held));
        }
    }

    /// Closes the connection at once; nothing runs on it.
    pub(crate) fn close_now(mut self) {
        self.close();
    }

    /// Rolls back and gives the connection back with a session as new; one that cannot be made so
    /// is closed.
    pub(crate) async fn end(self) {
        if !self.runs_on {
            self.leave(true).await;
        }
    }

    /// Ends it as what was done on it ended.
    pub(crate) async fn finish<T>(self, done: Result<T, Fault>) -> Result<T, Fault> {
        match &done {
            Ok(_) => self.end().await,
            Err(fault) => self.end_failed(fault),
        }
        done
    }

    /// Closes the connection after a fault; what may still run is cancelled.
    pub(crate) fn end_failed(mut self, fault: &Fault) {
        let runs =
            matches!(fault.kind(), FaultKind::Timeout | FaultKind::Cancelled | FaultKind::Limit);
        if !runs {
            self.close();
        }
    }

    async fn leave(mut self, in_transaction: bool) {
        let server = Arc::clone(&self.server);
        let renewed = server.renew(self.link_mut(), in_transaction);
        if matches!(tokio::time::timeout(RENEW_TIMEOUT, renewed).await, Ok(true)) {
            if let Some(mut held) = self.held.take() {
                held.clean = true;
            }
        } else {
            self.close();
        }
    }

    /// Commits. It is not broken off: it runs to its end also when nobody waits.
    pub(crate) async fn commit(mut self) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        let tasks = server.tasks().clone();
        let commit = async move {
            let committed = server.commit(self.link_mut()).await;
            match &committed {
                Ok(()) => self.leave(false).await,
                Err(_) => self.close(),
            }
            committed
        };
        let unknown = || {
            let text =
                "the connection was lost while the change was committed: look whether it is there";
            Fault::new(FaultKind::Unavailable, text)
        };
        match tasks.spawn(commit).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) if failure.lost => Err(unknown().with_source(failure.fault)),
            Ok(Err(failure)) => Err(failure.fault),
            Err(_) => Err(unknown()),
        }
    }
}

impl<S: Server> Drop for Session<S> {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let cancel = S::canceller(&held.link);
        if tokio::runtime::Handle::try_current().is_err() {
            drop(Object::take(held));
            return;
        }
        // What is not sent yet must not be, or it would run after the server was told to stop.
        S::hang_up(&mut held.link);
        let server = Arc::clone(&self.server);
        self.server.tasks().spawn(async move {
            server.cancel(&cancel).await;
            // The place in the pool is free once the server knows.
            drop(Object::take(held));
            if let Some(time) = S::CANCEL_AGAIN {
                tokio::time::sleep(time).await;
                server.cancel(&cancel).await;
            }
        });
    }
}

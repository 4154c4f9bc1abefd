//! The state store in one SQLite file: the default, with nothing to install.
//!
//! One thread owns the connection and does one transaction at a time; callers wait for its
//! answers without blocking theirs. Other processes may use the file too: each transaction that
//! writes begins as `IMMEDIATE`, and a look at the file's version finds what they changed.

mod db;
mod heads;
mod lease;
mod owner;
mod row;
mod sweep;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use self::db::Db;
use crate::change::{Bell, Change, Changes};
use crate::error::{OpenError, StateError};
use crate::head::ChainHead;
use crate::id::JobId;
use crate::job::{
    Claimed, Commit, Content, Counts, Directive, Expired, Job, JobPage, Lease, NewJob, Outcome,
    Part, Release, Whose,
};
use crate::limits::Limits;
use crate::store::{Claim, StateStore};
use crate::time::{Clock, SystemClock};

/// How many operations may wait for the thread; more wait before it.
const QUEUE_MAX: usize = 256;
/// How long one operation may take, the wait for the thread included: a disk that hangs must not
/// hold up whoever asks.
const OPERATION_MAX: Duration = Duration::from_secs(30);
/// How often the file is looked at for changes of other processes, while anybody listens.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// A state store in a SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    runner: Runner,
    bell: Bell,
}

enum Runner {
    Thread { queue: mpsc::Sender<Message>, room: Arc<Semaphore> },
    Inline(Mutex<Option<Db>>),
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread { .. } => "Thread",
            Self::Inline(_) => "Inline",
        })
    }
}

enum Message {
    Do(Box<dyn FnOnce(&mut Db) + Send>),
    Close(oneshot::Sender<()>),
}

impl SqliteStore {
    /// Opens the file, which is made if it is not there, readable for its owner alone, and brings its schema up to date.
    /// It must be on a local disk: SQLite's write-ahead log does not work over a network.
    ///
    /// # Errors
    /// [`OpenError`]: it cannot be opened, holds something else, or a newer version used it.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, OpenError> {
        Self::open_with_clock(path, limits, Arc::new(SystemClock))
    }

    /// The same under a clock that need not be the host's.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub fn open_with_clock(
        path: &Path,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let bell = Bell::new();
        let db = Db::open(path, clock, limits, bell.clone())?;
        Self::on_a_thread(db, bell)
    }

    /// Opens a store that is there: nothing is made, and a schema is left as it is.
    ///
    /// # Errors
    /// [`OpenError::Absent`] and [`OpenError::Older`], and as for [`SqliteStore::open`].
    pub fn open_existing(path: &Path, limits: Limits) -> Result<Self, OpenError> {
        let bell = Bell::new();
        let db = Db::open_existing(path, Arc::new(SystemClock), limits, bell.clone())?;
        Self::on_a_thread(db, bell)
    }

    /// A store in memory that is gone with it, under this clock. Nothing in it waits for a disk, so
    /// each operation runs in its caller, within one poll.
    ///
    /// # Errors
    /// [`OpenError`]: a limit is out of its bounds.
    pub fn in_memory(limits: Limits, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let bell = Bell::new();
        let db = Db::in_memory(clock, limits, bell.clone())?;
        Ok(Self { runner: Runner::Inline(Mutex::new(Some(db))), bell })
    }

    fn on_a_thread(db: Db, bell: Bell) -> Result<Self, OpenError> {
        let (queue, waiting) = mpsc::channel();
        // Here and not on the thread: what changes once this returns is noticed.
        let seen = db.file_version();
        std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || serve(db, seen, &waiting))
            .map_err(|error| OpenError::Unreachable(format!("no thread for it: {error}")))?;
        let room = Arc::new(Semaphore::new(QUEUE_MAX));
        Ok(Self { runner: Runner::Thread { queue, room }, bell })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (queue, room) = match &self.runner {
            Runner::Thread { queue, room } => (queue, room),
            Runner::Inline(db) => {
                let mut db = db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                return work(db.as_mut().ok_or(StateError::Closed)?);
            }
        };
        let asked = async {
            let permit = Arc::clone(room).acquire_owned().await.map_err(|_| StateError::Closed)?;
            let (answer, answered) = oneshot::channel();
            let message = Message::Do(Box::new(move |db: &mut Db| {
                // Whoever asked may be gone; what was begun is done all the same.
                let _ = answer.send(work(db));
                drop(permit);
            }));
            queue.send(message).map_err(|_| StateError::Closed)?;
            answered.await.map_err(|_| StateError::Closed)?
        };
        let overdue = |_| Err(StateError::Timeout(OPERATION_MAX));
        tokio::time::timeout(OPERATION_MAX, asked).await.unwrap_or_else(overdue)
    }
}

/// The thread of the store: until it is closed, or dropped.
fn serve(mut db: Db, mut seen: Option<i64>, waiting: &mpsc::Receiver<Message>) {
    loop {
        let message = match waiting.recv_timeout(LOOK_EVERY) {
            Ok(message) => message,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                seen = look(&db, seen);
                match if db.bell.is_heard() { None } else { Some(waiting.recv()) } {
                    None => continue,
                    Some(Ok(message)) => message,
                    Some(Err(_)) => return,
                }
            }
        };
        match message {
            Message::Do(work) => work(&mut db),
            Message::Close(closed) => {
                drop(db);
                let _ = closed.send(());
                return;
            }
        }
    }
}

/// Wakes the listeners if another process changed the file.
fn look(db: &Db, seen: Option<i64>) -> Option<i64> {
    let version = db.file_version();
    if version != seen {
        db.bell.ring(Change::UNKNOWN);
    }
    version
}

impl StateStore for SqliteStore {
    async fn submit(&self, job: NewJob) -> Result<(), StateError> {
        self.run(move |db| db.submit(&job)).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<Claimed>, StateError> {
        let worker = claim.worker.to_owned();
        let kinds: Vec<String> = claim.kinds.iter().map(ToString::to_string).collect();
        let lease = claim.lease;
        self.run(move |db| db.claim(&worker, &kinds, lease)).await
    }

    async fn heartbeat(&self, lease: Lease, extend: Duration) -> Result<Directive, StateError> {
        self.run(move |db| db.heartbeat(lease, extend)).await
    }

    async fn commit(
        &self,
        lease: Lease,
        commit: Commit,
        extend: Duration,
    ) -> Result<Directive, StateError> {
        self.run(move |db| db.commit(lease, &commit, extend)).await
    }

    async fn finish(&self, lease: Lease, outcome: Outcome) -> Result<(), StateError> {
        self.run(move |db| db.finish(lease, &outcome)).await
    }

    async fn release(&self, lease: Lease, release: Release) -> Result<(), StateError> {
        self.run(move |db| db.release(lease, release)).await
    }

    async fn cancel(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        let owner = whose.owner().map(str::to_owned);
        self.run(move |db| db.cancel(job, owner.as_deref())).await
    }

    async fn get(&self, job: JobId, whose: Whose<'_>) -> Result<Job, StateError> {
        let owner = whose.owner().map(str::to_owned);
        self.run(move |db| db.get(job, owner.as_deref())).await
    }

    async fn content(
        &self,
        job: JobId,
        whose: Whose<'_>,
        content: Content,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let owner = whose.owner().map(str::to_owned);
        self.run(move |db| db.content(job, owner.as_deref(), content)).await
    }

    async fn parts(
        &self,
        job: JobId,
        whose: Whose<'_>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Part>, StateError> {
        let owner = whose.owner().map(str::to_owned);
        self.run(move |db| db.parts(job, owner.as_deref(), from, limit)).await
    }

    async fn list(
        &self,
        whose: Whose<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobPage, StateError> {
        let owner = whose.owner().map(str::to_owned);
        self.run(move |db| db.list(owner.as_deref(), before, limit)).await
    }

    async fn expire(&self) -> Result<Expired, StateError> {
        self.run(Db::expire).await
    }

    async fn counts(&self) -> Result<Counts, StateError> {
        self.run(|db| db.counts()).await
    }

    async fn put_chain_head(&self, head: ChainHead) -> Result<(), StateError> {
        self.run(move |db| db.put_chain_head(&head)).await
    }

    async fn chain_heads(&self, replica: Option<&str>) -> Result<Vec<ChainHead>, StateError> {
        let replica = replica.map(str::to_owned);
        self.run(move |db| db.chain_heads(replica.as_deref())).await
    }

    fn changes(&self) -> Changes {
        let changes = self.bell.listen();
        if let Runner::Thread { queue, .. } = &self.runner {
            // The thread may sleep until somebody listens: now somebody does.
            let _ = queue.send(Message::Do(Box::new(|_| {})));
        }
        changes
    }

    async fn check(&self) -> Result<(), StateError> {
        self.run(Db::check).await
    }

    async fn close(&self) {
        match &self.runner {
            Runner::Inline(db) => {
                db.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            }
            Runner::Thread { queue, room } => {
                room.close();
                let (closed, done) = oneshot::channel();
                if queue.send(Message::Close(closed)).is_ok() {
                    let _ = done.await;
                }
            }
        }
    }
}

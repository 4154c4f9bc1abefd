//! The SQLite store: the contract in memory and in a file, and what only a file has.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use roothold_state::{
    Clock, Limits, OpenError, SqliteStore, StateStore, Store, SystemClock, UnixMillis, What, Whose,
};

use crate::contract::{Fixture, chunk, new_job, state_contract};

/// A clock that stands still unless it is told to jump.
#[derive(Debug)]
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000)))
    }

    pub(crate) fn jump(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }
}

struct InMemory {
    store: Store,
    hands: Arc<Hands>,
}

impl Fixture for InMemory {
    type Store = Store;

    async fn start_with(limits: Limits) -> Self {
        let hands = Hands::new();
        let store = SqliteStore::in_memory(limits, Arc::<Hands>::clone(&hands)).unwrap();
        Self { store: Store::Sqlite(store), hands }
    }

    fn store(&self) -> &Store {
        &self.store
    }

    async fn jump(&self, seconds: i64) {
        self.hands.jump(seconds * 1000);
    }
}

mod in_memory {
    super::state_contract!(super::InMemory);
}

struct InFile {
    store: SqliteStore,
    hands: Arc<Hands>,
    _dir: tempfile::TempDir,
}

impl Fixture for InFile {
    type Store = SqliteStore;

    async fn start_with(limits: Limits) -> Self {
        let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
        let clock = Arc::<Hands>::clone(&hands);
        let store =
            SqliteStore::open_with_clock(&dir.path().join("state.db"), limits, clock).unwrap();
        Self { store, hands, _dir: dir }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn jump(&self, seconds: i64) {
        self.hands.jump(seconds * 1000);
    }
}

mod in_file {
    super::state_contract!(super::InFile);
}

fn open(dir: &tempfile::TempDir) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&dir.path().join("state.db"), Limits::default())
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = open(&dir).unwrap();
        let job = new_job("ann");
        store.submit(job.clone()).await.unwrap();
        let claim = roothold_state::Claim {
            worker: "w",
            kinds: crate::contract::KINDS,
            lease: crate::contract::LEASE,
        };
        let lease = store.claim(claim).await.unwrap().unwrap().lease;
        store.commit(lease, chunk(0), crate::contract::LEASE).await.unwrap();
        // Not closed: as after a crash.
        job.id
    };
    let store = open(&dir).unwrap();
    let job = store.get(id, Whose::Of("ann")).await.unwrap();
    assert_eq!((job.next, job.chunks, job.parts), (1, 1, 1));
    assert_eq!(store.parts(id, Whose::Of("ann"), 0, 9).await.unwrap()[0].content, b"part 0");
    store.close().await;
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 1, "closing folds the log into the file: {left:?}");
}

#[tokio::test]
async fn two_processes_see_each_others_jobs_and_are_woken() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(&dir).unwrap(), open(&dir).unwrap());
    let mut changes = two.changes();
    let job = new_job("ann");
    one.submit(job.clone()).await.unwrap();
    let change = tokio::time::timeout(std::time::Duration::from_secs(30), changes.next());
    assert_eq!(change.await.unwrap().unwrap().what, What::Unknown);
    assert_eq!(two.get(job.id, Whose::Anyone).await.unwrap().owner, "ann");
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    store.submit(new_job("ann")).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[test]
fn what_cannot_be_used_is_refused_without_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display().to_string();
    let refused = |name: &str| {
        let error = SqliteStore::open(&dir.path().join(name), Limits::default()).unwrap_err();
        assert!(!error.to_string().contains(&shown), "{error}");
        error.to_string()
    };
    assert!(refused("no/such/directory/state.db").contains("cannot be opened"));
    std::fs::create_dir(dir.path().join("dir")).unwrap();
    assert!(refused("dir").contains("cannot be opened"));
    std::fs::write(dir.path().join("text"), "not a database ".repeat(100)).unwrap();
    assert!(refused("text").contains("no database of SQLite"));
    let other = rusqlite::Connection::open(dir.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(refused("other.db").contains("another program's database"));
}

#[test]
fn a_newer_or_altered_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let path = dir.path().join("state.db");
    let edit = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    edit("INSERT INTO migrations VALUES (99, x'00', 0)");
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("schema version 99"), "{error}");
    edit("DELETE FROM migrations WHERE version = 99; UPDATE migrations SET hash = x'00'");
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("migration 1 is not the one"), "{error}");
}

#[tokio::test]
async fn a_store_of_an_older_schema_is_brought_up_to_date_with_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let job = new_job("ann");
    let store = open(&dir).unwrap();
    store.submit(job.clone()).await.unwrap();
    store.close().await;
    let path = dir.path().join("state.db");
    let edit = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    edit("ALTER TABLE jobs DROP COLUMN about; DELETE FROM migrations WHERE version = 2");
    let error = SqliteStore::open_existing(&path, Limits::default()).unwrap_err();
    assert!(matches!(error, OpenError::Older { found: 1, known: 2 }), "{error}");
    let store = open(&dir).unwrap();
    let found = store.get(job.id, Whose::Of("ann")).await.unwrap();
    assert_eq!((found.kind, found.about), (job.kind, None));
}

#[tokio::test]
async fn what_is_there_is_opened_without_making_or_changing_anything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let existing = || SqliteStore::open_existing(&path, Limits::default());
    assert!(matches!(existing(), Err(OpenError::Absent)));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(existing(), Err(OpenError::Absent)));
    assert_eq!(std::fs::read(&path).unwrap(), b"", "nothing is made of an empty file");
    std::fs::remove_file(&path).unwrap();
    let store = open(&dir).unwrap();
    let job = new_job("ann");
    store.submit(job.clone()).await.unwrap();
    // Beside the server that made it.
    let mut changes = store.changes();
    let second = existing().unwrap();
    assert_eq!(second.get(job.id, Whose::Anyone).await.unwrap().owner, "ann");
    second.cancel(job.id, Whose::Anyone).await.unwrap();
    let change = tokio::time::timeout(std::time::Duration::from_secs(30), changes.next());
    assert_eq!(change.await.unwrap().unwrap().what, What::Unknown);
    second.close().await;
    let edit = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    edit("DELETE FROM migrations");
    let error = existing().unwrap_err();
    assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error}");
    edit("PRAGMA application_id = 7");
    let error = existing().unwrap_err().to_string();
    assert!(error.contains("another program's database"), "{error}");
}

#[test]
fn limits_out_of_their_bounds_are_named() {
    let limits = Limits { running_per_owner_max: 0, ..Limits::default() };
    let error = SqliteStore::in_memory(limits, Arc::new(SystemClock)).unwrap_err().to_string();
    assert_eq!(error, "state.limits: running_per_owner_max must be from 1 to 10000, and is 0");
}

#[tokio::test]
async fn another_programs_lock_is_an_outage_and_not_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.submit(new_job("ann")).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.submit(new_job("ann")).await.unwrap();
}

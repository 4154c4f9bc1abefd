//! SQLite: one file, read in this process.
//!
//! The walls, each of which would do alone for most attacks: the file is opened read-only and as
//! one that is not trusted, an authorizer allows reading of what is shown and nothing else,
//! functions are on a list, lengths and depths are limited, and a handler that SQLite calls all the
//! time ends what is overdue or not waited for. It runs on blocking threads.

mod db;
mod describe;
mod error;
mod functions;
mod guard;
mod open;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use roothold_core::{Budget, Fault, FaultKind};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::db::{Db, Stop, broken};
use self::guard::Phase;
use self::open::Look;
use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::probe::Report;
use crate::source::PoolFigures;
use crate::spec::{SourceSpec, SpecError};
use crate::sql::{self, Dialect};
use crate::wait::{Until, under};

const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";
/// What a query begins with. What else a statement could be would tell by its error what is there.
const QUERIES: &[&str] = &["select", "with", "values"];
/// What a changing statement may begin with.
const BEGINNINGS: &[&str] = &["insert", "update", "delete", "replace", "with"];

pub(crate) struct Sqlite {
    inner: Arc<Inner>,
    places: Arc<Semaphore>,
}

struct Inner {
    spec: Arc<SourceSpec>,
    path: PathBuf,
    idle: Mutex<Vec<Db>>,
}

fn begins(statement: &Statement, with: &[&str]) -> Result<(), Fault> {
    let first = sql::first_word(Dialect::Sqlite, &statement.sql).unwrap_or_default();
    if with.contains(&first.as_str()) {
        return Ok(());
    }
    Err(Fault::invalid(format!("a statement here begins with {}", with.join(", "))))
}

/// Ends the work of a call that nobody waits for any more.
struct Leave(Arc<AtomicBool>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sqlite {
    pub(crate) fn new(spec: &Arc<SourceSpec>) -> Result<Self, SpecError> {
        let inner =
            Inner { spec: Arc::clone(spec), path: open::path(spec)?, idle: Mutex::default() };
        let places = Arc::new(Semaphore::new(spec.connections_max));
        Ok(Self { inner: Arc::new(inner), places })
    }

    /// The file, for whoever builds a wall around the process.
    pub(crate) fn path(&self) -> PathBuf {
        self.inner.path.clone()
    }

    pub(crate) fn pool(&self) -> PoolFigures {
        let connections_max = self.inner.spec.connections_max;
        let in_use = connections_max.saturating_sub(self.places.available_permits());
        PoolFigures { connections_max, open: in_use + self.inner.idle().len(), in_use }
    }

    pub(crate) async fn query(
        &self,
        statement: &Statement,
        window: Window,
        until: Until,
        budget: &Budget,
    ) -> Result<Answer, Fault> {
        begins(statement, QUERIES)?;
        let statement = statement.clone();
        self.run(until, budget, move |inner, db, stop| inner.query(db, &statement, window, stop))
            .await
    }

    pub(crate) async fn explain(
        &self,
        statement: &Statement,
        until: Until,
        budget: &Budget,
    ) -> Result<Plan, Fault> {
        begins(statement, QUERIES)?;
        let (statement, window) =
            (statement.clone(), Window::default().within(&self.inner.spec.limits));
        self.run(until, budget, move |_, db, stop| {
            let answer = db.page(EXPLAIN, &statement, window, stop)?;
            let step = |row: Vec<Value>| {
                let mut row = row.into_iter();
                json!({"id": row.next(), "parent": row.next(), "detail": row.nth(1)})
            };
            let steps: Vec<Value> = answer.rows.into_iter().map(step).collect();
            Ok(Plan { plan: Value::Array(steps), cost: None, cost_max: None, would_run: true })
        })
        .await
    }

    pub(crate) async fn describe(
        &self,
        request: &DescribeRequest,
        until: Until,
        budget: &Budget,
    ) -> Result<Description, Fault> {
        let request = request.clone();
        self.run(until, budget, move |_, db, _| db.describe(&request)).await
    }

    /// There are no roles: that the file opens is all that can be asked.
    pub(crate) async fn probe(&self, until: Until, budget: &Budget) -> Result<Report, Fault> {
        self.run(until, budget, |_, _, _| Ok(Report::default())).await
    }

    pub(crate) async fn execute(
        &self,
        statement: &Statement,
        window: Window,
        dry_run: bool,
        until: Until,
        budget: &Budget,
    ) -> Result<Executed, Fault> {
        begins(statement, BEGINNINGS)?;
        let statement = statement.clone();
        let window = Window { offset: 0, ..window };
        self.run(until, budget, move |_, db, stop| {
            Inner::execute(db, &statement, window, dry_run, stop)
        })
        .await
    }

    /// Runs `work` on a connection and a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        until: Until,
        budget: &Budget,
        work: impl FnOnce(&Inner, &mut Db, &Stop) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let wait = self.inner.spec.limits.wait;
        let place = tokio::time::timeout(wait, Arc::clone(&self.places).acquire_owned());
        let place = under(budget, until, async {
            place
                .await
                .map_err(|_| {
                    Fault::new(
                        FaultKind::Busy,
                        "every connection to this database is in use; try again in a moment",
                    )
                })?
                .map_err(|_| Fault::new(FaultKind::Unavailable, "the server is stopping"))
        })
        .await?;
        let left = Arc::new(AtomicBool::new(false));
        let _leave = Leave(Arc::clone(&left));
        let stop = Stop { budget: budget.clone(), until, left };
        let inner = Arc::clone(&self.inner);
        let working = tokio::task::spawn_blocking(move || {
            // The place is free when the thread is, not when the caller stops waiting.
            let _place = place;
            let mut db = inner.take(&stop)?;
            let done = work(&inner, &mut db, &stop)?;
            inner.give_back(db);
            Ok(done)
        });
        under(budget, until, async {
            working.await.unwrap_or_else(|_| Err(Fault::internal("a statement's thread panicked")))
        })
        .await
    }

    /// Closes what is idle and lets nothing more begin.
    pub(crate) fn close(&self) {
        self.places.close();
        self.inner.idle().clear();
    }
}

impl Inner {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Db>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, stop: &Stop) -> Result<Db, Fault> {
        let look = Look::at(&self.spec, &self.path)?;
        while let Some(mut db) = { self.idle().pop() } {
            if db.look.still_serves(&look) {
                db.watch(stop)?;
                return Ok(db);
            }
        }
        Db::open(&self.spec, &self.path, look, stop)
    }

    fn give_back(&self, db: Db) {
        db.guard.enter(Phase::Ours);
        self.idle().push(db);
    }

    fn query(
        &self,
        db: &mut Db,
        statement: &Statement,
        window: Window,
        stop: &Stop,
    ) -> Result<Answer, Fault> {
        let answer = db.page("", statement, window, stop);
        // Tables that were made since then are known after another look.
        let unknown = matches!(&answer, Err(fault) if fault.kind() == FaultKind::Invalid);
        let changed = !db.serves(&self.spec, &self.path)?;
        if !changed && !unknown {
            return answer;
        }
        if changed {
            *db = Db::open(&self.spec, &self.path, Look::at(&self.spec, &self.path)?, stop)?;
        } else {
            db.learn().map_err(broken)?;
        }
        let answer = db.page("", statement, window, stop);
        if db.serves(&self.spec, &self.path)? {
            return answer;
        }
        Err(Fault::new(FaultKind::Conflict, "the database changes just now; try again"))
    }

    fn execute(
        db: &mut Db,
        statement: &Statement,
        window: Window,
        dry_run: bool,
        stop: &Stop,
    ) -> Result<Executed, Fault> {
        let ours = |db: &Db, sql: &str| {
            db.guard.enter(Phase::Ours);
            db.conn.execute_batch(sql).map_err(broken)
        };
        db.learn().map_err(broken)?;
        ours(db, "BEGIN IMMEDIATE")?;
        // On an error the connection is closed, and with it the transaction.
        let before = db.conn.total_changes();
        db.guard.let_changes_through(true);
        let answer = db.page("", statement, window, stop)?;
        db.guard.let_changes_through(false);
        let rows_affected = db.conn.total_changes() - before;
        if dry_run {
            ours(db, "ROLLBACK")?;
        } else {
            stop.until.check(&stop.budget)?;
            stop.budget.note_effect();
            ours(db, "COMMIT")?;
        }
        let answer = Answer { next_offset: None, ..answer };
        Ok(Executed { rows_affected, answer, dry_run })
    }
}

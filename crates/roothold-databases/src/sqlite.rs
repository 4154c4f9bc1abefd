//! SQLite: one file, read in this process.
//!
//! The walls, each of which would do alone for most attacks: the file is opened read-only and as
//! one that is not trusted, an authorizer allows reading of what is shown and nothing else,
//! functions are on a list, lengths and depths are limited, and a handler that SQLite calls all the
//! time ends what is overdue or not waited for. It runs on blocking threads.

mod catalogue;
mod db;
mod describe;
mod error;
mod functions;
mod guard;
mod open;
mod scan;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use roothold_core::{Fault, FaultKind};
use rusqlite::InterruptHandle;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::db::{Db, Stop};
use self::guard::Phase;
use self::open::Look;
use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::engine::{Answering, Call, Engine};
use crate::probe::Report;
use crate::scan::{Batches, FieldType};
use crate::source::{PoolFigures, SourceReach};
use crate::spec::{SourceAccess, SourceSpec, SpecError};
use crate::sql::{self, Dialect};
use crate::wait::{busy, under, waiting};
use crate::{said, session};

const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";
/// What a query begins with. What else a statement could be would tell by its error what is there.
const QUERIES: &[&str] = &["select", "with", "values"];
/// What has a plan where data can be changed.
const PLANNED: &[&str] = &["select", "with", "values", "insert", "update", "delete", "replace"];
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
    if first == "explain" {
        let text = "explain_query tells the plan of a statement: send it without EXPLAIN";
        return Err(Fault::invalid(text));
    }
    Err(said::begins_with(with))
}

/// The connection that works for a call, as long as it does.
type Working = Arc<Mutex<Option<InterruptHandle>>>;

/// Ends the work of a call that nobody waits for any more. Long steps of SQLite's own, such as the counting of
/// a table, look for an interrupt only.
struct Leave(Arc<AtomicBool>, Working);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(handle) = self.1.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            handle.interrupt();
        }
    }
}

/// Lets the connection be interrupted until it is dropped, and no later: then it is another call's.
struct Interruptible(Working);

impl Interruptible {
    fn new(working: &Working, db: &Db) -> Self {
        let handle = db.conn.get_interrupt_handle();
        *working.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Self(Arc::clone(working))
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Sqlite {
    pub(crate) fn new(spec: &Arc<SourceSpec>) -> Result<Self, SpecError> {
        let inner =
            Inner { spec: Arc::clone(spec), path: open::path(spec)?, idle: Mutex::default() };
        let places = Arc::new(Semaphore::new(spec.connections_max));
        Ok(Self { inner: Arc::new(inner), places })
    }

    /// Runs `work` on a connection and a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        call: Call<'_>,
        work: impl FnOnce(&Inner, &mut Db, &Stop) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let wait = self.inner.spec.limits.wait;
        let place = tokio::time::timeout(wait, Arc::clone(&self.places).acquire_owned());
        let budget = call.budget;
        let place = waiting(budget, async {
            place.await.map_err(|_| busy())?.map_err(|_| session::stopping())
        })
        .await?;
        let until = call.until();
        let left = Arc::new(AtomicBool::new(false));
        let connection = Working::default();
        let _leave = Leave(Arc::clone(&left), Arc::clone(&connection));
        let stop = Stop { budget: budget.clone(), until, left };
        let inner = Arc::clone(&self.inner);
        let working = tokio::task::spawn_blocking(move || {
            // The place is free when the thread is, not when the caller stops waiting.
            let _place = place;
            let mut db = inner.take(&stop)?;
            let interruptible = Interruptible::new(&connection, &db);
            // A call that left before this could not interrupt it.
            if stop.must() {
                return Err(stop.until.check(&stop.budget).err().unwrap_or_else(session::stopping));
            }
            let done = work(&inner, &mut db, &stop)?;
            drop(interruptible);
            inner.give_back(db);
            Ok(done)
        });
        under(budget, until, async {
            working.await.unwrap_or_else(|_| Err(Fault::internal("a statement's thread panicked")))
        })
        .await
    }
}

impl Engine for Sqlite {
    fn reach(&self) -> SourceReach {
        SourceReach { file: Some(self.inner.path.clone()), ..SourceReach::default() }
    }

    fn pool(&self) -> PoolFigures {
        let connections_max = self.inner.spec.connections_max;
        let in_use = connections_max.saturating_sub(self.places.available_permits());
        PoolFigures { connections_max, open: in_use + self.inner.idle().len(), in_use }
    }

    /// There are no roles: that the file opens is all that can be asked.
    fn probe<'a>(&'a self, call: Call<'a>) -> Answering<'a, Report> {
        Box::pin(self.run(call, |_, _, _| Ok(Report::default())))
    }

    fn describe<'a>(
        &'a self,
        request: &'a DescribeRequest,
        call: Call<'a>,
    ) -> Answering<'a, Description> {
        let request = request.clone();
        Box::pin(self.run(call, move |_, db, stop| db.describe(&request, stop)))
    }

    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        call: Call<'a>,
    ) -> Answering<'a, Answer> {
        Box::pin(async move {
            begins(statement, QUERIES)?;
            let statement = statement.clone();
            self.run(call, move |inner, db, stop| inner.query(db, &statement, window, stop)).await
        })
    }

    fn scan<'a>(
        &'a self,
        statement: &'a Statement,
        kinds: &'a [FieldType],
        into: Batches,
        call: Call<'a>,
    ) -> Answering<'a, ()> {
        let (statement, cells) = (statement.clone(), kinds.len());
        Box::pin(self.run(call, move |inner, db, stop| {
            db.scan(&statement, cells, into, inner.spec.limits.bytes_max, stop)
        }))
    }

    fn explain<'a>(&'a self, statement: &'a Statement, call: Call<'a>) -> Answering<'a, Plan> {
        Box::pin(async move {
            let changes = self.inner.spec.access == SourceAccess::Write;
            begins(statement, if changes { PLANNED } else { QUERIES })?;
            let statement = statement.clone();
            self.run(call, move |inner, db, stop| inner.explain(db, &statement, stop)).await
        })
    }

    fn execute<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        dry_run: bool,
        call: Call<'a>,
    ) -> Answering<'a, Executed> {
        Box::pin(async move {
            begins(statement, BEGINNINGS)?;
            let statement = statement.clone();
            let window = Window { offset: 0, ..window };
            self.run(call, move |_, db, stop| Inner::execute(db, &statement, window, dry_run, stop))
                .await
        })
    }

    fn close_idle(&self, _: Duration) {}

    /// Closes what is idle and lets nothing more begin.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.places.close();
        self.inner.idle().clear();
        Box::pin(std::future::ready(()))
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
        let answer = Self::page(db, statement, window, stop);
        if db.serves(&self.spec, &self.path)? {
            return answer;
        }
        *db = Db::open(&self.spec, &self.path, Look::at(&self.spec, &self.path)?, stop)?;
        let answer = Self::page(db, statement, window, stop);
        if db.serves(&self.spec, &self.path)? {
            return answer;
        }
        Err(Fault::new(FaultKind::Conflict, "the database changes just now; try again"))
    }

    /// On an error the connection is closed, and with it the transaction.
    fn page(
        db: &mut Db,
        statement: &Statement,
        window: Window,
        stop: &Stop,
    ) -> Result<Answer, Fault> {
        db.begin("BEGIN", stop)?;
        let answer = db.page("", statement, window, stop)?;
        db.end("ROLLBACK")?;
        Ok(answer)
    }

    fn explain(&self, db: &mut Db, statement: &Statement, stop: &Stop) -> Result<Plan, Fault> {
        let window = Window::default().within(&self.spec.limits);
        // What is planned is compiled, and does not run. On an error the connection is closed.
        db.begin("BEGIN", stop)?;
        db.guard.let_changes_through(self.spec.access == SourceAccess::Write);
        let answer = db.page(EXPLAIN, statement, window, stop)?;
        db.guard.let_changes_through(false);
        db.end("ROLLBACK")?;
        let line = |row: Vec<Value>| {
            let mut row = row.into_iter();
            json!({"id": row.next(), "parent": row.next(), "detail": row.nth(1)})
        };
        let steps: Vec<Value> = answer.rows.into_iter().map(line).collect();
        Ok(Plan { plan: Value::Array(steps), cost: None, cost_max: None, would_run: true })
    }

    fn execute(
        db: &mut Db,
        statement: &Statement,
        window: Window,
        dry_run: bool,
        stop: &Stop,
    ) -> Result<Executed, Fault> {
        db.begin("BEGIN IMMEDIATE", stop)?;
        // On an error the connection is closed, and with it the transaction.
        let before = db.conn.total_changes();
        db.guard.let_changes_through(true);
        let answer = db.page("", statement, window, stop)?;
        db.guard.let_changes_through(false);
        let rows_affected = db.conn.total_changes() - before;
        if dry_run {
            db.end("ROLLBACK")?;
        } else {
            stop.until.check(&stop.budget)?;
            stop.budget.note_effect();
            db.end("COMMIT")?;
        }
        let answer = Answer { next_offset: None, ..answer };
        Ok(Executed { rows_affected, answer, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roothold_core::Budget;

    use super::*;
    use crate::spec::{Secret, SourceKind};

    /// As a step does that never asks the handler.
    #[tokio::test]
    async fn a_call_that_is_left_is_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let dsn = Secret::new(path.display().to_string());
        let mut spec = SourceSpec::new("a", SourceKind::Sqlite, dsn);
        spec.connections_max = 1;
        let source = Sqlite::new(&Arc::new(spec)).unwrap();
        let budget = Budget::new(1 << 20, 10, Duration::from_mins(1));
        let call = || Call { time: Duration::from_secs(50), budget: &budget };
        let endless = source.run(call(), |_, db, _| {
            db.conn.progress_handler(0, None::<fn() -> bool>).unwrap();
            let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
            db.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(db::broken)
        });
        assert!(tokio::time::timeout(Duration::from_millis(300), endless).await.is_err());
        let next = source.run(call(), |_, _, _| Ok(7));
        let next = tokio::time::timeout(Duration::from_secs(10), next).await;
        assert_eq!(next.expect("the place is free").unwrap(), 7);
    }
}

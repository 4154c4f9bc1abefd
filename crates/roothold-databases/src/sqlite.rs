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

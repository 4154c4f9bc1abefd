//! A source: its engine, and whether it may be used.

mod scan;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roothold_core::{Budget, Fault, FaultKind};

use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::engine::{Call, Engine};
use crate::mysql::MySql;
use crate::pg::Postgres;
use crate::probe::Report;
use crate::spec::{SourceAccess, SourceKind, SourceSpec, SpecError};
use crate::sql::Dialect;
use crate::sqlite::Sqlite;

/// The rights of a role are asked again after this time, at the next call.
const PROBE_EVERY: Duration = Duration::from_mins(5);
/// Asking them may take so long, where statements may not.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// A database that callers may ask. Connections are made at first use.
pub struct Source {
    spec: Arc<SourceSpec>,
    engine: Box<dyn Engine>,
    report: Mutex<Option<(Instant, Arc<Report>)>>,
    /// Held by whoever asks; when it last did not answer, and what was said then.
    probing: tokio::sync::Mutex<Option<(Instant, Fault)>>,
}

/// What a process must be able to reach for a source, for whoever builds a wall around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceReach {
    /// The TCP ports that are connected to.
    pub ports: Vec<u16>,
    /// Whether a host is named, so that its address is looked up.
    pub looks_up: bool,
    /// Whether TLS is spoken, for which the system's authorities are read.
    pub tls: bool,
    /// The file that is opened.
    pub file: Option<PathBuf>,
}

/// How a source's connections are used now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// How many there may be.
    pub connections_max: usize,
    /// How many there are.
    pub open: usize,
    /// How many of these calls have.
    pub in_use: usize,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

impl Source {
    /// A source by its description. Nothing is opened or connected to.
    ///
    /// # Errors
    /// [`SpecError`]: a setting is out of bounds, does not read, or is unsafe.
    pub fn new(spec: SourceSpec) -> Result<Self, SpecError> {
        spec.check()?;
        let spec = Arc::new(spec);
        let engine: Box<dyn Engine> = match spec.kind {
            SourceKind::MySql => Box::new(MySql::new(&spec)?),
            SourceKind::Postgres => Box::new(Postgres::new(&spec)?),
            SourceKind::Sqlite => Box::new(Sqlite::new(&spec)?),
        };
        Ok(Self { spec, engine, report: Mutex::default(), probing: tokio::sync::Mutex::default() })
    }

    /// What it was made from.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// What a process must be able to reach for it.
    pub fn reach(&self) -> SourceReach {
        self.engine.reach()
    }

    /// How its connections are used now.
    pub fn pool(&self) -> PoolFigures {
        self.engine.pool()
    }

    /// Closes connections that nobody used for `unused_for`; later calls make new ones. Those of a file
    /// are kept: nobody else pays for them.
    pub fn close_idle(&self, unused_for: Duration) {
        self.engine.close_idle(unused_for);
    }

    fn call<'a>(&self, budget: &'a Budget) -> Call<'a> {
        Call { time: self.spec.limits.time, budget }
    }

    fn check(&self, statement: &Statement) -> Result<(), Fault> {
        statement.check(Dialect::of(self.spec.kind), &self.spec.limits)
    }

    /// Asks what the source's role could do, now.
    ///
    /// # Errors
    /// `Unavailable`, `Busy`, `Timeout` or `Cancelled`, when it could not be asked.
    pub async fn probe(&self, budget: &Budget) -> Result<Arc<Report>, Fault> {
        let time = self.spec.limits.time.max(PROBE_TIME);
        let report = Arc::new(self.engine.probe(Call { time, budget }).await?);
        let mut kept = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((Instant::now(), Arc::clone(&report)));
        Ok(report)
    }

    /// What was found when the rights were asked last.
    pub fn report(&self) -> Option<Arc<Report>> {
        let kept = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|(_, report)| Arc::clone(report))
    }

    fn fresh_report(&self) -> Option<Arc<Report>> {
        let kept = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, report) = kept.as_ref()?;
        (at.elapsed() < PROBE_EVERY).then(|| Arc::clone(report))
    }

    /// Asks, unless another call does: then what that finds is this one's, too. Each of many that wait
    /// for a server which does not answer would else wait for itself, one after the other.
    async fn asked_once(&self, budget: &Budget) -> Result<Arc<Report>, Fault> {
        let since = Instant::now();
        let mut failed = self.probing.lock().await;
        if let Some(report) = self.fresh_report() {
            return Ok(report);
        }
        if let Some((_, fault)) = failed.as_ref().filter(|(at, _)| *at >= since) {
            return Err(fault.again());
        }
        let asked = self.probe(budget).await;
        if let Err(fault) = &asked
            && fault.kind() == FaultKind::Unavailable
        {
            *failed = Some((Instant::now(), fault.again()));
        }
        asked
    }

    /// Whether the source may be used: it is asked first, and one that is only read but whose role
    /// could do more is not.
    ///
    /// # Errors
    /// `Unavailable`: its role can do too much, which only the cause says, since what it can do may
    /// name what callers are not to know; or it could not be asked.
    pub async fn ready(&self, budget: &Budget) -> Result<(), Fault> {
        let report = match self.fresh_report() {
            Some(report) => report,
            None => Box::pin(self.asked_once(budget)).await?,
        };
        match (self.spec.access, report.disabled_by()) {
            (SourceAccess::Read, Some(finding)) => {
                let text = format!(
                    "the database {} is disabled: it is to be read only, and the server's role in it can do \
                     more than that, or sees more than callers may; tell the operator, to whom the server \
                     says which right it is",
                    self.spec.name
                );
                Err(Fault::new(FaultKind::Unavailable, text).with_source(finding.text.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Describes tables of the source that can be read.
    ///
    /// # Errors
    /// `NotFound`, when a table was named that is not there; those of [`Source::ready`].
    ///
    /// # Cancellation
    /// Dropped or cancelled, it stops in the database.
    pub async fn describe(
        &self,
        request: &DescribeRequest,
        budget: &Budget,
    ) -> Result<Description, Fault> {
        self.ready(budget).await?;
        self.engine.describe(request, self.call(budget)).await
    }

    /// Runs one statement that reads, and answers a page of its rows.
    ///
    /// # Errors
    /// `Invalid` or `Denied`: the statement is not one that can run; `Limit`, `Timeout`: it asks
    /// for too much; `Conflict`, `Busy`, `Unavailable`: it may succeed later.
    ///
    /// # Cancellation
    /// Dropped or cancelled, it stops in the database.
    pub async fn query(
        &self,
        statement: &Statement,
        window: Window,
        budget: &Budget,
    ) -> Result<Answer, Fault> {
        self.check(statement)?;
        self.ready(budget).await?;
        let window = window.within(&self.spec.limits);
        self.engine.query(statement, window, self.call(budget)).await
    }

    /// Tells how a statement would run, without running it.
    ///
    /// # Errors
    /// Those of [`Source::query`].
    ///
    /// # Cancellation
    /// Dropped or cancelled, it stops in the database.
    pub async fn explain(&self, statement: &Statement, budget: &Budget) -> Result<Plan, Fault> {
        self.check(statement)?;
        self.ready(budget).await?;
        self.engine.explain(statement, self.call(budget)).await
    }

    /// Runs one statement that changes data, and commits it unless it is a dry run.
    ///
    /// # Errors
    /// `Denied`, for a source that is only read; those of [`Source::query`].
    ///
    /// # Cancellation
    /// Until it commits it stops in the database and is undone; a commit runs to its end.
    pub async fn execute(
        &self,
        statement: &Statement,
        window: Window,
        dry_run: bool,
        budget: &Budget,
    ) -> Result<Executed, Fault> {
        if self.spec.access != SourceAccess::Write {
            let text = "this source is only read; a query reads from it";
            return Err(Fault::new(FaultKind::Denied, text));
        }
        self.check(statement)?;
        self.ready(budget).await?;
        let window = window.within(&self.spec.limits);
        self.engine.execute(statement, window, dry_run, self.call(budget)).await
    }

    /// Closes its connections, and waits until what runs for them has ended. Nothing can be asked
    /// afterwards.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Secret;

    fn is_send<T: Send>(_: &T) {}

    /// Servers spawn what they answer.
    #[test]
    fn every_call_can_move_between_threads() {
        let dsn = Secret::new("postgresql://u@127.0.0.1/d");
        let source = Source::new(SourceSpec::new("a", SourceKind::Postgres, dsn)).unwrap();
        let (budget, statement) = (Budget::new(1, 1, Duration::ZERO), Statement::new(""));
        let (window, request) = (Window::default(), DescribeRequest::default());
        is_send(&source.query(&statement, window, &budget));
        is_send(&source.explain(&statement, &budget));
        is_send(&source.execute(&statement, window, true, &budget));
        is_send(&source.describe(&request, &budget));
        is_send(&source.probe(&budget));
        is_send(&source.close());
    }
}

//! PostgreSQL, 13 and later.
//!
//! What is read is read by one recipe: a read-only transaction that a first `SELECT` pins, the
//! caller's statement behind `DECLARE … CURSOR FOR` in a message that holds one statement, rows by
//! `FETCH`, always rolled back, `DISCARD ALL`, and the connection closed after an error. It makes
//! for good errors and bounded calls; what holds is that the role can do nothing else, which the
//! probe asks.

mod binary;
mod connect;
mod describe;
mod dsn;
mod error;
mod execute;
mod explain;
mod frame;
mod param;
mod probe;
mod query;
mod rights;
mod scan;
mod session;
mod socket;
mod text;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use roothold_core::Fault;
use tokio_util::task::TaskTracker;

use self::connect::Way;
use self::query::Ended;
use self::session::Session;
use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::engine::{Answering, Call, Engine};
use crate::probe::Report;
use crate::scan::{Batches, FieldType};
use crate::session::Pool;
use crate::source::{PoolFigures, SourceReach};
use crate::spec::{SourceAccess, SourceSpec, SpecError};
use crate::sql::Explain;
use crate::wait::under;

pub(crate) struct Postgres {
    pool: Pool<Way>,
    spec: Arc<SourceSpec>,
}

impl Postgres {
    pub(crate) fn new(spec: &Arc<SourceSpec>) -> Result<Self, SpecError> {
        let way = Arc::new(Way::of(spec, TaskTracker::new())?);
        let pool = Pool::new(way, spec.connections_max, spec.limits.wait);
        Ok(Self { pool, spec: Arc::clone(spec) })
    }

    async fn query(
        &self,
        statement: &Statement,
        window: Window,
        call: Call<'_>,
    ) -> Result<Answer, Fault> {
        // Each try closes a connection whose driver is stale, so there are no more than this.
        for _ in 0..=self.spec.connections_max {
            let (session, until) = self.pool.begin(SourceAccess::Read, call).await?;
            let (session, ended) = under(call.budget, until, async {
                let ended = self.query_on(&session, statement, window).await;
                Ok((session, ended))
            })
            .await?;
            match ended {
                Ok(answer) => {
                    session.end().await;
                    return Ok(answer);
                }
                Err(Ended::With(fault)) => {
                    session.end_failed(&fault);
                    return Err(fault);
                }
                Err(Ended::Aborted | Ended::Stale) => session.close_now(),
            }
        }
        Err(Fault::internal("no connection knows the types of the result"))
    }

    async fn query_on(
        &self,
        session: &Session,
        statement: &Statement,
        window: Window,
    ) -> Result<Answer, Ended> {
        let explain = Explain::of(&statement.sql).map_err(Fault::invalid)?;
        let (from, runs) = explain.as_ref().map_or((0, true), |asks| (asks.at, asks.runs));
        if let Some(cost_max) = self.spec.limits.cost_max.filter(|_| runs) {
            explain::within_cost(session, statement, from, cost_max).await?;
        }
        match explain {
            Some(asks) => Ok(explain::as_query(session, &asks, statement, window).await?),
            None => query::run(session, statement, window).await,
        }
    }
}

impl Engine for Postgres {
    fn reach(&self) -> SourceReach {
        self.pool.server().reach()
    }

    fn pool(&self) -> PoolFigures {
        self.pool.figures()
    }

    fn probe<'a>(&'a self, call: Call<'a>) -> Answering<'a, Report> {
        Box::pin(async move {
            let (session, until) = self.pool.begin(SourceAccess::Read, call).await?;
            let asking = async move {
                let found = probe::probe(&session, &self.spec).await;
                // What is found may be of the session's beginning, and is mended with a new one only.
                if found.as_ref().is_ok_and(|report| report.disabled_by().is_some()) {
                    session.close_now();
                    return found;
                }
                session.finish(found).await
            };
            under(call.budget, until, asking).await
        })
    }

    fn describe<'a>(
        &'a self,
        request: &'a DescribeRequest,
        call: Call<'a>,
    ) -> Answering<'a, Description> {
        Box::pin(self.pool.read(call, move |session| async move {
            let described = describe::describe(&session, request, &self.spec.tables).await;
            (session, described)
        }))
    }

    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        call: Call<'a>,
    ) -> Answering<'a, Answer> {
        Box::pin(Self::query(self, statement, window, call))
    }

    fn scan<'a>(
        &'a self,
        statement: &'a Statement,
        kinds: &'a [FieldType],
        into: Batches,
        call: Call<'a>,
    ) -> Answering<'a, ()> {
        Box::pin(self.pool.read(call, move |session| async move {
            let cost_max = self.spec.limits.cost_max;
            let within = match cost_max {
                Some(most) => explain::within_cost(&session, statement, 0, most).await,
                None => Ok(()),
            };
            let done = match within {
                Ok(()) => scan::run(&session, statement, kinds, into).await,
                Err(fault) => Err(fault),
            };
            (session, done)
        }))
    }

    fn explain<'a>(&'a self, statement: &'a Statement, call: Call<'a>) -> Answering<'a, Plan> {
        Box::pin(self.pool.read(call, move |session| async move {
            let plan = explain::plan(&session, statement, self.spec.limits.cost_max).await;
            (session, plan)
        }))
    }

    fn execute<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        dry_run: bool,
        call: Call<'a>,
    ) -> Answering<'a, Executed> {
        Box::pin(async move {
            let (session, until) = self.pool.begin(SourceAccess::Write, call).await?;
            let running = execute::run(session, statement, window, dry_run, call.budget);
            under(call.budget, until, running).await
        })
    }

    fn close_idle(&self, unused_for: Duration) {
        self.pool.close_idle(unused_for);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

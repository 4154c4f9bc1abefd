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
mod session;
mod socket;
mod text;

use std::sync::Arc;

use roothold_core::{Budget, Fault};
use tokio_util::task::TaskTracker;

use self::connect::{Pool, Way};
use self::query::Ended;
use self::session::Session;
use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::probe::Report;
use crate::source::{PoolFigures, SourceReach};
use crate::spec::{SourceAccess, SourceSpec, SpecError};
use crate::wait::{Until, under};

pub(crate) struct Postgres {
    pool: Pool,
    way: Arc<Way>,
    spec: Arc<SourceSpec>,
    tasks: TaskTracker,
}

impl Postgres {
    pub(crate) fn new(spec: &Arc<SourceSpec>) -> Result<Self, SpecError> {
        let tasks = TaskTracker::new();
        let way = Arc::new(Way::of(spec, tasks.clone())?);
        let pool = connect::pool(Arc::clone(&way), spec.connections_max);
        Ok(Self { pool, way, spec: Arc::clone(spec), tasks })
    }

    pub(crate) fn reach(&self) -> SourceReach {
        self.way.reach()
    }

    pub(crate) fn pool(&self) -> PoolFigures {
        let status = self.pool.status();
        PoolFigures {
            connections_max: status.max_size,
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
        }
    }

    async fn begin(&self, access: SourceAccess, until: Until) -> Result<Session, Fault> {
        Session::begin(&self.pool, &self.way, self.spec.limits.wait, access, until.left()).await
    }

    pub(crate) async fn query(
        &self,
        statement: &Statement,
        window: Window,
        until: Until,
        budget: &Budget,
    ) -> Result<Answer, Fault> {
        // Each try closes a connection whose driver is stale, so there are no more than this.
        for _ in 0..=self.spec.connections_max {
            let (session, ended) = under(budget, until, async {
                let session = self.begin(SourceAccess::Read, until).await?;
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
        if let Some(cost_max) = self.spec.limits.cost_max {
            explain::within_cost(session, statement, cost_max).await?;
        }
        query::run(session, statement, window).await
    }

    pub(crate) async fn explain(
        &self,
        statement: &Statement,
        until: Until,
        budget: &Budget,
    ) -> Result<Plan, Fault> {
        under(budget, until, async {
            let session = self.begin(SourceAccess::Read, until).await?;
            let plan = explain::plan(&session, statement, self.spec.limits.cost_max).await;
            session.finish(plan).await
        })
        .await
    }

    pub(crate) async fn describe(
        &self,
        request: &DescribeRequest,
        until: Until,
        budget: &Budget,
    ) -> Result<Description, Fault> {
        under(budget, until, async {
            let session = self.begin(SourceAccess::Read, until).await?;
            let described = describe::describe(&session, request, &self.spec.tables).await;
            session.finish(described).await
        })
        .await
    }

    pub(crate) async fn probe(&self, until: Until, budget: &Budget) -> Result<Report, Fault> {
        under(budget, until, async {
            let session = self.begin(SourceAccess::Read, until).await?;
            let report = probe::probe(&session, &self.spec).await;
            session.finish(report).await
        })
        .await
    }

    pub(crate) async fn execute(
        &self,
        statement: &Statement,
        window: Window,
        dry_run: bool,
        until: Until,
        budget: &Budget,
    ) -> Result<Executed, Fault> {
        under(budget, until, async {
            let session = self.begin(SourceAccess::Write, until).await?;
            execute::run(session, statement, window, dry_run, budget).await
        })
        .await
    }

    /// Closes every connection, and waits until what runs for them has ended.
    pub(crate) async fn close(&self) {
        self.pool.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

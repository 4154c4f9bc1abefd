//! MySQL, 8.0 and later, and MariaDB, 10.5 and later.
//!
//! What is read is read by one recipe: a session whose transactions are all read-only, in which one
//! is begun; the caller's statement by the prepared protocol, which takes one statement whatever it
//! is; and before it runs the same statement behind `EXPLAIN`, which is prepared and never run: so the
//! server's own grammar lets nothing through but a query or a change of rows, and the latter the
//! transaction refuses. After it the session is made as new. What holds is that the role can do nothing
//! else, which the probe asks.

mod connect;
mod describe;
mod dsn;
mod error;
mod execute;
mod explain;
mod grants;
mod prepare;
mod probe;
mod query;
mod scan;
mod session;
mod value;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

use self::connect::Way;
use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::engine::{Answering, Call, Engine};
use crate::probe::Report;
use crate::scan::{Batches, FieldType};
use crate::session::Pool;
use crate::source::{PoolFigures, SourceReach};
use crate::spec::{SourceAccess, SourceSpec, SpecError};
use crate::wait::under;

pub(crate) struct MySql {
    pool: Pool<Way>,
    spec: Arc<SourceSpec>,
}

impl MySql {
    pub(crate) fn new(spec: &Arc<SourceSpec>) -> Result<Self, SpecError> {
        let way = Arc::new(Way::of(spec, TaskTracker::new())?);
        let pool = Pool::new(way, spec.connections_max, spec.limits.wait);
        Ok(Self { pool, spec: Arc::clone(spec) })
    }
}

impl Engine for MySql {
    fn reach(&self) -> SourceReach {
        self.pool.server().reach()
    }

    fn pool(&self) -> PoolFigures {
        self.pool.figures()
    }

    fn probe<'a>(&'a self, call: Call<'a>) -> Answering<'a, Report> {
        // A connection keeps the rights that its role had when it was made.
        self.pool.forget_idle();
        Box::pin(async move {
            let (mut session, until) = self.pool.begin(SourceAccess::Read, call).await?;
            let asking = async move {
                let report = probe::probe(&mut session, &self.spec).await;
                match &report {
                    // It took roles that callers are not to have.
                    Ok(_) => session.close_now(),
                    Err(fault) => session.end_failed(fault),
                }
                report
            };
            under(call.budget, until, asking).await
        })
    }

    fn describe<'a>(
        &'a self,
        request: &'a DescribeRequest,
        call: Call<'a>,
    ) -> Answering<'a, Description> {
        Box::pin(self.pool.read(call, move |mut session| async move {
            let described = describe::describe(&mut session, request, &self.spec.tables).await;
            (session, described)
        }))
    }

    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        call: Call<'a>,
    ) -> Answering<'a, Answer> {
        Box::pin(self.pool.read(call, move |mut session| async move {
            let answer = query::run(&mut session, statement, window).await;
            (session, answer)
        }))
    }

    fn scan<'a>(
        &'a self,
        statement: &'a Statement,
        kinds: &'a [FieldType],
        into: Batches,
        call: Call<'a>,
    ) -> Answering<'a, ()> {
        Box::pin(self.pool.read(call, move |mut session| async move {
            let done = scan::run(&mut session, statement, kinds, into).await;
            (session, done)
        }))
    }

    fn explain<'a>(&'a self, statement: &'a Statement, call: Call<'a>) -> Answering<'a, Plan> {
        Box::pin(self.pool.read(call, move |mut session| async move {
            let plan = explain::plan(&mut session, statement, self.spec.limits.cost_max).await;
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

//! What every engine can do, whatever it speaks.

use std::time::Duration;

use futures::future::BoxFuture;
use roothold_core::{Budget, Fault};

use crate::answer::{Answer, Executed, Plan, Statement, Window};
use crate::describe::{DescribeRequest, Description};
use crate::probe::Report;
use crate::scan::{Batches, FieldType};
use crate::source::{PoolFigures, SourceReach};
use crate::wait::Until;

/// The result of a call, when it is there. Dropped, the call stops in the database.
pub(crate) type Answering<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// What every call carries: how long its statement may take, and whether anybody waits for it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) time: Duration,
    pub(crate) budget: &'a Budget,
}

impl Call<'_> {
    /// Until when its statement may run that begins now. To wait for a connection is no part of that.
    pub(crate) fn until(&self) -> Until {
        Until::new(self.budget, self.time)
    }
}

/// A database of one kind. Its calls are those of [`crate::Source`], which has checked the statement,
/// cut the window and asked for the rights before.
pub(crate) trait Engine: Send + Sync {
    /// What a process must be able to reach for it.
    fn reach(&self) -> SourceReach;

    /// How its connections are used now.
    fn pool(&self) -> PoolFigures;

    /// Asks what the role could do.
    fn probe<'a>(&'a self, call: Call<'a>) -> Answering<'a, Report>;

    fn describe<'a>(
        &'a self,
        request: &'a DescribeRequest,
        call: Call<'a>,
    ) -> Answering<'a, Description>;

    /// Runs a statement that reads.
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        call: Call<'a>,
    ) -> Answering<'a, Answer>;

    /// Hands on all rows of a statement of ours that reads, with columns of these types.
    fn scan<'a>(
        &'a self,
        statement: &'a Statement,
        kinds: &'a [FieldType],
        into: Batches,
        call: Call<'a>,
    ) -> Answering<'a, ()>;

    /// Tells the plan of a statement, without running it.
    fn explain<'a>(&'a self, statement: &'a Statement, call: Call<'a>) -> Answering<'a, Plan>;

    /// Runs a statement that changes data.
    fn execute<'a>(
        &'a self,
        statement: &'a Statement,
        window: Window,
        dry_run: bool,
        call: Call<'a>,
    ) -> Answering<'a, Executed>;

    /// Closes connections that nobody used for `unused_for`.
    fn close_idle(&self, unused_for: Duration);

    /// Closes connections, and waits until what runs for them has ended.
    fn close(&self) -> BoxFuture<'_, ()>;
}

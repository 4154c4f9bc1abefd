//! One SELECT over sources: planned, inspected, run within a budget, and paged.
//!
//! **Invariant**: a query sees the tables that it was given, their visible columns, and nothing
//! else: there are no files, no settings and no other tables in its session.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt as _;
use roothold_core::{Budget, Fault, FaultKind};
use serde_json::Value;

use self::windows::Asked;
use crate::engine::Engine;
use crate::meter::Meter;
use crate::parquet::tallied;
use crate::refusal;
use crate::scan::Seams;
use crate::source::Source;
use crate::table::{self, Table};

mod checked;
mod functions;
mod gate;
mod growth;
mod leash;
mod order;
mod session;
mod top;
mod width;
mod windows;

pub(crate) use session::Session;
pub(crate) use width::Reading;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// One SELECT, in the SQL of DataFusion, which is close to PostgreSQL's.
    pub sql: String,
    /// What `$1`, `$2`, … stand for: null, truth values, numbers and texts.
    pub parameters: Vec<Value>,
    /// The tables by the names that the SQL calls them.
    pub tables: Vec<(String, Source)>,
    /// Rows of the result to leave out: where an earlier page ended.
    pub offset: u64,
    /// The most rows of a page.
    pub rows_max: usize,
    /// The most bytes of a page's rows as JSON.
    pub bytes_max: usize,
}

/// One page of a result.
#[derive(Debug)]
pub struct Answer {
    /// The rows, and what their columns are.
    pub table: Table,
    /// Where the next page begins, if there is more.
    pub next_offset: Option<u64>,
    /// Whether the same query gives its rows in the same order again, so that pages fit together.
    pub stable: bool,
    /// The query says that it gives no more rows than these, so those that are alike in what they are ordered by
    /// were left as they came: what is cut off here fits to no later page.
    pub is_whole: bool,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// A file grew while it was read; what was there at first was read.
    pub has_grown: bool,
    /// What of the files is in no table, in words.
    pub notes: Vec<String>,
}

impl Engine {
    /// Runs a query, and gives one page of its result.
    ///
    /// # Errors
    /// `Invalid` for SQL that is refused or fails, and for records that are not as they should be;
    /// `Limit` for what needs more memory or space than there is, or a row that is larger than a
    /// page; `Conflict` where a file changed meanwhile.
    ///
    /// # Cancellation
    /// It ends within one read when the budget ends, or when the future is dropped.
    pub async fn query(&self, query: &Query, budget: &Budget) -> Result<Answer, Fault> {
        let meter = Arc::new(Meter::new(budget));
        let (engine, query, inner) = (self.clone(), query.clone(), Arc::clone(&meter));
        self.run(budget, &meter, async move { engine.query_inside(query, inner).await }).await
    }

    /// The same within a run of somebody else's, on the engine's runtime.
    pub(crate) async fn query_inside(
        &self,
        query: Query,
        meter: Arc<Meter>,
    ) -> Result<Answer, Fault> {
        let mut way = Way { reading: Reading::default(), breaks_ties: query.offset > 0 };
        loop {
            match self.page(&query, &meter, way).await? {
                Tried::Answer(answer) => return Ok(*answer),
                Tried::Other(reading) => way.reading = reading,
                Tried::More => way.breaks_ties = true,
            }
        }
    }

    async fn page(&self, query: &Query, meter: &Arc<Meter>, way: Way) -> Result<Tried, Fault> {
        let seams = Arc::new(Seams::default());
        let reading = way.reading;
        let session = Session::open(self, &query.tables, meter, &seams, reading.is_cut)?
            .in_batches_of(reading.rows);
        let mut plan = session.plan_answer(&query.sql, &query.parameters)?;
        let stable = order::is_stable(&plan);
        // Where all is on one page, ties do no harm.
        let is_whole = order::rows_most(&plan).is_some_and(|most| most <= query.rows_max);
        let keeps_ties = is_whole && !way.breaks_ties;
        if stable && !keeps_ties {
            plan = order::with_ties_broken(plan).map_err(|error| refusal::fault_of(&error))?;
        }
        let (limited, skip) = page_of(plan, query)?;
        let stream = session.stream(limited).await?;
        let taken = take_page(stream, skip, query).await;
        // Pieces that began inside a quoted field, or rows that are too long for so many: what came
        // of them means nothing.
        if let Some(other) = reading.other(session.widths(), seams.hold()) {
            return Ok(Tried::Other(other));
        }
        let (table, is_more) = taken?;
        if is_more && stable && keeps_ties {
            return Ok(Tried::More);
        }
        let has_grown = session.has_grown()?;
        let next = query.offset.saturating_add(table.rows.len() as u64);
        let next_offset = is_more.then_some(next);
        let bytes_read = meter.bytes();
        Ok(Tried::Answer(Box::new(Answer {
            table,
            next_offset,
            stable,
            is_whole: keeps_ties,
            bytes_read,
            has_grown,
            notes: session.notes(),
        })))
    }
}

/// How a page is asked for.
#[derive(Clone, Copy)]
struct Way {
    reading: Reading,
    /// Rows that are alike in what they are sorted by have an order too, so that pages fit together.
    breaks_ties: bool,
}

/// What came of asking for a page.
enum Tried {
    Answer(Box<Answer>),
    /// Files have to be read in another way.
    Other(Reading),
    /// There are other pages, although it seemed that there would be none.
    More,
}

/// The rows of a page, and one more to see whether there are others; and how many rows are still
/// to be left out of what comes.
fn page_of(plan: LogicalPlan, query: &Query) -> Result<(LogicalPlan, u64), Fault> {
    /// A sort holds what is asked of its top in memory: behind so many rows it sorts all, on disk
    /// where they do not fit.
    const TOP_ROWS_MAX: u64 = 10_000;
    if query.offset > TOP_ROWS_MAX {
        return Ok((plan, query.offset));
    }
    let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limited = LogicalPlanBuilder::from(plan)
        .limit(skip, Some(query.rows_max.saturating_add(1)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| refusal::fault_of(&error))?;
    Ok((limited, 0))
}

/// Takes rows until the page is full; tells whether there are more.
async fn take_page(
    mut stream: SendableRecordBatchStream,
    mut skip: u64,
    query: &Query,
) -> Result<(Table, bool), Fault> {
    let mut page = Page::new(&stream.schema(), query.rows_max, query.bytes_max);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| refusal::fault_of(&error))?;
        let left_out = batch.num_rows().min(usize::try_from(skip).unwrap_or(usize::MAX));
        skip -= left_out as u64;
        if !page.take(&batch.slice(left_out, batch.num_rows() - left_out))? {
            return Ok((page.table, true));
        }
    }
    Ok((page.table, false))
}

/// Rows within a budget.
pub(crate) struct Page {
    pub(crate) table: Table,
    rows_max: usize,
    bytes_left: usize,
}

impl Page {
    pub(crate) fn new(schema: &SchemaRef, rows_max: usize, bytes_max: usize) -> Self {
        Self { table: Table::of(schema), rows_max, bytes_left: bytes_max }
    }

    /// Takes the rows of a batch; `false` once one has no room.
    ///
    /// # Errors
    /// `Limit` for a first row that is larger than the page.
    pub(crate) fn take(&mut self, batch: &RecordBatch) -> Result<bool, Fault> {
        for at in 0..batch.num_rows() {
            if self.table.rows.len() >= self.rows_max {
                return Ok(false);
            }
            let row = table::row(batch, at)?;
            let bytes = serde_json::to_vec(&row).map_err(Fault::internal)?.len() + 1;
            if bytes > self.bytes_left {
                if self.table.rows.is_empty() {
                    return Err(row_too_large(bytes));
                }
                return Ok(false);
            }
            self.bytes_left -= bytes;
            self.table.rows.push(row);
        }
        Ok(true)
    }
}

fn row_too_large(bytes: usize) -> Fault {
    Fault::new(
        FaultKind::Limit,
        format!(
            "one row of the result has {bytes} bytes, more than an answer may have; select fewer columns, or cut them with left(x, 1000)"
        ),
    )
}

impl Session {
    /// Plans the way of execution and begins it.
    pub(crate) async fn stream(
        &self,
        plan: LogicalPlan,
    ) -> Result<SendableRecordBatchStream, Fault> {
        self.begin(plan).await.map_err(|error| refusal::fault_of(&error))
    }

    async fn begin(
        &self,
        plan: LogicalPlan,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let growth = growth::factor(&plan).map_err(|it| DataFusionError::External(it.into()))?;
        let mut state = self.context().state();
        let plan = state.optimize(&plan)?;
        if order::compares_floats(&plan) {
            let options = &mut state.config_mut().options_mut().execution.parquet;
            (options.pruning, options.enable_page_index) = (false, false);
        }
        let plan = self.narrowed(plan, &state).await?;
        let plan = leash::on_filters(plan, self.meter())?;
        let pool = Arc::clone(&self.context().runtime_env().memory_pool);
        let plan = windows::asking(plan, &Asked { meter: Arc::clone(self.meter()), pool })?;
        let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        let physical = tallied(physical)?;
        let physical = leash::on_joins(physical, self.meter(), self.widths(), growth)?;
        execute_stream(physical, self.context().task_ctx())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::one_text;

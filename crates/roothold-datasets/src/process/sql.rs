//! A query over the whole source, as a process.
//!
//! The engine groups, sorts and spills on its own, and its state cannot be taken out of it: so
//! there is progress but nothing to go on from, and what was broken off begins again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use roothold_core::{Budget, Fault};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::operation::SqlOptions;
use super::runner::{LOOK_EVERY, Reading, Running, Trace};
use super::saved::Saved;
use super::source::endless;
use super::step::{Chunk, Progress, Report, Step};
use crate::engine::Engine;
use crate::meter::Meter;
use crate::query::{Answer, Query};
use crate::source::Source;

/// What the source is called in a query.
const TABLE: &str = "data";
/// The most rows that are told.
pub(super) const ROWS_MAX: usize = 10_000;
/// How many unless asked otherwise.
const ROWS_DEFAULT: usize = 1_000;
/// The most bytes of rows that are told.
const BYTES_MAX: usize = 4 << 20;
/// How often a step tells how far the reading is.
const TELL_EVERY: Duration = Duration::from_millis(300);

/// A query under way.
pub(super) struct Sql {
    trace: Trace,
    meter: Arc<Meter>,
    running: Option<JoinHandle<Result<Answer, Fault>>>,
    answer: Option<Value>,
}

impl Sql {
    /// Runs the query. What came before `trace` only counts the steps.
    pub(super) fn new(
        engine: &Engine,
        source: &Source,
        options: &SqlOptions,
        trace: Trace,
    ) -> Result<Self, Fault> {
        let query = Query {
            sql: options.sql.clone(),
            parameters: options.parameters.clone(),
            tables: vec![(TABLE.to_owned(), source.clone())],
            offset: 0,
            rows_max: options.rows.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX),
            bytes_max: BYTES_MAX,
        };
        let meter = endless();
        let (inner, own) = (engine.clone(), Arc::clone(&meter));
        let running = engine.handle()?.spawn(async move { inner.query_inside(query, own).await });
        Ok(Self { trace, meter, running: Some(running), answer: None })
    }

    fn progress(&self) -> Progress {
        let bytes_total = self.trace.progress.bytes_total;
        // A file that is read again from its beginning counts twice for the meter.
        Progress { bytes_done: self.meter.bytes().min(bytes_total), ..self.trace.progress }
    }

    fn tell(&mut self) -> Step {
        self.trace.next += 1;
        let progress = self.progress();
        Step::Chunk(Chunk {
            next: self.trace.next,
            progress,
            message: progress.message(),
            part: None,
        })
    }

    async fn advance(&mut self, budget: &Budget) -> Result<Step, Fault> {
        let begun = tokio::time::Instant::now();
        while let Some(running) = &mut self.running {
            budget.check().inspect_err(|_| self.meter.stop())?;
            match tokio::time::timeout(LOOK_EVERY, running).await {
                Err(_) if begun.elapsed() < TELL_EVERY => {}
                Err(_) => return Ok(self.tell()),
                Ok(done) => {
                    self.running = None;
                    self.answer = Some(told(&done.map_err(Fault::internal)??)?);
                }
            }
        }
        let progress =
            Progress { bytes_done: self.trace.progress.bytes_total, ..self.trace.progress };
        Ok(Step::Done(Report { value: self.partial()?, progress }))
    }
}

fn told(answer: &Answer) -> Result<Value, Fault> {
    Ok(json!({
        "columns": serde_json::to_value(&answer.table.columns).map_err(Fault::internal)?,
        "result": answer.table.rows,
        "truncated": answer.next_offset.is_some(),
        "stable": answer.stable,
        "notes": answer.notes,
    }))
}

impl Running for Sql {
    fn step<'a>(&'a mut self, budget: &'a Budget) -> BoxFuture<'a, Result<Step, Fault>> {
        Box::pin(self.advance(budget))
    }

    fn state(&mut self) -> Result<Vec<u8>, Fault> {
        Saved { header: json!({ "trace": self.trace, "fold": null }), ..Saved::default() }.encode()
    }

    fn reading(&self) -> Reading {
        let meter = Arc::clone(&self.meter);
        Reading::new(self.trace.progress.bytes_total, move || meter.bytes())
    }

    fn partial(&mut self) -> Result<Value, Fault> {
        Ok(self.answer.clone().unwrap_or_else(|| json!({ "columns": [], "result": [] })))
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        self.meter.stop();
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

//! The profile of every column: type, nulls, range, mean, quantiles, distinct and frequent values.
//!
//! While a column has few distinct values all are kept and counted, so that its distinct and
//! frequent values are exact; then they go over into a sketch, and no more is said of frequent ones.

mod column;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema};
use roothold_core::{Fault, FaultKind};
use serde_json::Value;

use super::decode::{Counts, Decode};
use super::fold::{Fold, Work, broken};
use super::input::{Input, Stop};
use super::saved::{Saved, damaged};
use super::spans::Span;
use super::step::ProcessLimits;
use column::{Column, ColumnPlan};

/// The most values that are kept over all columns.
const KEPT_VALUES_MAX: usize = 50_000;

/// Profiles one chunk.
pub(super) struct ProfileWork {
    decode: Decode,
    columns: Vec<Arc<ColumnPlan>>,
    /// Which columns are known to have too many values to keep. Only a short cut: what is kept of
    /// a chunk goes over into the sketch anyway once it meets one.
    many: Vec<AtomicBool>,
}

/// The profile of the chunks so far.
pub(super) struct Profile {
    work: Arc<ProfileWork>,
    columns: Vec<Column>,
}

impl Profile {
    /// Profiles `columns`, which count in the schema of the input.
    pub(super) fn new(
        input: &dyn Input,
        columns: Vec<usize>,
        limits: &ProcessLimits,
    ) -> Result<Self, Fault> {
        if columns.len() > limits.columns_max {
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "{} columns are more than the {} that one profile can have; name some",
                    columns.len(),
                    limits.columns_max
                ),
            ));
        }
        let kept_max = (KEPT_VALUES_MAX / columns.len().max(1)).clamp(20, 1_000);
        let decode = Decode::new(input.shape(), columns)?;
        let plans = decode
            .schema()
            .fields()
            .iter()
            .map(|field| ColumnPlan::new(field, kept_max).map(Arc::new));
        let plans: Vec<_> = plans.collect::<Result<_, _>>().map_err(broken)?;
        let many = plans.iter().map(|_| AtomicBool::new(false)).collect();
        let work = Arc::new(ProfileWork { decode, columns: plans, many });
        let columns = work.start(|_| false)?;
        Ok(Self { work, columns })
    }
}

impl ProfileWork {
    fn start(&self, many: impl Fn(usize) -> bool) -> Result<Vec<Column>, Fault> {
        let columns = self.columns.iter().enumerate();
        columns.map(|(index, plan)| plan.start(many(index)).map_err(broken)).collect()
    }
}

impl Work for ProfileWork {
    type Part = Vec<Column>;

    fn work(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, Self::Part), Fault> {
        let mut columns = self.start(|index| self.many[index].load(Ordering::Relaxed))?;
        let counts = self.decode.run(input, span, stop, &mut |batch, _| {
            for (column, values) in columns.iter_mut().zip(batch.columns()) {
                column.update(values).map_err(broken)?;
            }
            Ok(())
        })?;
        Ok((counts, columns))
    }
}

impl Fold for Profile {
    type Work = ProfileWork;

    fn work(&self) -> &Arc<ProfileWork> {
        &self.work
    }

    fn fold(&mut self, part: Vec<Column>) -> Result<Option<Value>, Fault> {
        for ((mine, its), many) in self.columns.iter_mut().zip(part).zip(&self.work.many) {
            mine.merge(its).map_err(broken)?;
            many.store(mine.is_many(), Ordering::Relaxed);
        }
        Ok(None)
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        let (mut columns, mut tables) = (Vec::new(), Vec::new());
        for column in &mut self.columns {
            let (state, kept) = column.save().map_err(broken)?;
            columns.push(serde_json::json!([column.rows, column.nulls, column.is_many()]));
            tables.push(one_row(state)?);
            tables.extend(kept);
        }
        Ok(Saved { header: columns.into(), tables, _held: None })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        let headers: Vec<(u64, u64, bool)> =
            serde_json::from_value(saved.header).map_err(|_| damaged())?;
        if headers.len() != self.columns.len() {
            return Err(damaged());
        }
        self.columns = self.work.start(|index| headers[index].2)?;
        let mut tables = saved.tables.iter();
        for ((rows, nulls, many), (index, column)) in
            headers.into_iter().zip(self.columns.iter_mut().enumerate())
        {
            (column.rows, column.nulls) = (rows, nulls);
            let state = tables.next().ok_or_else(damaged)?;
            let kept = if many { None } else { Some(tables.next().ok_or_else(damaged)?) };
            column.load(state.columns(), kept).map_err(broken)?;
            self.work.many[index].store(many, Ordering::Relaxed);
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Value, Fault> {
        let columns = self.columns.iter_mut().map(report::column);
        Ok(serde_json::json!({ "columns": columns.collect::<Result<Vec<_>, _>>()? }))
    }
}

/// A table of one row, whatever the types.
fn one_row(columns: Vec<ArrayRef>) -> Result<RecordBatch, Fault> {
    let fields = columns.iter().enumerate();
    let fields = fields
        .map(|(index, column)| Field::new(index.to_string(), column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(Fault::internal)
}

//! What is kept of one column: counts, values while they are few, sketches when they are many.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::{
    approx_distinct::approx_distinct_udaf,
    approx_percentile_cont::approx_percentile_cont_udaf,
    average::avg_udaf,
    count::count_udaf,
    min_max::{max_udaf, min_udaf},
};

use super::super::accumulate::{Folded, Function, hashed, to_hashed};
use super::super::groups::{Grouping, Groups, can_group};

/// The longest value that is kept for the list of the most frequent, in bytes.
const KEPT_VALUE_BYTES_MAX: i64 = 256;

/// How one column is profiled, made once.
#[derive(Debug)]
pub(super) struct ColumnPlan {
    pub(super) name: String,
    pub(super) kind: DataType,
    /// Up to how many distinct values all of them are kept and counted.
    pub(super) kept_max: usize,
    kept: Option<Arc<Grouping>>,
    spread: Spreads,
    number: Option<[Function; 2]>,
}

/// What is kept once the values are too many.
#[derive(Debug)]
struct Spreads {
    distinct: Option<Function>,
    range: Option<[Function; 2]>,
}

impl ColumnPlan {
    pub(super) fn new(field: &Field, kept_max: usize) -> Result<Self> {
        let kind = field.data_type();
        let (mut kept, mut range, mut number) = (None, None, None);
        if can_group(kind) {
            let key = Arc::new(Field::new("value", kind.clone(), true));
            let count = Function::new(count_udaf(), &DataType::Boolean, &[])?;
            kept = Some(Grouping::new(vec![key], vec![count], None)?);
            range = Some([
                Function::new(min_udaf(), kind, &[])?,
                Function::new(max_udaf(), kind, &[])?,
            ]);
        }
        if kind.is_numeric() {
            number = Some([Function::new(avg_udaf(), &DataType::Float64, &[])?, quantile(0.5)?]);
        }
        let distinct = match kind {
            DataType::Null => None,
            _ => Some(Function::new(approx_distinct_udaf(), &hashed(kind), &[])?),
        };
        let spread = Spreads { distinct, range };
        Ok(Self { name: field.name().clone(), kind: kind.clone(), kept_max, kept, spread, number })
    }

    /// Nothing seen yet. `many`: it is known already that the values will be too many to be kept.
    pub(super) fn start(self: &Arc<Self>, many: bool) -> Result<Column> {
        let kept = match &self.kept {
            Some(kept) if !many => Some(Groups::new(kept)?),
            _ => None,
        };
        let mut column =
            Column { plan: self.clone(), rows: 0, nulls: 0, kept, spread: None, number: None };
        if column.kept.is_none() {
            column.spread = Some(column.new_spread()?);
        }
        if let Some([mean, digest]) = &self.number {
            column.number = Some([mean.start()?, digest.start()?]);
        }
        Ok(column)
    }
}

/// The function whose state gives every quantile; `at` is what it evaluates to.
pub(super) fn quantile(at: f64) -> Result<Function> {
    Function::new(
        approx_percentile_cont_udaf(),
        &DataType::Float64,
        &[ScalarValue::Float64(Some(at))],
    )
}

/// What was seen of one column.
pub(in super::super) struct Column {
    plan: Arc<ColumnPlan>,
    pub(super) rows: u64,
    pub(super) nulls: u64,
    /// Every value and its count, while there are few.
    kept: Option<Groups>,
    spread: Option<Spread>,
    /// Mean and quantiles.
    number: Option<[Folded; 2]>,
}

struct Spread {
    distinct: Option<Folded>,
    range: Option<[Folded; 2]>,
}

impl Spread {
    fn update(&mut self, values: &ArrayRef) -> Result<()> {
        if let Some(distinct) = &mut self.distinct {
            distinct.update(&to_hashed(values)?)?;
        }
        for bound in self.range.iter_mut().flatten() {
            bound.update(values)?;
        }
        Ok(())
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Folded> {
        self.distinct.iter_mut().chain(self.range.iter_mut().flatten())
    }
}

impl Column {
    /// Whether the values turned out to be too many to be kept.
    pub(super) fn is_many(&self) -> bool {
        self.kept.is_none()
    }

    pub(super) fn plan(&self) -> &Arc<ColumnPlan> {
        &self.plan
    }

    /// Adds rows.
    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        self.rows += values.len() as u64;
        let nulls = values.logical_null_count();
        self.nulls += nulls as u64;
        if nulls == values.len() {
            return Ok(());
        }
        if let Some(number) = &mut self.number {
            let mut numbers = cast(values, &DataType::Float64)?;
            if numbers.null_count() > 0 {
                numbers = filter(&numbers, &is_not_null(&numbers)?)?;
            }
            for part in number {
                part.update(&numbers)?;
            }
        }
        let short = is_short(values);
        match (&mut self.kept, &mut self.spread) {
            (Some(kept), _) if short => {
                let keys = if nulls == 0 {
                    values.clone()
                } else {
                    filter(values, &is_not_null(values)?)?
                };
                let each: ArrayRef = Arc::new(BooleanArray::from(vec![true; keys.len()]));
                kept.update(keys.len(), &[keys], &[each])?;
                if kept.len() > self.plan.kept_max {
                    self.spread_out()?;
                }
            }
            (Some(_), _) => {
                self.spread_out()?;
                self.spread(|spread| spread.update(values))?;
            }
            (None, Some(spread)) => spread.update(values)?,
            (None, None) => {}
        }
        Ok(())
    }

    /// Adds what another has seen.
    pub(super) fn merge(&mut self, mut next: Self) -> Result<()> {
        self.rows += next.rows;
        self.nulls += next.nulls;
        for (mine, its) in self.number.iter_mut().flatten().zip(next.number.iter_mut().flatten()) {
            mine.merge(&its.state()?)?;
        }
        if next.kept.is_none() && self.kept.is_some() {
            self.spread_out()?;
        }
        match (&mut self.kept, next.kept.take()) {
            (Some(mine), Some(its)) => {
                mine.merge(its.take()?.table())?;
                if mine.len() > self.plan.kept_max {
                    self.spread_out()?;
                }
            }
            (None, Some(its)) if its.len() > 0 => {
                let values = its.take()?.table().column(0).clone();
                self.spread(|spread| spread.update(&values))?;
            }
            _ => {}
        }
        if let (Some(mine), Some(its)) = (&mut self.spread, &mut next.spread) {
            for (mine, its) in mine.parts().zip(its.parts()) {
                mine.merge(&its.state()?)?;
            }
        }
        Ok(())
    }

    /// Goes over from keeping every value to sketches.
    fn spread_out(&mut self) -> Result<()> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let mut spread = self.new_spread()?;
        if kept.len() > 0 {
            spread.update(kept.take()?.table().column(0))?;
        }
        self.spread = Some(spread);
        Ok(())
    }

    fn spread(&mut self, with: impl FnOnce(&mut Spread) -> Result<()>) -> Result<()> {
        self.spread.as_mut().map_or(Ok(()), with)
    }

    fn new_spread(&self) -> Result<Spread> {
        let distinct = self.plan.spread.distinct.as_ref().map(Function::start).transpose()?;
        let range = match &self.plan.spread.range {
            Some([min, max]) => Some([min.start()?, max.start()?]),
            None => None,
        };
        Ok(Spread { distinct, range })
    }

    /// Every value with its count, if there are few.
    pub(super) fn kept(&mut self) -> Result<Option<RecordBatch>> {
        self.kept.as_mut().map(Groups::copy).transpose()
    }

    /// How many distinct values there are about, the least and the greatest, if there are many.
    pub(super) fn sketched(&mut self) -> Result<Vec<ScalarValue>> {
        self.spread.iter_mut().flat_map(Spread::parts).map(Folded::value).collect()
    }

    /// Mean and the state of the quantiles, of numbers.
    pub(super) fn number(&mut self) -> Result<Option<(ScalarValue, Vec<ArrayRef>)>> {
        let Some([mean, digest]) = &mut self.number else { return Ok(None) };
        Ok(Some((mean.value()?, digest.state()?)))
    }

    /// Its state as a table of one row, and the values that are kept as another.
    pub(super) fn save(&mut self) -> Result<(Vec<ArrayRef>, Option<RecordBatch>)> {
        let mut state = Vec::new();
        for part in
            self.number.iter_mut().flatten().chain(self.spread.iter_mut().flat_map(Spread::parts))
        {
            state.extend(part.state()?);
        }
        Ok((state, self.kept()?))
    }

    /// Takes up what `save` gave, as one that has seen nothing.
    pub(super) fn load(
        &mut self,
        mut state: &[ArrayRef],
        kept: Option<&RecordBatch>,
    ) -> Result<()> {
        if let Some(table) = kept
            && let Some(groups) = &mut self.kept
        {
            groups.merge(table)?;
        }
        for part in
            self.number.iter_mut().flatten().chain(self.spread.iter_mut().flat_map(Spread::parts))
        {
            // An accumulator's own state says how many columns it has.
            let (its, rest) = state.split_at(part.state()?.len().min(state.len()));
            part.merge(its)?;
            state = rest;
        }
        Ok(())
    }
}

/// Whether every value is short enough to be kept.
fn is_short(values: &ArrayRef) -> bool {
    fn widest<O: Copy + Into<i64>>(offsets: &[O]) -> i64 {
        offsets.windows(2).map(|pair| pair[1].into() - pair[0].into()).max().unwrap_or(0)
    }
    let widest = match values.data_type() {
        DataType::Utf8 => widest(values.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => widest(values.as_string::<i64>().value_offsets()),
        DataType::Binary => widest(values.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => widest(values.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => values.as_string_view().lengths().max().unwrap_or(0).into(),
        DataType::BinaryView => values.as_binary_view().lengths().max().unwrap_or(0).into(),
        _ => 0,
    };
    widest <= KEPT_VALUE_BYTES_MAX
}

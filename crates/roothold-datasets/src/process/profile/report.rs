//! A column's profile as callers read it.

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{sort_to_indices, take};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use roothold_core::Fault;
use serde_json::{Map, Value, json};

use super::super::fold::broken;
use super::super::values;
use super::column::{Column, quantile};
use crate::table::kind_of;

/// How many of the most frequent values are listed.
const TOP_MAX: usize = 10;
/// The quantiles that are told of numbers.
const QUANTILES: [(&str, f64); 7] = [
    ("p01", 0.01),
    ("p05", 0.05),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p95", 0.95),
    ("p99", 0.99),
];

/// What is known of a column: `distinct` is exact where `distinct_exact` says so, `top` is there
/// where it is exact, and quantiles are always estimates.
pub(super) fn column(column: &mut Column) -> Result<Value, Fault> {
    let mut out = Map::new();
    out.insert("name".into(), column.plan().name.clone().into());
    out.insert("type".into(), kind_of(&column.plan().kind).into());
    out.insert("rows".into(), column.rows.into());
    out.insert("nulls".into(), column.nulls.into());
    match column.kept().map_err(broken)? {
        Some(kept) => exact(&mut out, &kept)?,
        None => sketched(&mut out, &column.sketched().map_err(broken)?)?,
    }
    // An estimate can be beyond what there is.
    let values = column.rows.saturating_sub(column.nulls);
    if out.get("distinct").and_then(Value::as_u64).is_some_and(|distinct| distinct > values) {
        out.insert("distinct".into(), values.into());
    }
    if let Some((mean, digest)) = column.number().map_err(broken)? {
        out.insert("mean".into(), scalar(&mean)?);
        if column.rows > column.nulls {
            out.insert("quantiles".into(), quantiles(&digest)?);
        }
    }
    Ok(out.into())
}

fn exact(out: &mut Map<String, Value>, kept: &RecordBatch) -> Result<(), Fault> {
    let (keys, counts) = (kept.column(0), kept.column(1));
    out.insert("distinct".into(), kept.num_rows().into());
    out.insert("distinct_exact".into(), true.into());
    if kept.num_rows() == 0 {
        return Ok(());
    }
    // Values of equal frequency in their own order, so that the list does not depend on chance.
    let by_value = sort_to_indices(keys, None, None).map_err(Fault::internal)?;
    let keys = take(keys, &by_value, None).map_err(Fault::internal)?;
    let counts = take(counts, &by_value, None).map_err(Fault::internal)?;
    out.insert("min".into(), values::json(&keys, 0)?);
    out.insert("max".into(), values::json(&keys, keys.len() - 1)?);
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let counts = counts.as_primitive::<Int64Type>();
    order.sort_by_key(|row| std::cmp::Reverse(counts.value(*row)));
    let top = order
        .iter()
        .take(TOP_MAX)
        .map(|row| Ok(json!({ "value": values::json(&keys, *row)?, "count": counts.value(*row) })));
    out.insert("top".into(), top.collect::<Result<Vec<_>, Fault>>()?.into());
    Ok(())
}

fn sketched(out: &mut Map<String, Value>, sketched: &[ScalarValue]) -> Result<(), Fault> {
    for (name, value) in ["distinct", "min", "max"].into_iter().zip(sketched) {
        out.insert(name.into(), scalar(value)?);
    }
    out.insert("distinct_exact".into(), false.into());
    Ok(())
}

fn quantiles(digest: &[ArrayRef]) -> Result<Value, Fault> {
    let mut out = Map::new();
    for (name, at) in QUANTILES {
        let mut one = quantile(at).and_then(|function| function.start()).map_err(broken)?;
        one.merge(digest).map_err(broken)?;
        out.insert(name.into(), scalar(&one.value().map_err(broken)?)?);
    }
    Ok(out.into())
}

fn scalar(value: &ScalarValue) -> Result<Value, Fault> {
    values::json(&value.to_array().map_err(broken)?, 0)
}

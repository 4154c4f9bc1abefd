//! What can be done with a dataset chunk by chunk, as callers ask for it.

use roothold_core::{Fault, FaultKind};
use serde::{Deserialize, Serialize};

use super::{aggregate, sample, search, sql};
use crate::export::ExportFormat;

/// An operation over every row of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// What each column holds: type, nulls, range, mean, quantiles, distinct and frequent values.
    Profile(ProfileOptions),
    /// Functions over groups of rows.
    Aggregate(AggregateOptions),
    /// Lines, or values, that match a pattern.
    Search(SearchOptions),
    /// Rows that are not as they should be.
    Validate(ValidateOptions),
    /// Some rows, chosen by chance.
    Sample(SampleOptions),
    /// All rows, in another format.
    Convert(ConvertOptions),
    /// One SELECT over the source, which it calls `data`.
    Sql(SqlOptions),
}

/// Which operation, without what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each stands for the operation of its name")]
pub enum OperationKind {
    Profile,
    Aggregate,
    Search,
    Validate,
    Sample,
    Convert,
    Sql,
}

impl Operation {
    /// Refuses to tell of more than there is room for; what is less than all would look like all.
    ///
    /// # Errors
    /// `Limit`, with the name of the number and the most.
    pub fn check(&self) -> Result<(), Fault> {
        let (name, asked, most) = match self {
            Self::Aggregate(options) => ("limit", options.limit, aggregate::LIMIT_MAX),
            Self::Search(options) => ("max_matches", options.max_matches, search::MATCHES_MAX),
            Self::Sample(options) => ("rows", options.rows, sample::ROWS_MAX),
            Self::Sql(options) => ("rows", options.rows, sql::ROWS_MAX),
            Self::Profile(_) | Self::Validate(_) | Self::Convert(_) => return Ok(()),
        };
        if asked.is_none_or(|asked| (1..=most).contains(&asked)) {
            return Ok(());
        }
        let kind = self.kind().name();
        Err(Fault::new(FaultKind::Limit, format!("`{name}` of {kind} is 1 to {most}")))
    }

    /// Which it is.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Profile(_) => OperationKind::Profile,
            Self::Aggregate(_) => OperationKind::Aggregate,
            Self::Search(_) => OperationKind::Search,
            Self::Validate(_) => OperationKind::Validate,
            Self::Sample(_) => OperationKind::Sample,
            Self::Convert(_) => OperationKind::Convert,
            Self::Sql(_) => OperationKind::Sql,
        }
    }
}

impl OperationKind {
    /// Its name, as in the field `operation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Aggregate => "aggregate",
            Self::Search => "search",
            Self::Validate => "validate",
            Self::Sample => "sample",
            Self::Convert => "convert",
            Self::Sql => "sql",
        }
    }
}

/// What is profiled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileOptions {
    /// The columns; all of them if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// Rows in groups, and functions over each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateOptions {
    /// The columns by whose values rows are grouped; all rows are one group if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// The functions; the number of rows if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<Aggregate>,
    /// A column of the result by which it is sorted, in place of the groups' own order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// Whether the greatest come first.
    #[serde(default)]
    pub descending: bool,
    /// The most groups that are told, 100 by default and 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// One function over the rows of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The function.
    pub function: AggregateFunction,
    /// The column; only `count` can be without one, and counts rows then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Which share of the values is below the result of `approx_percentile`, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// The result's name; `function_column` if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The functions over groups. Nulls are left out by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// How many values there are, or rows.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The standard deviation of a sample.
    Stddev,
    /// The variance of a sample.
    Var,
    /// About how many different values there are.
    ApproxDistinct,
    /// About the middle value.
    ApproxMedian,
    /// About the value below which a share of all values is.
    ApproxPercentile,
    /// Whether all are true.
    BoolAnd,
    /// Whether one is true.
    BoolOr,
}

impl AggregateFunction {
    /// Its name, as callers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Stddev => "stddev",
            Self::Var => "var",
            Self::ApproxDistinct => "approx_distinct",
            Self::ApproxMedian => "approx_median",
            Self::ApproxPercentile => "approx_percentile",
            Self::BoolAnd => "bool_and",
            Self::BoolOr => "bool_or",
        }
    }
}

/// Lines or values that match a pattern.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchOptions {
    /// What is looked for.
    pub pattern: String,
    /// Whether the pattern is a regular expression, and not text.
    #[serde(default)]
    pub regex: bool,
    /// Whether case makes no difference.
    #[serde(default)]
    pub ignore_case: bool,
    /// The columns whose values are looked at; the lines as they are if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// How many lines before and behind a match are told, 10 at most.
    #[serde(default)]
    pub context: usize,
    /// The most matches that are told, 100 by default and 1,000 at most; all are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_matches: Option<usize>,
}

/// Rows that are not as they should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateOptions {
    /// The columns that rows should have; as they are described if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ExpectedColumn>,
    /// A JSON Schema that each record is held against, in place of columns. A record of another format
    /// than JSON is an object with a member for each column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

/// A column as it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedColumn {
    /// Its name.
    pub name: String,
    /// Its type; any if none is given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExpectedType>,
    /// Whether it may be empty.
    #[serde(default = "yes")]
    pub nullable: bool,
}

fn yes() -> bool {
    true
}

/// The types that a column can be expected to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedType {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// A number with up to 28 digits before the point and 10 behind it.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// A day, such as `2026-11-26`.
    Date,
    /// A moment, such as `2026-11-26T04:17:03Z`.
    Timestamp,
}

/// Some rows, chosen by chance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleOptions {
    /// How many, 20 by default and 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// The same number chooses the same rows again.
    #[serde(default)]
    pub seed: u64,
    /// The columns that are told; all if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl ExpectedType {
    /// Its name, as callers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvertOptions {
    /// The format.
    pub format: ExportFormat,
    /// The columns that are written; all if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Whether cells of CSV that a spreadsheet would run begin with `'`.
    #[serde(default = "yes")]
    pub guard_formulas: bool,
}

/// A query over the source. It begins again when it is broken off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlOptions {
    /// One SELECT; the source is the table `data`.
    pub sql: String,
    /// What `$1`, `$2`, … stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<serde_json::Value>,
    /// The most rows that are told, 1,000 by default and 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
}

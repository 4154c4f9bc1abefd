//! The rows of a measurement, as a table for people and JSON for comparison over time.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// One figure, with what it is compared with and what it should reach.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) figure: f64,
    pub(super) unit: &'static str,
    /// The same figure of the reference, if there is one, from the same run.
    pub(super) reference: Option<f64>,
    /// What the reference is.
    pub(super) reference_name: Option<String>,
    /// Reference divided by figure: 1 is as good as the reference, more is better.
    pub(super) ratio: Option<f64>,
    pub(super) goal: Option<Goal>,
    ok: bool,
}

/// What a row should reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// The figure is at most this.
    AtMost(f64),
    /// The ratio is at least this.
    RatioAtLeast(f64),
}

impl Row {
    pub(super) fn new(
        name: impl Into<String>,
        unit: &'static str,
        figure: f64,
        reference: Option<(&str, f64)>,
        goal: Option<Goal>,
    ) -> Self {
        let reference_name = reference.map(|(name, _)| name.to_owned());
        let reference = reference.map(|(_, reference)| reference);
        let ratio = reference.map(|reference| reference / figure);
        let ok = match (goal, ratio) {
            (None, _) => true,
            (Some(Goal::AtMost(most)), _) => figure <= most,
            (Some(Goal::RatioAtLeast(least)), ratio) => ratio.is_some_and(|ratio| ratio >= least),
        };
        Self { name: name.into(), figure, unit, reference, reference_name, ratio, goal, ok }
    }

    pub(super) const fn ok(&self) -> bool {
        self.ok
    }
}

pub(super) fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    println!(
        "\n{:width$}  {:>11} {:<4} {:>11} {:>7}  reference; goal",
        "measured", "figure", "unit", "reference", "ratio"
    );
    for row in rows {
        let number =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        let goal = match row.goal {
            None => "-".to_owned(),
            Some(Goal::AtMost(most)) => format!("at most {most} {}", row.unit),
            Some(Goal::RatioAtLeast(least)) => format!("ratio at least {least}"),
        };
        let verdict = if row.ok { "" } else { "  MISSED" };
        println!(
            "{:width$}  {:>11.3} {:<4} {:>11} {:>7}  {}; {goal}{verdict}",
            row.name,
            row.figure,
            row.unit,
            number(row.reference),
            row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            row.reference_name.as_deref().unwrap_or("none"),
        );
    }
    let missed = rows.iter().filter(|row| !row.ok).count();
    let goals = rows.iter().filter(|row| row.goal.is_some()).count();
    println!("{} of {goals} goals reached", goals - missed);
}

pub(super) fn write_json(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&serde_json::json!({"rows": rows}))?;
    std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

/// The middle value; of an even number of values the lower one of the two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged() {
        let row = |figure, goal| Row::new("x", "us", figure, Some(("y", 9.0)), Some(goal));
        assert!(row(10.0, Goal::RatioAtLeast(0.9)).ok());
        assert!(!row(11.0, Goal::RatioAtLeast(0.9)).ok());
        assert!(row(10.0, Goal::AtMost(10.0)).ok());
        assert!(!row(10.1, Goal::AtMost(10.0)).ok());
        assert!(!Row::new("x", "us", 1.0, None, Some(Goal::RatioAtLeast(0.1))).ok());
        assert!(Row::new("x", "us", 1.0, None, None).ok());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(1.0));
        assert_eq!(median(vec![]), None);
    }
}

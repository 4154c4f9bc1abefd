//! The functions that a query may use: DataFusion's own, less those that make much of nothing.
//!
//! None of DataFusion's functions reads a file or changes anything; what is left out here builds
//! lists of any length from two numbers, inside one value, where no pool sees it. `sum` is our own,
//! which does not wrap around.

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::sum::sum_udaf;

/// Left out. `repeat`, `lpad` and the like are bounded by [`super::growth`] instead.
const REFUSED: [&str; 8] = [
    "range",
    "generate_series",
    "gen_series",
    "array_repeat",
    "array_resize",
    // They tell what is the engine's own.
    "version",
    "input_file_name",
    "file_row_index",
];

pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| !REFUSED.contains(&function.name()))
        .collect()
}

pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    SessionStateDefaults::default_aggregate_functions()
        .into_iter()
        .map(|function| if function.name() == "sum" { sum_udaf() } else { function })
        .collect()
}

pub(super) fn window() -> Vec<Arc<WindowUDF>> {
    SessionStateDefaults::default_window_functions()
}

//! Files as tables.

mod describe_dataset;
mod list_datasets;
mod process_large_dataset;
mod query_dataset;

pub(super) use describe_dataset::DescribeDataset;
pub(super) use list_datasets::ListDatasets;
pub(super) use process_large_dataset::ProcessLargeDataset;
pub(super) use query_dataset::QueryDataset;

use std::time::Instant;

use roothold_core::Fault;
use sha2::{Digest as _, Sha256};

use crate::call::Call;
use crate::datasets::DatasetRead;

/// What was read of a dataset, or why not, as the metrics and the log have it.
fn tell<T>(
    call: &Call,
    operation: &'static str,
    began: Instant,
    result: &Result<T, Fault>,
    bytes: impl FnOnce(&T) -> u64,
) {
    let event = DatasetRead {
        operation,
        bytes: result.as_ref().map_or(0, bytes),
        duration: began.elapsed(),
        fault: result.as_ref().err().map(Fault::kind),
    };
    event.emit(&call.datasets().metrics);
}

/// Stands for a text, such as the revisions of many files, in a few bytes.
fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

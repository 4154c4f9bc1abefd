//! Datasets: files of many formats, in roots and object stores, asked with SQL and processed chunk
//! by chunk in bounded memory. The only crate that names DataFusion, Arrow and object stores.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what opens sources for it comes with the engine")
)]
mod process;

pub use process::{
    Aggregate, AggregateFunction, AggregateOptions, Chunk, ConvertFormat, ConvertOptions,
    ExpectedColumn, ExpectedType, Operation, Output, Process, ProcessLimits, ProfileOptions,
    Progress, Report, SampleOptions, SearchOptions, Step, ValidateOptions,
};

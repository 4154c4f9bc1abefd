//! Datasets: files of many formats, in roots and object stores, asked with SQL and processed chunk
//! by chunk in bounded memory. The only crate that names DataFusion, Arrow and object stores.
//!
//! Bytes come from files that the core's gate opened, never from a path, or from objects of stores
//! that the configuration names; results are values of ours, never Arrow's.

mod cells;
mod describe;
mod engine;
mod export;
mod infer;
mod limits;
mod meter;
mod options;
mod parquet;
mod plain;
mod prepared;
mod process;
mod query;
mod records;
mod refusal;
mod remedy;
mod scan;
mod shown;
mod sniff;
mod source;
mod store;
mod stored;
mod stores;
mod strict;
mod sum;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod turns;
mod whole;

pub use describe::{Description, FileDescription};
pub use engine::{Engine, EngineError, EngineFigures, EngineSpec, SpillError, memory_default};
pub use export::{ExportFormat, Exported, MakeWriter};
pub use limits::Limits;
pub use meter::Meter;
pub use options::{ColumnType, Compression, Format, SourceOptions, TextEncoding};
pub use process::{
    Aggregate, AggregateFunction, AggregateOptions, Chunk, ConvertOptions, ExpectedColumn,
    ExpectedType, Operation, OperationKind, Output, Process, ProcessLimits, ProfileOptions,
    Progress, Reading, Report, SampleOptions, SearchOptions, SqlOptions, Step, ValidateOptions,
};
pub use query::{Answer, Query};
pub use source::Source;
pub use stored::Stored;
pub use stores::{
    FoundObjects, ListWish, ListedObject, ListedObjects, Secret, StoreError, StoreObject,
    StoreReach, StoreSpec, Stores,
};
pub use table::{Column, Table};

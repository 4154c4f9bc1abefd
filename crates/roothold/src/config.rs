//! The configuration: one TOML file, the environment over it, flags over both.
//!
//! `ROOTHOLD_SERVER__LISTEN` and the like override `[server] listen`. A key that does not exist
//! is refused, wherever it comes from. Paths are relative to the file that names them.

mod bounds;
mod cache;
mod databases;
mod datasets;
mod jobs;
mod load;
mod reference;
mod sections;
mod stores;
mod telemetry;
mod tools;

pub use cache::Cache;
pub(crate) use databases::resolve as resolve_database;
pub use databases::{
    ConfirmWord, DatabaseAccess, DatabaseKind, DatabaseRoleSection, DatabaseSection,
};
#[cfg(feature = "datasets")]
pub(crate) use datasets::is_name as is_dataset_name;
pub use datasets::{ColumnTypeWord, DatasetEngine, DatasetSection, EncodingWord, FormatWord};
pub use jobs::{Jobs, State};
pub use load::{ConfigError, Source, load};
pub use reference::reference;
pub use sections::{
    AccessWord, Audit, AuditReads, Auth, Config, Handles, HardlinksWord, Jwt, LandlockWord,
    LegacySessions, Limits, PolicySection, PrincipalSection, RootSection, Server, Unauthenticated,
};
pub use stores::StoreSection;
#[cfg(feature = "datasets")]
pub(crate) use stores::resolve as resolve_store;
pub(crate) use telemetry::{Collector, CollectorReach};
pub use telemetry::{OtlpProtocol, Telemetry};
pub use tools::{ParameterType, ResultWord, ToolAnnotations, ToolParameter, ToolSection};

//! Users' databases, over their native drivers: described, asked, and where a source says so
//! changed. Untrusted on both sides: whoever writes the SQL, and whatever answers it.
//!
//! Trust is in no look at the text of a statement. It is in the role that a source connects with,
//! which is asked what it could do ([`Source::probe`]) and must not be able to do more than read;
//! in the session, which lets nothing but a query through; and in limits on everything.
//!
//! **Invariant**: a connection string is in no error, log line or `Debug` form. No literal of a
//! statement and no value of a row is in a log line or a fingerprint. A call that nobody waits for
//! stops in the database.

mod answer;
mod describe;
mod engine;
mod json;
mod mysql;
mod pg;
mod probe;
mod said;
mod scan;
mod session;
mod source;
mod spec;
mod sql;
mod sqlite;
mod tables;
mod tls;
mod wait;

pub use answer::{Answer, Column, Executed, Parameter, Plan, Statement, Window};
pub use describe::{DescribeRequest, Description, Index, Key, Reference, Table, TableColumn};
pub use probe::{Finding, Report};
pub use scan::{Batch, Cell, Field, FieldType, Scan, ScanRequest};
pub use source::{PoolFigures, Source, SourceReach};
pub use spec::{Secret, SourceAccess, SourceKind, SourceLimits, SourceSpec, SpecError};
pub use sql::{Fingerprint, bind_names};
pub use tables::Tables;

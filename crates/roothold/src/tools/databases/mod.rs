//! Users' databases: listed, described, asked, changed; and tools that are one statement each.

mod change;
mod describe_schema;
mod execute_statement;
mod explain_query;
mod list_databases;
mod query_database;
mod sql_tools;

pub(super) use describe_schema::DescribeSchema;
pub(super) use execute_statement::ExecuteStatement;
pub(super) use explain_query::ExplainQuery;
pub(super) use list_databases::ListDatabases;
pub(super) use query_database::QueryDatabase;
pub(crate) use sql_tools::SqlTools;

use std::time::Instant;

use roothold_core::Fault;
use roothold_databases::{Parameter, Statement};
use serde_json::Value;

use crate::call::Call;
use crate::databases::{DatabaseAsked, Role};
use crate::telemetry::{Step, What};

/// A question to a database, from when it is put.
struct Inquiry {
    operation: &'static str,
    began: Instant,
    span: Step,
}

impl Inquiry {
    fn begin(call: &Call, database: &Role, operation: &'static str) -> Self {
        let (kind, name) = (database.kind(), database.section.name.as_str());
        let what = || What::Database { kind, name: name.into(), operation, rows: 0 };
        Self { operation, began: Instant::now(), span: call.trace().step(what) }
    }

    /// What the database answered, or why not, as the metrics, the log, the trace and the database's
    /// health have it.
    fn tell<T>(
        mut self,
        call: &Call,
        database: &Role,
        result: &Result<T, Fault>,
        rows: impl FnOnce(&T) -> usize,
    ) {
        database.learn(result);
        let event = DatabaseAsked {
            kind: database.kind(),
            operation: self.operation,
            rows: result.as_ref().map_or(0, |answer| rows(answer) as u64),
            duration: self.began.elapsed(),
            fault: result.as_ref().err().map(Fault::kind),
            trace_id: self.span.trace_id(),
        };
        event.emit(call.databases().metrics());
        self.span.note(|what| {
            if let What::Database { rows, .. } = what {
                *rows = event.rows;
            }
        });
        self.span.end(result.as_ref().err());
    }
}

/// A statement with values for its places.
fn statement(sql: String, parameters: Vec<Value>) -> Statement {
    Statement { sql, parameters: parameters.into_iter().map(Parameter::from).collect() }
}

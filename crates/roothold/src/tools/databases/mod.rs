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

/// What a database answered, or why not, as the metrics, the log and the database's health have it.
fn tell<T>(
    call: &Call,
    database: &Role,
    operation: &'static str,
    began: Instant,
    result: &Result<T, Fault>,
    rows: impl FnOnce(&T) -> usize,
) {
    database.learn(result);
    let event = DatabaseAsked {
        kind: database.kind(),
        operation,
        rows: result.as_ref().map_or(0, |answer| rows(answer) as u64),
        duration: began.elapsed(),
        fault: result.as_ref().err().map(Fault::kind),
    };
    event.emit(call.databases().metrics());
}

/// A statement with values for its places.
fn statement(sql: String, parameters: Vec<Value>) -> Statement {
    Statement { sql, parameters: parameters.into_iter().map(Parameter::from).collect() }
}
